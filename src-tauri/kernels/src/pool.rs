//! Threads that share one piece of work at a time.

use std::{
    cell::UnsafeCell,
    hint::spin_loop,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread::{JoinHandle, yield_now},
};

/// How long a thread looks for new work before it sleeps: about 50 µs, longer than the pauses between
/// the products of one token, shorter than anything a person or a battery would notice.
const SPINS_BEFORE_SLEEP: u32 = 4_000;

/// A fixed set of threads, the caller among them.
///
/// Whoever is free takes what is next of the work. A thread that the system has not scheduled takes nothing and is not
/// waited for, so that a busy machine slows the work by the time it takes away and no more.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

type Work = dyn Fn(usize, &[Counter]) + Sync;

/// What says which part of a piece of work has been taken.
pub(crate) type Counter = OwnLine<AtomicUsize>;

/// Alone in its cache lines (processors fetch them in pairs): a write takes nothing away from threads that use something else.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct OwnLine<T>(T);

impl<T> std::ops::Deref for OwnLine<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

struct Shared {
    /// Odd while a job is open. Threads that wait for one read it all the time, so what others write lies elsewhere.
    epoch: OwnLine<AtomicU32>,
    /// The open job. Written only by the owner, while `epoch` is even and `inside` is 0.
    job: UnsafeCell<Option<*const Work>>,
    /// Of the open job, one for each thread.
    counters: Box<[Counter]>,
    /// Workers that may look at `job`.
    inside: OwnLine<AtomicUsize>,
    sleepers: AtomicUsize,
    panicked: AtomicBool,
    ended: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

// SAFETY: `job` is read by workers only between announcing themselves in `inside` while `epoch` is odd, and leaving;
// the owner writes it only outside of that time. The pointer's target is `Sync` and outlives the open epoch.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it is bound to a thread.
unsafe impl Send for Shared {}

impl Pool {
    /// A pool of `threads` threads, the caller's included; at least 1.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            epoch: OwnLine::default(),
            job: UnsafeCell::new(None),
            counters: (0..threads.max(1)).map(|_| Counter::default()).collect(),
            inside: OwnLine::default(),
            sleepers: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        let mut pool = Self { shared, workers: Vec::new() };
        for number in 1..threads {
            let shared = pool.shared.clone();
            let thread = std::thread::Builder::new().name("kernels".into());
            pool.workers.push(thread.spawn(move || shared.serve(number))?);
        }
        Ok(pool)
    }

    /// Threads that take chunks, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work` once for each number below `chunks`, on all threads, and returns when all are done.
    ///
    /// # Panics
    /// When `work` panics.
    pub fn run(&mut self, chunks: usize, work: &(impl Fn(usize) + Sync)) {
        if self.workers.is_empty() || chunks < 2 {
            return (0..chunks).for_each(work);
        }
        self.on_each(&|_, counters| {
            loop {
                let chunk = counters[0].fetch_add(1, Relaxed);
                if chunk >= chunks {
                    return;
                }
                work(chunk);
            }
        });
    }

