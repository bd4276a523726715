//! What the kernels of every instruction set with vectors share.

use crate::{Activations, activations::GROUP};

/// Where a row of activations is.
pub(super) struct From {
    pub(super) codes: *const i8,
    pub(super) scales: *const f32,
    pub(super) sums: *const i32,
    pub(super) scaled_sums: *const f32,
    pub(super) half_sums: *const i16,
}

impl From {
    #[inline(always)]
    pub(super) fn row(activations: &Activations, row: usize) -> Self {
        let (columns, groups) = (activations.columns, activations.columns / GROUP);
        Self {
            codes: activations.codes[row * columns..].as_ptr(),
            scales: activations.scales[row * groups..].as_ptr(),
            sums: activations.sums[row * groups..].as_ptr(),
            scaled_sums: activations.scaled_sums[row * groups..].as_ptr(),
            half_sums: activations.half_sums[row * groups * 2..].as_ptr(),
        }
    }
}

/// Calls a macro's body for each group of a block: the group is a constant, and the loop is none.
macro_rules! each_group {
    ($blocks:ty, $group:ident => $body:block) => {
        each_group!(@ $blocks, $group, $body, 0 1 2 3 4 5 6 7);
    };
    (@ $blocks:ty, $group:ident, $body:block, $($number:literal)*) => {
        $(if $number < <$blocks>::GROUPS {
            const $group: usize = $number;
            $body
        })*
    };
}
pub(super) use each_group;

/// Runs a macro's body for rows `$from..$rows` of activations, `$together` at a time and the last ones alone; `$at` is the
/// first of them, and how many they are is the constant `$count`.
macro_rules! rows_together {
    ($from:expr, $rows:expr, $together:expr, $at:ident, $count:ident => $body:block) => {{
        let mut $at = $from;
        while $at + $together <= $rows {
            const $count: usize = $together;
            $body
            $at += $together;
        }
        while $at < $rows {
            const $count: usize = 1;
            $body
            $at += 1;
        }
    }};
}
pub(super) use rows_together;

/// Calls the kernel `$run` for the caller's type of a quantized format.
macro_rules! for_format {
    ($format:expr, $run:ident($tile:expr, $streams:expr, $activations:expr)) => {
        match $format {
            $crate::Format::Q4_0 => $run::<Q4_0>($tile, $streams, $activations),
            $crate::Format::Q4_1 => $run::<Q4_1>($tile, $streams, $activations),
            $crate::Format::Q5_0 => $run::<Q5_0>($tile, $streams, $activations),
            $crate::Format::Q5_1 => $run::<Q5_1>($tile, $streams, $activations),
            $crate::Format::Q8_0 => $run::<Q8_0>($tile, $streams, $activations),
            $crate::Format::Q2K => $run::<Q2K>($tile, $streams, $activations),
            $crate::Format::Q3K => $run::<Q3K>($tile, $streams, $activations),
            $crate::Format::Q4K => $run::<Q4K>($tile, $streams, $activations),
            $crate::Format::Q5K => $run::<Q5K>($tile, $streams, $activations),
            $crate::Format::Q6K => $run::<Q6K>($tile, $streams, $activations),
            $crate::Format::F32 | $crate::Format::F16 | $crate::Format::BF16 => {
                unreachable!("floats have kernels of their own")
            }
        }
    };
}
pub(super) use for_format;
