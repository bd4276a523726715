//! Memory in large pages.

use std::{
    io,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use memmap2::MmapMut;

/// Where large pages begin. Miri takes long for memory, whoever uses it.
const LARGE_PAGE: usize = if cfg!(miri) { 4096 } else { 2 << 20 };
/// Bytes of a cache line: where a piece begins.
const LINE: usize = 64;

/// Memory of zeros for the weights of a model, or for pages of its KV cache, one matrix or page behind the other, in large
/// pages where the system has them.
///
/// With small ones the processor looks up an address every 4 KiB, which it cannot do as fast as it reads; and the matrices
/// of a small model, each by itself, would be shorter than a large page.
#[derive(Default)]
pub struct Arena {
    /// What is left.
    rest: Option<Piece>,
}

impl Arena {
    /// Space for `pieces` pieces of `bytes` bytes in all.
    ///
    /// # Errors
    /// When the system gives no memory.
    pub fn new(bytes: usize, pieces: usize) -> io::Result<Self> {
        Ok(Self { rest: Some(Piece::new(bytes + pieces * LINE)?) })
    }

    /// Whether `len` bytes are left.
    pub(crate) fn has(&self, len: usize) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.len >= len.next_multiple_of(LINE))
    }

    /// The next `len` bytes, or memory of its own where that is not left.
    pub(crate) fn take(&mut self, len: usize) -> io::Result<Piece> {
        let padded = len.next_multiple_of(LINE);
        match &mut self.rest {
            Some(rest) if rest.len >= padded => {
                let piece = Piece { memory: rest.memory.clone(), start: rest.start, len };
                rest.start = rest.start.wrapping_add(padded);
                rest.len -= padded;
                Ok(piece)
            }
            _ => Piece::new(len),
        }
    }
}

/// A part of some memory that is nobody else's; the memory goes with its last part.
pub struct Piece {
    memory: Arc<MmapMut>,
    start: *mut u8,
    len: usize,
}

// SAFETY: its bytes are nobody else's.
unsafe impl Send for Piece {}
// SAFETY: as above; they are written through `&mut` alone.
unsafe impl Sync for Piece {}

impl Piece {
    /// `len` bytes of memory of their own, which begin where a large page does.
    ///
    /// # Errors
    /// When the system gives no memory.
    pub fn new(len: usize) -> io::Result<Self> {
        let mut memory = MmapMut::map_anon(len + LARGE_PAGE)?;
        #[cfg(all(target_os = "linux", not(miri)))]
        // A kernel without large pages says no, which only costs speed.
        let _ = memory.advise(memmap2::Advice::HugePage);
        let start = memory.as_mut_ptr();
        let start = start.wrapping_add(start.align_offset(LARGE_PAGE).min(LARGE_PAGE));
        Ok(Self { memory: Arc::new(memory), start, len })
    }

    /// What it is a part of.
    pub(crate) fn memory(&self) -> &Arc<MmapMut> {
        &self.memory
    }
}

impl Deref for Piece {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: within the memory, which lives as long as this, and nobody else's.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl DerefMut for Piece {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and writable.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_apart_and_outlive_their_arena() {
        let lens = [1, 64, 1000, LARGE_PAGE + LARGE_PAGE / 2];
        let mut arena = Arena::new(lens.iter().sum(), lens.len()).expect("memory");
        let mut pieces: Vec<Piece> = lens.iter().map(|&len| arena.take(len).expect("memory")).collect();
        assert!(pieces.iter().all(|piece| Arc::ptr_eq(&piece.memory, &pieces[0].memory)), "all had room");
        let beyond = arena.take(4096).expect("memory");
        assert!(!Arc::ptr_eq(&beyond.memory, &pieces[0].memory), "there was none left");
        drop(arena);
        for (value, piece) in (1..).zip(&mut pieces) {
            assert!(piece.iter().all(|&byte| byte == 0), "memory of zeros");
            piece.fill(value);
        }
        for ((value, len), piece) in (1..).zip(lens).zip(&pieces) {
            assert!(piece.len() == len && piece.iter().all(|&byte| byte == value), "{len} bytes of their own");
            assert_eq!(piece.as_ptr().align_offset(LINE), 0, "a vector lies in one cache line");
        }
    }
}