    /// Calls `work` on the caller's thread, which is number 0, and on each of the others that is there before that is done,
    /// and returns when all are. Each hears its number, and has the same counters, one for each thread, all 0 at first: with
    /// them they divide the work so that it is done whoever came.
    ///
    /// # Panics
    /// When `work` panics.
    pub(crate) fn on_each(&mut self, work: &(impl Fn(usize, &[Counter]) + Sync)) {
        let shared = &*self.shared;
        shared.counters.iter().for_each(|counter| counter.store(0, Relaxed));
        if self.workers.is_empty() {
            return work(0, &shared.counters);
        }
        let work: *const (dyn Fn(usize, &[Counter]) + Sync + '_) = work;
        // SAFETY: only the lifetime changes; the job is closed and left by all before this function returns or unwinds.
        let work: *const Work = unsafe { std::mem::transmute(work) };
        // SAFETY: the epoch is even and nobody is inside: this function has the pool to itself and waited for both the last
        // time.
        unsafe { *shared.job.get() = Some(work) };
        shared.epoch.fetch_add(1, SeqCst);
        if shared.sleepers.load(SeqCst) > 0 {
            drop(shared.lock());
            shared.wake.notify_all();
        }
        // SAFETY: the pointer was made from a reference that lives until the end of this function.
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { (*work)(0, &shared.counters) }));
        shared.epoch.fetch_add(1, SeqCst);
        let mut spins = 0;
        while shared.inside.load(SeqCst) > 0 {
            spins += 1;
            // A worker that the system took off its core in the middle of a chunk may need this very core.
            if spins > 2_000 { yield_now() } else { spin_loop() }
        }
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        assert!(!shared.panicked.swap(false, SeqCst), "a kernel panicked");
    }

    /// Calls `work` once for each item, on all threads.
    ///
    /// # Panics
    /// When `work` panics.
    pub fn for_each<T: Send>(&mut self, items: &mut [T], work: impl Fn(&mut T) + Sync) {
        struct Items<T>(*mut T);
        // SAFETY: every item is touched by one thread only, and may be: it is `Send`.
        unsafe impl<T: Send> Sync for Items<T> {}

        // Few items are done before another thread has heard of them.
        let per_chunk = items.len().div_ceil(self.threads() * 4).max(2);
        let chunks = items.len().div_ceil(per_chunk);
        let (count, items) = (items.len(), Items(items.as_mut_ptr()));
        let items = &items;
        self.run(chunks, &|chunk| {
            for index in chunk * per_chunk..((chunk + 1) * per_chunk).min(count) {
                // SAFETY: within the slice, and no other chunk has this index.
                work(unsafe { &mut *items.0.add(index) });
            }
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        drop(self.shared.lock());
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn serve(&self, number: usize) {
        let mut done = 0;
        while let Some(epoch) = self.wait(done) {
            done = epoch;
            self.inside.fetch_add(1, SeqCst);
            // Only now is it certain that the owner waits for this thread, or that the job is over already.
            if self.epoch.load(SeqCst) == epoch {
                // SAFETY: the epoch is still open, see `Sync`.
                if let Some(work) = unsafe { *self.job.get() } {
                    // SAFETY: `on_each` keeps the closure alive until `inside` is 0 again.
                    let work = AssertUnwindSafe(|| unsafe { (*work)(number, &self.counters) });
                    if catch_unwind(work).is_err() {
                        self.panicked.store(true, SeqCst);
                    }
                }
            }
            self.inside.fetch_sub(1, SeqCst);
        }
    }

    /// The next open epoch after `done`; `None` when the pool ends.
    fn wait(&self, done: u32) -> Option<u32> {
        let open = || {
            let epoch = self.epoch.load(SeqCst);
            (epoch % 2 == 1 && epoch != done).then_some(epoch)
        };
        for _ in 0..SPINS_BEFORE_SLEEP {
            if let Some(epoch) = open() {
                return Some(epoch);
            }
            if self.ended.load(SeqCst) {
                return None;
            }
            spin_loop();
        }
        let mut guard = self.lock();
        self.sleepers.fetch_add(1, SeqCst);
        let found = loop {
            if self.ended.load(SeqCst) {
                break None;
            }
            if let Some(epoch) = open() {
                break Some(epoch);
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, SeqCst);
        found
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_done_once() {
        for threads in 1..4 {
            let mut pool = Pool::new(threads).expect("threads");
            for chunks in [0, 1, 2, 3, 17, 100] {
                let counts: Vec<_> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(chunks, &|chunk| {
                    counts[chunk].fetch_add(1, SeqCst);
                });
                assert!(counts.iter().all(|count| count.load(SeqCst) == 1), "{threads} threads, {chunks} chunks");
            }
        }
    }

    #[test]
    fn every_item_is_touched_once() {
        let mut pool = Pool::new(3).expect("threads");
        for count in [0, 1, 5, 24, 101] {
            let mut items = vec![0; count];
            pool.for_each(&mut items, |item| *item += 1);
            assert_eq!(items, vec![1; count]);
        }
    }

    #[test]
    fn a_sleeping_pool_wakes() {
        let mut pool = Pool::new(3).expect("threads");
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let sum = AtomicUsize::new(0);
            pool.run(10, &|chunk| {
                sum.fetch_add(chunk, SeqCst);
            });
            assert_eq!(sum.into_inner(), 45);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_works_on() {
        let mut pool = Pool::new(2).expect("threads");
        let failing = catch_unwind(AssertUnwindSafe(|| pool.run(8, &|chunk| assert!(chunk != 5, "chunk 5"))));
        assert!(failing.is_err());
        let sum = AtomicUsize::new(0);
        pool.run(4, &|chunk| {
            sum.fetch_add(chunk, SeqCst);
        });
        assert_eq!(sum.into_inner(), 6);
    }
}
