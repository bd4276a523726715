//! Pages of the KV cache in a GPU's memory.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::result;

use crate::{
    GpuError,
    gpu::{Gpu, Memory},
};

/// The GPU is asked for this much at a time, or for one page.
const PIECE_BYTES: usize = 32 << 20;

/// Where pages come from and go back to. What was once taken from the GPU is kept for other pages.
pub(crate) struct Pages {
    gpu: Arc<Gpu>,
    page_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: Vec<u64>,
    pieces: Vec<Memory>,
}

impl Pages {
    pub(crate) fn new(gpu: &Arc<Gpu>, page_bytes: usize) -> Arc<Self> {
        Arc::new(Self { gpu: gpu.clone(), page_bytes, state: Mutex::default() })
    }

    pub(crate) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    pub(crate) fn page(self: &Arc<Self>) -> Result<Page, GpuError> {
        if self.page_bytes == 0 {
            // A GPU that has the output and no layer.
            return Ok(Page { address: 0, pages: self.clone() });
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.free.is_empty() {
            let count = (PIECE_BYTES / self.page_bytes).max(1);
            let piece = Memory::new(&self.gpu, count * self.page_bytes)
                // The last memory that there is may be enough for one.
                .or_else(|_| Memory::new(&self.gpu, self.page_bytes))?;
            let pages = 0..piece.bytes / self.page_bytes;
            state.free.extend(pages.rev().map(|page| piece.address + (page * self.page_bytes) as u64));
            state.pieces.push(piece);
        }
        let address = state.free.pop().ok_or(GpuError::OutOfMemory { needed_bytes: self.page_bytes })?;
        Ok(Page { address, pages: self.clone() })
    }
}

/// Keys and values of 32 positions in all layers of a [`crate::Layers`].
pub struct Page {
    pub(crate) address: u64,
    pages: Arc<Pages>,
}

impl Page {
    /// A page of its own with the same content.
    ///
    /// # Errors
    /// When the GPU's memory is full.
    pub fn try_copy(&self) -> Result<Self, GpuError> {
        let copy = self.pages.page()?;
        if self.pages.page_bytes == 0 {
            return Ok(copy);
        }
        let gpu = &self.pages.gpu;
        gpu.bind()?;
        // SAFETY: two pages of one size.
        unsafe {
            result::memcpy_dtod_async(copy.address, self.address, self.pages.page_bytes, gpu.stream.cu_stream())
        }?;
        Ok(copy)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if self.pages.page_bytes > 0 {
            let mut state = self.pages.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.free.push(self.address);
        }
    }
}
