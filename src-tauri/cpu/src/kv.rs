//! The KV cache: pages of [`PAGE`] positions, shared between conversations that begin alike.

use std::{collections::HashSet, sync::Arc};

use tektra_cuda::{GpuError, Layers};
use tektra_kernels::{KvPage, KvPages, KvType, PAGE};

use crate::weights::Shape;

/// How a page is laid out: for each layer on the CPU the keys of all heads, then their values. In bytes.
#[derive(Clone, Copy)]
pub(crate) struct PageLayout {
    pub(crate) kv: KvType,
    /// On the CPU.
    layers: usize,
    /// What a page takes on GPUs.
    gpu_bytes: usize,
    /// The key (or value) of one head.
    head: usize,
    /// Keys (or values) of one layer.
    half: usize,
}

impl PageLayout {
    /// Of `layers` layers on the CPU and what `gpus` hold.
    pub(crate) fn new(shape: &Shape, kv: KvType, layers: usize, gpus: &[Layers]) -> Self {
        let head = kv.bytes_per_head(shape.head_dim) * PAGE;
        let gpu_bytes = gpus.iter().map(Layers::page_bytes).sum();
        Self { kv, layers, gpu_bytes, head, half: shape.kv_heads * head }
    }

    /// Where a layer's keys begin.
    pub(crate) fn keys(self, layer: usize) -> usize {
        layer * 2 * self.half
    }

    /// Where a layer's values begin.
    pub(crate) fn values(self, layer: usize) -> usize {
        self.keys(layer) + self.half
    }

    /// The keys and the values of each head of a layer.
    pub(crate) fn heads_mut(self, page: &mut [u8], layer: usize) -> impl Iterator<Item = (&mut [u8], &mut [u8])> {
        let (keys, values) = page[self.keys(layer)..][..2 * self.half].split_at_mut(self.half);
        keys.chunks_exact_mut(self.head).zip(values.chunks_exact_mut(self.head))
    }

    /// Of a page, wherever it lies.
    pub(crate) fn bytes(self) -> usize {
        self.host_bytes() + self.gpu_bytes
    }

    /// Pages for the layers on the CPU.
    pub(crate) fn host_pages(self) -> KvPages {
        KvPages::new(self.host_bytes())
    }

    fn host_bytes(self) -> usize {
        self.layers * 2 * self.half
    }
}

/// Keys and values of [`PAGE`] positions, each layer's where the layer is.
pub(crate) struct Page {
    pub(crate) host: KvPage,
    /// For each GPU.
    pub(crate) gpus: Vec<tektra_cuda::Page>,
}

impl Page {
    fn new(host: &KvPages, gpus: &[Layers]) -> Result<Self, GpuError> {
        let on_gpus = gpus.iter().map(Layers::page).collect::<Result<_, _>>()?;
        Ok(Self { host: host.page(), gpus: on_gpus })
    }

    /// A page of its own with the same content.
    pub(crate) fn try_copy(&self) -> Result<Self, GpuError> {
        let gpus = self.gpus.iter().map(tektra_cuda::Page::try_copy).collect::<Result<_, _>>()?;
        Ok(Self { host: self.host.clone(), gpus })
    }
}

/// The cache of one sequence.
#[derive(Clone, Default)]
pub(crate) struct Cache {
    /// Tokens whose keys and values are there.
    pub(crate) tokens: Vec<u32>,
    pub(crate) pages: Vec<Arc<Page>>,
}

impl Cache {
    /// Makes room for `count` more tokens in pages that are this sequence's alone, new ones of `host` and `gpus`.
    ///
    /// # Errors
    /// When a GPU's memory is full; the tokens that are there stay.
    pub(crate) fn reserve(&mut self, host: &KvPages, gpus: &[Layers], count: usize) -> Result<(), GpuError> {
        let first = self.tokens.len() / PAGE;
        for page in self.pages.iter_mut().skip(first) {
            // Shared only when a kept conversation ends inside of it.
            if Arc::get_mut(page).is_none() {
                *page = Arc::new(page.try_copy()?);
            }
        }
        while self.pages.len() < (self.tokens.len() + count).div_ceil(PAGE) {
            self.pages.push(Arc::new(Page::new(host, gpus)?));
        }
        Ok(())
    }

    /// Whether this cache holds nothing that `other` does not hold.
    fn is_within(&self, other: &Self) -> bool {
        other.tokens.starts_with(&self.tokens)
    }
}

/// Finished conversations whose caches are kept for the next turn, the most recently used last.
pub(crate) struct Kept {
    caches: Vec<Cache>,
    layout: PageLayout,
    budget_bytes: usize,
}

impl Kept {
    pub(crate) fn new(layout: PageLayout, budget_bytes: usize) -> Self {
        Self { caches: Vec::new(), layout, budget_bytes }
    }

