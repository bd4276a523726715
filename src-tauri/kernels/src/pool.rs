//! Threads that share one piece of work at a time.

use std::{
    cell::UnsafeCell,
    hint::spin_loop,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, Release, SeqCst},
        },
    },
    thread::{JoinHandle, yield_now},
};

use crate::ahead::Coming;

/// How long a thread looks for new work before it sleeps: about 50 µs, longer than the pauses between
/// the products of one token, shorter than anything a person or a battery would notice.
const SPINS_BEFORE_SLEEP: u32 = 4_000;

/// How many others a thread helps when its part is done and theirs are small: looking at what is left of one takes time from
/// the thread that has it. The caller's thread looks at all, so that everything is done whoever came.
const HELPED: usize = 2;

/// Chunks of work for each thread, from which on parts are not small.
const MANY: usize = 4;

/// A fixed set of threads, the caller among them.
///
/// Whoever is free takes what is left of the work. A thread that the system has not scheduled takes nothing and is not
/// waited for, so that a busy machine slows the work by the time it takes away and no more.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

type Work = dyn Fn(usize, &Taken<'_>) -> Option<Coming> + Sync;

struct Shared {
    open: Open,
    /// One for each thread, the owner's first.
    seats: Box<[Seat]>,
    sleepers: AtomicUsize,
    panicked: AtomicBool,
    ended: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

/// What threads that wait for a job read all the time: alone in its cache lines (processors fetch them in pairs), so that
/// what others write takes nothing away from them, and all that they want to know comes at once.
#[repr(align(128))]
struct Open {
    /// Odd while a job is open.
    epoch: AtomicU64,
    /// The open job. Written only by the owner, while `epoch` is even and nobody is inside.
    job: UnsafeCell<Option<*const Work>>,
}

/// What a thread writes, alone in its cache lines.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Seat {
    /// Whether the thread may look at the job.
    inside: AtomicBool,
    /// The last epoch in which something was taken of the thread's part, and how much: [`TAKEN_BITS`].
    taken: AtomicU64,
}

/// Room for the largest part. The epoch above repeats after 2^40 jobs, in which something was taken of every part.
const TAKEN_BITS: u32 = 24;
const MOST_TAKEN: usize = (1 << TAKEN_BITS) - 1;

/// How much has been taken of each thread's part of the open job: nothing at first, so that nobody need write it.
pub(crate) struct Taken<'a> {
    seats: &'a [Seat],
    /// [`Seat::taken`] of a part of which nothing has been taken in this epoch.
    nothing: u64,
}

impl<'a> Taken<'a> {
    pub(crate) fn new(seats: &'a [Seat], epoch: u64) -> Self {
        Self { seats, nothing: epoch << TAKEN_BITS }
    }

    /// Threads that have a part.
    pub(crate) fn threads(&self) -> usize {
        self.seats.len()
    }

    /// The threads of whose parts thread `own` takes, its own first; `small` says of which parts [`HELPED`] holds.
    pub(crate) fn turns(&self, own: usize, small: impl Fn(usize) -> bool) -> impl Iterator<Item = usize> {
        let order = (own..self.threads()).chain(0..own).enumerate();
        let helps = move |&(helped, thread): &(usize, usize)| own == 0 || helped <= HELPED || !small(thread);
        order.take_while(helps).map(|(_, thread)| thread)
    }

    /// Takes more of thread `thread`'s part: as far as `until` says when it hears how much has been taken, which it may more
    /// than once.
    pub(crate) fn take(&self, thread: usize, mut until: impl FnMut(usize) -> Option<usize>) -> Option<Range<usize>> {
        let taken = &self.seats[thread].taken;
        let mut seen = taken.load(Relaxed);
        loop {
            let first = self.count(seen);
            let end = until(first)?;
            assert!(end <= MOST_TAKEN, "a part that can be counted");
            match taken.compare_exchange_weak(seen, self.nothing | end as u64, Relaxed, Relaxed) {
                Ok(_) => return Some(first..end),
                Err(now) => seen = now,
            }
        }
    }

    /// What a [`Seat::taken`] says in this epoch.
    fn count(&self, taken: u64) -> usize {
        let count = taken ^ self.nothing;
        if count <= MOST_TAKEN as u64 { count as usize } else { 0 }
    }
}

