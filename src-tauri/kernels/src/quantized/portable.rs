//! Products in plain Rust: the reference, and the way of processors without a kernel of their own.

use crate::{
    Activations, Format,
    decode::Block,
    product::{Stream, Streams},
};

/// See [`super::product`].
///
/// # Safety
/// The same.
pub(super) unsafe fn product(streams: &Streams<'_>, activations: &Activations) {
    for stream in streams {
        // SAFETY: the same.
        unsafe { rows(stream, activations) };
    }
}

unsafe fn rows(stream: &Stream<'_>, activations: &Activations) {
    let Stream { weights: matrix, rows, out } = stream;
    let len = matrix.format.block_len();
    let mut bytes = vec![0; matrix.format.block_bytes()];
    let groups = matrix.columns / 32;
    let halves = matches!(matrix.format, Format::Q2K | Format::Q3K | Format::Q6K);
    let affine = matches!(matrix.format, Format::Q4_1 | Format::Q5_1 | Format::Q2K | Format::Q4K | Format::Q5K);
    let mut block = Block::new();
    let mut sums = vec![0.0_f32; activations.rows];
    for row in rows.clone() {
        sums.fill(0.0);
        for index in 0..matrix.columns / len {
            matrix.block(row, index, &mut bytes);
            block.read(matrix.format, &bytes);
            for (a, sum) in sums.iter_mut().enumerate() {
                let codes = &activations.codes[a * matrix.columns + index * len..][..len];
                for group in 0..len / 32 {
                    let at = a * groups + (index * len) / 32 + group;
                    let activation_scale = activations.scales[at];
                    let in_halves = [activations.half_sums[2 * at], activations.half_sums[2 * at + 1]].map(i32::from);
                    let whole = |half: usize| -> i32 {
                        let at = 32 * group + 16 * half;
                        let products = block.codes[at..at + 16].iter().zip(&codes[at..at + 16]);
                        let products: i32 = products.map(|(&code, &value)| i32::from(code) * i32::from(value)).sum();
                        products - i32::from(block.zero) * in_halves[half]
                    };
                    // The same roundings in the same order as the kernels with vectors.
                    if halves {
                        let factors = block.factors.map(|factors| [factors[2 * group], factors[2 * group + 1]]);
                        let products = (whole(0) * factors[0][0] + whole(1) * factors[0][1]) as f32;
                        let offsets = (in_halves[0] * factors[1][0] + in_halves[1] * factors[1][1]) as f32;
                        if affine {
                            let share = offsets * (block.units[1] * activation_scale);
                            *sum += products.mul_add(block.units[0] * activation_scale, share);
                        } else {
                            *sum = products.mul_add(block.units[0] * activation_scale, *sum);
                        }
                        continue;
                    }
                    let products = (whole(0) + whole(1)) as f32;
                    *sum = products.mul_add(block.scale[2 * group] * activation_scale, *sum);
                    if affine {
                        let total = (in_halves[0] + in_halves[1]) as f32;
                        *sum = block.offset[2 * group].mul_add(activation_scale * total, *sum);
                    }
                }
            }
        }
        for (a, &sum) in sums.iter().enumerate() {
            // SAFETY: inside of `out`, and the caller's alone.
            unsafe { *out.add(a * matrix.rows + row) = sum };
        }
    }
}