    /// The longest kept beginning of `prompt`, which leaves at least the last token to compute.
    pub(crate) fn beginning_of(&mut self, prompt: &[u32]) -> Cache {
        let common = |cache: &Cache| cache.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let best = self.caches.iter().enumerate().map(|(index, cache)| (common(cache), index)).max();
        let Some((common, index)) = best else { return Cache::default() };
        let length = common.min(prompt.len().saturating_sub(1));
        let used = self.caches.remove(index);
        let beginning =
            Cache { tokens: used.tokens[..length].to_vec(), pages: used.pages[..length.div_ceil(PAGE)].to_vec() };
        self.caches.push(used);
        beginning
    }

    /// Keeps a finished sequence's cache; whatever it continues is part of it.
    pub(crate) fn keep(&mut self, cache: Cache) {
        self.caches.retain(|kept| !kept.is_within(&cache));
        if !self.caches.iter().any(|kept| cache.is_within(kept)) {
            self.caches.push(cache);
        }
    }

    /// Forgets the least recently used until what is kept and what `active` sequences hold fits the budget, and says how
    /// many bytes that is then.
    pub(crate) fn shrink<'a>(&mut self, active: impl Iterator<Item = &'a Cache> + Clone) -> usize {
        loop {
            let bytes = self.bytes(active.clone());
            if self.caches.is_empty() || bytes <= self.budget_bytes {
                return bytes;
            }
            self.caches.remove(0);
        }
    }

    /// Forgets all, and says whether there was something.
    pub(crate) fn forget(&mut self) -> bool {
        !std::mem::take(&mut self.caches).is_empty()
    }

    /// Bytes of all pages, each counted once.
    pub(crate) fn bytes<'a>(&self, active: impl Iterator<Item = &'a Cache>) -> usize {
        let pages = |cache: &Cache| cache.pages.iter().map(Arc::as_ptr).collect::<Vec<_>>();
        let all: HashSet<*const Page> = self.caches.iter().flat_map(pages).chain(active.flat_map(pages)).collect();
        all.len() * self.layout.bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const LAYOUT: PageLayout = PageLayout { kv: KvType::F16, layers: 1, gpu_bytes: 0, head: 64, half: 64 };

    fn cache(tokens: impl IntoIterator<Item = u32>) -> Cache {
        let mut cache = Cache::default();
        let tokens: Vec<u32> = tokens.into_iter().collect();
        cache.reserve(&LAYOUT.host_pages(), &[], tokens.len()).unwrap();
        cache.tokens = tokens;
        cache
    }

    #[test]
    fn the_longest_beginning_is_found_and_leaves_one_token() {
        let mut kept = Kept::new(LAYOUT, usize::MAX);
        kept.keep(cache(0..40));
        kept.keep(cache((0..70).chain([7; 9])));
        assert_eq!(kept.caches.len(), 1, "the shorter is part of the longer");
        let prompt: Vec<u32> = (0..100).collect();
        let found = kept.beginning_of(&prompt);
        assert_eq!((found.tokens.len(), found.pages.len()), (70, 3));
        assert_eq!(kept.beginning_of(&prompt[..50]).tokens.len(), 49);
        assert_eq!(kept.beginning_of(&[5]).tokens.len(), 0);
        assert_eq!(kept.beginning_of(&[]).tokens.len(), 0);
    }

    #[test]
    fn what_is_written_after_a_shared_beginning_stays_private() {
        let mut kept = Kept::new(LAYOUT, usize::MAX);
        kept.keep(cache(0..40));
        let mut found = kept.beginning_of(&(0..50).collect::<Vec<_>>());
        found.reserve(&LAYOUT.host_pages(), &[], 10).unwrap();
        assert!(Arc::ptr_eq(&found.pages[0], &kept.caches[0].pages[0]), "a full page is shared");
        assert!(!Arc::ptr_eq(&found.pages[1], &kept.caches[0].pages[1]), "a page to write in is not");
        assert_eq!(kept.bytes([&found].into_iter()), 3 * LAYOUT.bytes());
    }

    #[test]
    fn the_least_recently_used_goes_first_when_the_budget_is_passed() {
        let mut kept = Kept::new(LAYOUT, 3 * LAYOUT.bytes());
        for first in [100, 200, 300] {
            kept.keep(cache(first..first + 30));
        }
        kept.beginning_of(&[100, 101, 102]);
        kept.keep(cache(400..430));
        kept.shrink(std::iter::empty());
        let first: Vec<u32> = kept.caches.iter().map(|cache| cache.tokens[0]).collect();
        assert_eq!(first, [300, 100, 400]);
        kept.shrink([&cache(0..64)].into_iter());
        assert_eq!(kept.caches.len(), 1);
    }
}
