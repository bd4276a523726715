//! Products of a few rows of activations on x86: weights are taken apart on the way.

use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

use super::{
    dot::Dot,
    formats::Blocks,
    shared::{From, each_group},
    words::Words,
    x86::{As, accumulate, add_group, codes_of_group, zero},
};
use crate::{
    Activations,
    activations::GROUP,
    ahead,
    product::{STREAMS, Stream, Streams},
};

/// Asks for what lies `ahead` bytes behind a part of each stream's block, unless that is 0: of as many parts as there are
/// streams it is part `part`, and of that what belongs to group `GROUP`.
#[inline(always)]
fn fetch_part<V: Words, B: Blocks, const COUNT: usize, const GROUP: usize>(
    blocks: [*const u8; COUNT],
    part: usize,
    ahead: usize,
) {
    if ahead > 0 {
        let (of_part, of_group) = (V::ROWS * B::BYTES / COUNT, V::ROWS * B::BYTES / COUNT / B::GROUPS);
        for line in ((GROUP * of_group).next_multiple_of(64)..(GROUP + 1) * of_group).step_by(64) {
            for block in blocks {
                let address = block.wrapping_add(part * of_part + ahead + line).cast();
                // SAFETY: an address that is asked for need not be a good one.
                unsafe {
                    // Large codes come faster than the first-level cache could hold them that long.
                    if V::WIDE || B::BYTES / B::GROUPS <= 22 {
                        _mm_prefetch::<_MM_HINT_T0>(address);
                    } else {
                        _mm_prefetch::<_MM_HINT_T1>(address);
                    }
                }
            }
        }
    }
}

/// What the sums of a row's products begin with, of each group's halves, lifted as its codes are: less what stands for nothing,
/// which is then not to be subtracted from every group's products.
#[inline(always)]
fn begin_sums<D: Dot, B: Blocks>(activations: &Activations, row: usize, out: &mut Vec<[i32; 2]>) {
    let lifts = D::lifts::<B>();
    let of_row = activations.columns / GROUP * 2;
    out.clear();
    for block in activations.half_sums[row * of_row..][..of_row].as_chunks::<2>().0.chunks_exact(B::GROUPS) {
        let first = |(sums, lifts): (&[i16; 2], &[i32; 2])| {
            [0, 1].map(|half| i32::from(sums[half]) * -(zero::<D, B>() << lifts[half]))
        };
        out.extend(block.iter().zip(&lifts).map(first));
    }
}

/// Where a stream's weights begin, if it has any.
#[inline(always)]
fn start_of(Stream { weights, rows, .. }: &Stream<'_>) -> *const u8 {
    if rows.is_empty() { std::ptr::null() } else { weights.rows_from(rows.start).as_ptr() }
}

/// A block of one group of each stream in turn, with one row of activations.
#[inline(always)]
unsafe fn block_by_block<D: Dot, B: Blocks, const COUNT: usize>(
    starts: [*const u8; COUNT],
    groups: usize,
    from: &From,
    begun: *const [i32; 2],
    ahead: usize,
) -> [<D::Words as Words>::Floats; COUNT] {
    unsafe {
        let mut results = [D::Words::splat(0.0); COUNT];
        for group in 0..groups {
            for (start, result) in starts.iter().zip(&mut results) {
                let block = start.add(group * D::Words::ROWS * B::BYTES);
                fetch_part::<D::Words, B, 1, 0>([block], 0, ahead);
                let [sums, ..] = D::products::<B, 0>(block, group, from, begun);
                let codes = As { lifts: D::lifts::<B>()[0], ..As::default() };
                let scales = B::scales::<D::Words, 0>(block);
                *result = accumulate::<D::Words, B>(*result, sums, codes, &scales, from, group);
            }
        }
        results
    }
}

