//! Products of a few rows of activations on x86: weights are taken apart on the way.

use std::{
    arch::{
        asm,
        x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch},
    },
    ops::Range,
};

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

/// Asks for the line at an address, which need not be a good one.
#[inline(always)]
fn ask<V: Words, B: Blocks>(address: *const u8) {
    // Large codes come faster than the first-level cache could hold them that long.
    let near = V::WIDE || B::BYTES / B::GROUPS <= 22;
    // SAFETY: only a hint.
    unsafe {
        match (near, B::TOGETHER > 1) {
            (true, false) => _mm_prefetch::<_MM_HINT_T0>(address.cast()),
            (false, false) => _mm_prefetch::<_MM_HINT_T1>(address.cast()),
            // Compilers move all of a block's to one place, where no branch keeps them, and memory then hears of them at
            // once; these stay where they are.
            (true, true) => asm!("prefetcht0 [{}]", in(reg) address, options(nostack, preserves_flags)),
            (false, true) => asm!("prefetcht1 [{}]", in(reg) address, options(nostack, preserves_flags)),
        }
    }
}

/// Asks for the lines that begin within `bytes` of what lies at each of the addresses.
#[inline(always)]
fn fetch<V: Words, B: Blocks, const PARTS: usize>(parts: [*const u8; PARTS], bytes: Range<usize>) {
    for line in (bytes.start.next_multiple_of(64)..bytes.end).step_by(64) {
        for part in parts {
            ask::<V, B>(part.wrapping_add(line));
        }
    }
}

/// The parts of a block that are asked for while the block of stream `number` of some is multiplied, of which `blocks` are
/// those that lie ahead: where it is large, of each stream's a part, since memory gives less when it is asked for one's alone.
#[inline(always)]
fn parts<V: Words, B: Blocks>(blocks: &[*const u8], number: usize) -> [*const u8; STREAMS] {
    let of_part = V::ROWS * B::BYTES / STREAMS;
    let part = |block: *const u8, part: usize| block.wrapping_add(part * of_part);
    match *blocks {
        // Whole.
        _ if B::GROUPS == 1 => [blocks[number]; STREAMS],
        [one, two] => {
            [part(one, 2 * number), part(one, 2 * number + 1), part(two, 2 * number), part(two, 2 * number + 1)]
        }
        [one, two, three, four] => [one, two, three, four].map(|block| part(block, number)),
        _ => [0, 1, 2, 3].map(|of| part(blocks[number], of)),
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
                if ahead > 0 {
                    fetch::<D::Words, B, 1>([block.wrapping_add(ahead)], 0..D::Words::ROWS * B::BYTES);
                }
                let [sums, ..] = D::products::<B, 0>(block, group, from, begun, |_| ());
                let codes = As { lifts: D::lifts::<B>()[0], ..As::default() };
                let scales = B::scales::<D::Words, 0>(block);
                *result = accumulate::<D::Words, B>(*result, sums, codes, &scales, from, group);
            }
        }
        results
    }
}

/// A block whose first group is `first`, with some rows of activations; meanwhile asks for another, of which these are the
/// parts. Where it is not to ask, and groups lie together, it asks for what it reads.
#[inline(always)]
unsafe fn one_block<D: Dot, B: Blocks, const A: usize>(
    block: *const u8,
    first: usize,
    parts: [*const u8; STREAMS],
    asks: bool,
    from: &[From; A],
    begun: *const [i32; 2],
    results: &mut [<D::Words as Words>::Floats; A],
) {
    unsafe {
        let block_bytes = D::Words::ROWS * B::BYTES;
        // Of each part, what belongs to some eighths of groups. Where groups lie together there is no branch around it:
        // compilers move what is computed behind such, and keep all that it needs in memory.
        let ask_for = |eighths: Range<usize>| {
            if B::TOGETHER > 1 || asks {
                let byte = |eighth: usize| eighth * (block_bytes / STREAMS / B::GROUPS) / 8;
                fetch::<D::Words, B, STREAMS>(parts, byte(eighths.start)..byte(eighths.end));
            }
        };
        let mut result = results[0];
        let mut sums = [[D::Words::splat32(0); 2]; 4];
        each_group!(B, IN_BLOCK => {
            let group = first + IN_BLOCK;
            if B::GROUPS == 1 && asks {
                fetch::<D::Words, B, 1>([parts[0]], 0..block_bytes);
            } else if B::GROUPS > 1 && (A > 1 || B::TOGETHER == 1) {
                ask_for(8 * IN_BLOCK..8 * (IN_BLOCK + 1));
            }
            // The sums of several groups and more than one row would not stay in registers.
            if A == 1 {
                if IN_BLOCK.is_multiple_of(B::TOGETHER) {
                    let before = |vector: usize| {
                        if B::TOGETHER > 1 {
                            let eighth = |vector: usize| 8 * IN_BLOCK + vector * B::TOGETHER;
                            ask_for(eighth(vector)..eighth(vector + 1));
                        }
                    };
                    sums = D::products::<B, IN_BLOCK>(block, group, &from[0], begun, before);
                }
                let sums = sums[IN_BLOCK % B::TOGETHER];
                let codes = As { lifts: D::lifts::<B>()[IN_BLOCK], ..As::default() };
                let scales = B::scales::<D::Words, IN_BLOCK>(block);
                result = accumulate::<D::Words, B>(result, sums, codes, &scales, &from[0], group);
            } else {
                let codes = codes_of_group::<D::Words, B, IN_BLOCK>(block);
                let scales = B::scales::<D::Words, IN_BLOCK>(block);
                add_group::<D, B, A>(false, &codes, &scales, group, from, results);
            }
        });
        if A == 1 {
            results[0] = result;
        }
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
                let at = active.map(|stream| start[stream].wrapping_add(index * block_bytes));
                let coming = at.map(|block| block.wrapping_add(ahead));
                for number in 0..count {
                    let parts = parts::<D::Words, B>(&coming[..count], number);
                    let (group, results) = (index * B::GROUPS, &mut results[active[number]]);
                    one_block::<D, B, A>(at[number], group, parts, ahead > 0, &from, begun.as_ptr(), results);
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
