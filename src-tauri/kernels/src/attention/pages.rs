//! Memory for the pages of a KV cache.

use std::{
    alloc::{Layout, handle_alloc_error},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use crate::memory::{Arena, Piece};

/// Bytes of pages that are asked of the system at a time: of what a large page has beyond the last, little is left over.
const STRETCH: usize = if cfg!(miri) { 32 << 10 } else { 32 << 20 };
/// Smaller pages, down to nothing where a GPU has all layers, are counted as so many bytes.
const LEAST: usize = 4096;

/// Where the pages of a KV cache come from. Many lie in one stretch of memory, since one by itself may be shorter than
/// the system's large pages; those given back are given out again.
#[derive(Clone)]
pub struct KvPages {
    page_bytes: usize,
    unused: Arc<Mutex<Unused>>,
}

#[derive(Default)]
struct Unused {
    given_back: Vec<Piece>,
    /// The stretch that is begun.
    arena: Arena,
}

impl KvPages {
    /// Pages of `page_bytes` bytes each.
    pub fn new(page_bytes: usize) -> Self {
        Self { page_bytes, unused: Arc::default() }
    }

    /// A page of zeros. It begins at a cache line, as all that is in it then does, so that no vector lies in two.
    pub fn page(&self) -> KvPage {
        let mut unused = lock(&self.unused);
        if let Some(mut piece) = unused.given_back.pop() {
            drop(unused);
            piece.fill(0);
            return KvPage { piece: Some(piece), from: self.clone() };
        }
        let Ok(piece) = unused.fresh(self.page_bytes) else {
            // As for any other memory that the program cannot be without.
            handle_alloc_error(Layout::array::<u8>(self.page_bytes).unwrap_or(Layout::new::<u8>()));
        };
        KvPage { piece: Some(piece), from: self.clone() }
    }
}

impl Unused {
    fn fresh(&mut self, page_bytes: usize) -> io::Result<Piece> {
        if !self.arena.has(page_bytes) {
            let pages = (STRETCH / page_bytes.max(LEAST)).max(1);
            self.arena = Arena::new(pages * page_bytes, pages)?;
        }
        self.arena.take(page_bytes)
    }

    /// Keeps a page's memory for the next; a stretch of which nobody has a page any more goes back to the system.
    fn take_back(&mut self, piece: Piece) {
        let memory = piece.memory().clone();
        self.given_back.push(piece);
        let mine = |piece: &Piece| Arc::ptr_eq(piece.memory(), &memory);
        // Those given back and the clone above; the stretch that is begun is held by the arena too.
        if self.given_back.iter().filter(|piece| mine(piece)).count() + 1 == Arc::strong_count(&memory) {
            self.given_back.retain(|piece| !mine(piece));
        }
    }
}

fn lock(unused: &Mutex<Unused>) -> std::sync::MutexGuard<'_, Unused> {
    unused.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory for one page of the KV cache.
pub struct KvPage {
    /// Until it is given back.
    piece: Option<Piece>,
    from: KvPages,
}

impl KvPage {
    /// The page's memory.
    pub fn bytes(&self) -> &[u8] {
        self.piece.as_deref().unwrap_or_default()
    }

    /// The page's memory, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.piece.as_deref_mut().unwrap_or_default()
    }
}

impl Clone for KvPage {
    fn clone(&self) -> Self {
        let mut copy = self.from.page();
        copy.bytes_mut().copy_from_slice(self.bytes());
        copy
    }
}

impl Drop for KvPage {
    fn drop(&mut self) {
        if let Some(piece) = self.piece.take() {
            lock(&self.from.unused).take_back(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_apart_come_back_as_zeros_and_leave_with_their_stretch() {
        let pages = KvPages::new(STRETCH / 4);
        let mut held: Vec<KvPage> = (0..9).map(|_| pages.page()).collect();
        for (value, page) in (1..).zip(&mut held) {
            page.bytes_mut()[..100].fill(value);
        }
        for (value, page) in (1..).zip(&held) {
            assert_eq!(page.bytes().len(), STRETCH / 4);
            assert!(page.clone().bytes()[..100].iter().all(|&byte| byte == value), "its own, and so is a copy's");
        }
        let left = |pages: &KvPages| lock(&pages.unused).given_back.len();
        held.drain(1..4);
        assert_eq!(left(&pages), 3 + 1, "those of a stretch in use stay, as does the copies' of the last");
        held.drain(..1);
        assert_eq!(left(&pages), 1, "four of one stretch are gone");
        let again = pages.page();
        assert_eq!(left(&pages), 0);
        assert!(again.bytes().iter().all(|&byte| byte == 0), "zeros, whatever was there");
        let mut last = held.pop().expect("a page");
        drop((pages, held, again));
        last.bytes_mut().fill(7);
        assert!(last.bytes().iter().all(|&byte| byte == 7), "a page outlives where it came from");
    }
}
