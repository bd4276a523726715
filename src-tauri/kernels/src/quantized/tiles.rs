//! AMX: sixteen rows of activations times sixteen rows of weights, a group at a time.
//!
//! In assembly, since Rust has no stable functions for it. See Intel's "Architecture Instruction Set Extensions
//! Programming Reference", chapter "Intel AMX Instruction Set Reference".

use std::{arch::asm, sync::OnceLock};

/// Rows of activations that a tile holds.
pub(super) const ROWS: usize = 16;

/// Products of sixteen rows of activations (one after the other) with sixteen rows of weights (lanes).
#[repr(C, align(64))]
pub(super) struct Products(pub(super) [[i32; 16]; ROWS]);

/// Whether the processor multiplies tiles of bytes, and the system lets this process use them.
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && permitted())
}

fn has_instructions() -> bool {
    const TILE_AND_INT8: u32 = 1 << 24 | 1 << 25;
    std::arch::x86_64::__cpuid_count(7, 0).edx & TILE_AND_INT8 == TILE_AND_INT8
}

/// Linux keeps the tiles' state only for processes that ask, all their threads included
/// (<https://docs.kernel.org/arch/x86/xstate.html>).
#[cfg(all(target_os = "linux", not(miri)))]
fn permitted() -> bool {
    const ARCH_PRCTL: usize = 158;
    const REQUEST_PERMISSION: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let result: isize;
    // SAFETY: the call takes two numbers and changes nothing in memory; an older kernel refuses it.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    result == 0
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn permitted() -> bool {
    false
}

/// The shapes of this thread's tiles: results, activations, weights. Released when dropped.
pub(super) struct Shapes;

impl Shapes {
    /// Tiles for `words` words of four codes of each row.
    ///
    /// # Safety
    /// [`available`], and no other shapes in this thread; at most 16 words.
    pub(super) unsafe fn set(words: u8) -> Self {
        let mut config = [0_u8; 64];
        config[0] = 1; // The palette.
        for (tile, (rows, row_bytes)) in
            [(ROWS as u8, 64), (ROWS as u8, 4 * words), (words, 64)].into_iter().enumerate()
        {
            config[16 + 2 * tile] = row_bytes;
            config[48 + tile] = rows;
        }
        // SAFETY: the processor reads 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) config.as_ptr(), options(nostack, readonly)) };
        Self
    }
}

impl Drop for Shapes {
    fn drop(&mut self) {
        // SAFETY: they were set in this thread: the type is used within one function.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// The products of sixteen rows of activations, `stride` bytes apart, with the words at `codes`, each of sixteen rows.
///
/// # Safety
/// [`Shapes`] are set, and both pointers are good for what they say.
#[inline(always)]
pub(super) unsafe fn multiply(activations: *const i8, stride: usize, codes: *const u8, out: &mut Products) {
    unsafe {
        asm!(
            "tilezero tmm0",
            "tileloadd tmm1, [{activations} + {stride}*1]",
            "tileloadd tmm2, [{codes} + {line}*1]",
            "tdpbssd tmm0, tmm1, tmm2",
            "tilestored [{out} + {line}*1], tmm0",
            activations = in(reg) activations,
            stride = in(reg) stride,
            codes = in(reg) codes,
            line = in(reg) 64_usize,
            out = in(reg) out.0.as_mut_ptr(),
            out("tmm0") _,
            out("tmm1") _,
            out("tmm2") _,
            options(nostack)
        );
    }
}