/// Some rows of weights times rows `at..at + A` of the activations.
#[inline(always)]
pub(super) unsafe fn few_rows<D: Dot, B: Blocks, const A: usize>(
    streams: &Streams<'_>,
    activations: &Activations,
    at: usize,
    begun: &mut Vec<[i32; 2]>,
) {
    unsafe {
        if A == 1 && zero::<D, B>() != 0 {
            begin_sums::<D, B>(activations, at, begun);
        }
        let ahead = ahead::bytes(streams[0].weights.format);
        let from: [From; A] = std::array::from_fn(|a| From::row(activations, at + a));
        let blocks = activations.columns / GROUP / B::GROUPS;
        let block_bytes = D::Words::ROWS * B::BYTES;
        let mut start = streams.each_ref().map(start_of);
        let rows = streams.iter().map(|stream| stream.rows.len()).max().unwrap_or(0);
        for step in (0..rows).step_by(D::Words::ROWS) {
            // Those that have not come to their end.
            let (mut active, mut count) = ([0; STREAMS], 0);
            for (stream, Stream { rows, .. }) in streams.iter().enumerate() {
                if step < rows.len() {
                    (active[count], count) = (stream, count + 1);
                }
            }
            let mut results = [[D::Words::splat(0.0); A]; STREAMS];
            if A == 1 && B::GROUPS == 1 {
                macro_rules! of {
                    ($count:literal) => {{
                        let starts = std::array::from_fn::<_, $count, _>(|number| start[active[number]]);
                        let of_each = block_by_block::<D, B, $count>(starts, blocks, &from[0], begun.as_ptr(), ahead);
                        for (&stream, result) in active.iter().zip(of_each) {
                            results[stream][0] = result;
                        }
                    }};
                }
                match count {
                    1 => of!(1),
                    2 => of!(2),
                    3 => of!(3),
                    _ => of!(4),
                }
            }
            // Blocks that have more than one group, or meet more than one row.
            for index in 0..if A == 1 && B::GROUPS == 1 { 0 } else { blocks } {
                for (number, &stream) in active[..count].iter().enumerate() {
                    let mut sums = [[D::Words::splat32(0); 2]; 4];
                    let block = start[stream].add(index * block_bytes);
                    each_group!(B, IN_BLOCK => {
                        let group = index * B::GROUPS + IN_BLOCK;
                        // Of large blocks a part of each stream's: memory gives less when it is asked for one's alone.
                        if B::GROUPS > 1 && count == STREAMS {
                            let blocks = start.map(|start| start.wrapping_add(index * block_bytes));
                            fetch_part::<D::Words, B, STREAMS, IN_BLOCK>(blocks, number, ahead);
                        } else if B::GROUPS > 1 && count == 2 {
                            let blocks = [active[0], active[1]].map(|of| start[of].wrapping_add(index * block_bytes));
                            fetch_part::<D::Words, B, 2, IN_BLOCK>(blocks, number, ahead);
                        } else {
                            fetch_part::<D::Words, B, 1, IN_BLOCK>([block], 0, ahead);
                        }
                        let results = &mut results[stream];
                        // The sums of several groups and more than one row would not stay in registers.
                        if A == 1 {
                            let in_set = IN_BLOCK % B::TOGETHER;
                            if in_set == 0 {
                                sums = D::products::<B, IN_BLOCK>(block, group, &from[0], begun.as_ptr());
                            }
                            let scales = B::scales::<D::Words, IN_BLOCK>(block);
                            let lifts = D::lifts::<B>()[IN_BLOCK];
                            let codes = As { lifts, ..As::default() };
                            let sums = sums[in_set];
                            results[0] = accumulate::<D::Words, B>(results[0], sums, codes, &scales, &from[0], group);
                        } else {
                            let codes = codes_of_group::<D::Words, B, IN_BLOCK>(block);
                            let scales = B::scales::<D::Words, IN_BLOCK>(block);
                            add_group::<D, B, A>(false, &codes, &scales, group, &from, results);
                        }
                    });
                }
            }
            for &stream in &active[..count] {
                start[stream] = start[stream].wrapping_add(blocks * block_bytes);
                let Stream { weights, rows, out } = &streams[stream];
                for a in 0..A {
                    let out = out.add((at + a) * weights.rows + rows.start + step);
                    D::Words::store(out, results[stream][a], rows.len() - step);
                }
            }
        }
    }
}