// SAFETY: `job` is read by workers only between saying that they are inside while `epoch` is odd, and leaving; the owner
// writes it only outside of that time. The pointer's target is `Sync` and outlives the open epoch.
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
            open: Open { epoch: AtomicU64::new(0), job: UnsafeCell::new(None) },
            seats: (0..threads.max(1)).map(|_| Seat::default()).collect(),
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

    /// Calls `work` once for each number below `chunks`, on all threads, and returns when all are done. Each thread has
    /// consecutive numbers of its own, and then helps the others.
    ///
    /// # Panics
    /// When `work` panics.
    pub fn run(&mut self, chunks: usize, work: &(impl Fn(usize) + Sync)) {
        if self.workers.is_empty() || chunks < 2 {
            return (0..chunks).for_each(work);
        }
        assert!(chunks < MOST_TAKEN, "chunks that can be counted");
        self.on_each(&|own, taken| {
            let threads = taken.threads();
            let first = |thread: usize| (chunks * thread).div_ceil(threads);
            for thread in taken.turns(own, |_| chunks < MANY * threads) {
                let part = first(thread)..first(thread + 1);
                while let Some(taken) = taken.take(thread, |taken| (taken < part.len()).then_some(taken + 1)) {
                    work(part.start + taken.start);
                }
            }
            None
        });
    }

    /// Calls `work` on the caller's thread, which is number 0, and on each of the others that is there before that is done,
    /// and returns when all are. Each hears its number, and has what says how much has been taken of each thread's part, by
    /// which they divide the work so that it is done whoever came. Each may say what it will read next.
    ///
    /// # Panics
    /// When `work` panics.
    pub(crate) fn on_each(&mut self, work: &(impl Fn(usize, &Taken<'_>) -> Option<Coming> + Sync)) {
        let shared = &*self.shared;
        let Open { epoch, job } = &shared.open;
        let open = epoch.load(Relaxed) + 1;
        let taken = Taken::new(&shared.seats, open);
        if self.workers.is_empty() {
            epoch.store(open + 1, Relaxed);
            work(0, &taken);
            return;
        }
        let work: *const (dyn Fn(usize, &Taken<'_>) -> Option<Coming> + Sync + '_) = work;
        // SAFETY: only the lifetime changes; the job is closed and left by all before this function returns or unwinds.
        let work: *const Work = unsafe { std::mem::transmute(work) };
        // SAFETY: the epoch is even and nobody is inside: this function has the pool to itself and waited for both the last
        // time.
        unsafe { *job.get() = Some(work) };
        epoch.store(open, SeqCst);
        if shared.sleepers.load(SeqCst) > 0 {
            drop(shared.lock());
            shared.wake.notify_all();
        }
        // SAFETY: the pointer was made from a reference that lives until the end of this function.
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { (*work)(0, &taken) }));
        epoch.store(open + 1, SeqCst);
        let mut spins = 0;
        let mut coming = outcome.as_ref().ok().copied().flatten().unwrap_or(Coming::NONE);
        for seat in &shared.seats[1..] {
            while seat.inside.load(SeqCst) {
                spins += 1;
                // A worker that the system took off its core in the middle of a chunk may need this very core.
                if spins > 2_000 {
                    yield_now();
                } else if !coming.ask() {
                    spin_loop();
                }
            }
        }
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        if shared.panicked.load(SeqCst) {
            shared.panicked.store(false, SeqCst);
            panic!("a kernel panicked");
        }
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
        let inside = &self.seats[number].inside;
        let (mut done, mut coming) = (0, Coming::NONE);
        while let Some(epoch) = self.wait(done, &mut coming) {
            done = epoch;
            inside.store(true, SeqCst);
            // Only now is it certain that the owner waits for this thread, or that the job is over already.
            if self.open.epoch.load(SeqCst) == epoch {
                // SAFETY: the epoch is still open, see `Sync`.
                if let Some(work) = unsafe { *self.open.job.get() } {
                    let taken = Taken::new(&self.seats, epoch);
                    // SAFETY: `on_each` keeps the closure alive until nobody is inside.
                    let work = AssertUnwindSafe(|| unsafe { (*work)(number, &taken) });
                    match catch_unwind(work) {
                        Ok(next) => coming = next.unwrap_or(coming),
                        Err(_) => self.panicked.store(true, SeqCst),
                    }
                }
            }
            inside.store(false, Release);
        }
    }

    /// The next open epoch after `done`; `None` when the pool ends. Meanwhile asks for what is coming.
    fn wait(&self, done: u64, coming: &mut Coming) -> Option<u64> {
        let open = || {
            let epoch = self.open.epoch.load(SeqCst);
            (epoch % 2 == 1 && epoch != done).then_some(epoch)
        };
        for _ in 0..SPINS_BEFORE_SLEEP {
            if let Some(epoch) = open() {
                return Some(epoch);
            }
            if self.ended.load(SeqCst) {
                return None;
            }
            if !coming.ask() {
                spin_loop();
            }
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
