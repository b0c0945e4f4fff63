//! Threads: how many, which pool, what happens after a fork, and how work is stopped. The only file that names rayon.
//!
//! The thread that calls works too, so a pool has one thread fewer than were asked for, and where none can be started
//! the caller does everything. Small work leaves the caller's thread only where other threads are awake.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder, Yield};

use crate::error::Error;

/// Work below this many numbers read stays on the caller's thread: half of a number that is read at 0.5 ns is to pay for a
/// thread that wakes up, which takes some 10 µs, and 30 on virtual machines.
pub const SMALL_WORK: usize = 131_072;
/// The same where threads are awake already.
const SMALL_WORK_AWAKE: usize = 16_384;
/// For so long a thread that has worked waits for more before it sleeps, and calls that come no later wake it beforehand.
/// While it waits it gives way to whatever else the processor has to do.
const LINGER: Duration = Duration::from_micros(500);
/// For so long the caller waits for the others with open eyes: to be woken takes as long as to wake.
const VIGIL: Duration = Duration::from_micros(50);
/// More threads than this are never used.
pub const MAX_THREADS: usize = 256;
/// How often the caller looks whether it has been asked to stop.
const PATIENCE: Duration = Duration::from_millis(50);
/// How much work passes between two looks at the clock.
const WORK_PER_LOOK: usize = 4096;

/// The variables that set the number of threads, the first one that is set wins.
const VARIABLES: [&str; 3] = ["SEQLOSS_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"];

/// What `set_threads` has set; 0 for nothing.
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// How many forks lie between the process that was started and this one.
static GENERATION: AtomicUsize = AtomicUsize::new(0);

/// A process that was forked has none of its parent's threads, so it must not use (nor drop) its parent's pools: each
/// generation has pools of its own, one for every size. Nothing has to be reset after a fork but one counter, and no lock
/// is taken. Children of children beyond the last generation work on the caller's thread.
static POOLS: [[OnceLock<Option<Pool>>; MAX_THREADS]; 8] = [const { [const { OnceLock::new() }; MAX_THREADS] }; 8];

/// Threads that help one caller at a time: whoever comes while they are busy does his work alone, and does not wait for
/// the end of somebody else's.
struct Pool {
    threads: ThreadPool,
    busy: AtomicBool,
    /// How many threads are at work, or wait for it with open eyes.
    awake: AtomicUsize,
    /// Counts while they wait.
    beats: AtomicUsize,
    /// When small work came last that nobody was awake for, in microseconds since [`EPOCH`]; 0 for never.
    asked: AtomicU64,
}

impl Pool {
    /// Whether work like this pays for help: the threads are awake, or it is large.
    fn pays(&'static self, work: usize) -> bool {
        if work >= SMALL_WORK {
            return true;
        }
        if self.awake.load(Ordering::Relaxed) == self.threads.current_num_threads() {
            return self.beats();
        }
        // Small calls that follow one another closely will have help when the threads have woken up.
        let now = EPOCH.get_or_init(Instant::now).elapsed().as_micros() as u64;
        let before = self.asked.swap(now, Ordering::Relaxed);
        if before > 0 && now.saturating_sub(before) < LINGER.as_micros() as u64 {
            self.linger();
        }
        false
    }

    /// Whether a thread that is awake is running, too. Somebody else may have its processor, and whoever hands it work waits
    /// until it is back: 70 µs for work of 36 beside another library whose threads wait.
    fn beats(&self) -> bool {
        let (before, start) = (self.beats.load(Ordering::Relaxed), Instant::now());
        while self.beats.load(Ordering::Relaxed) == before {
            // A beat takes less than half a microsecond.
            if start.elapsed() > Duration::from_micros(2) {
                return false;
            }
            std::hint::spin_loop();
        }
        true
    }

    /// Has all threads wait for more work for a while.
    fn linger(&'static self) {
        let threads = self.threads.current_num_threads();
        let one_more = |awake: usize| (awake < threads).then_some(awake + 1);
        while self.awake.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok() {
            self.threads.spawn(|| {
                let mut since = Instant::now();
                while since.elapsed() < LINGER {
                    self.beats.fetch_add(1, Ordering::Relaxed);
                    match self.threads.yield_now() {
                        Some(Yield::Executed) => since = Instant::now(),
                        _ => std::thread::yield_now(),
                    }
                }
                self.awake.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

/// Any time before the first that is told from it.
static EPOCH: OnceLock<Instant> = OnceLock::new();

/// A pool that is held by one caller.
struct Held(&'static Pool);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

/// Must be called in the child after every fork; async-signal-safe.
pub fn forked() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Sets the number of threads for the whole process.
pub fn set_threads(threads: usize) -> Result<(), Error> {
    if threads == 0 || threads > MAX_THREADS {
        return Err(Error::Value(format!("threads is {threads}, which is not in 1..={MAX_THREADS}")));
    }
    CHOSEN.store(threads, Ordering::Relaxed);
    Ok(())
}

/// How many threads work uses, and what says so.
pub fn threads() -> (usize, &'static str) {
    static MACHINE: OnceLock<usize> = OnceLock::new();
    let chosen = CHOSEN.load(Ordering::Relaxed);
    if chosen != 0 {
        return (chosen, "set_num_threads");
    }
    if let Some(found) = environment().threads {
        return found;
    }
    if GENERATION.load(Ordering::Relaxed) > 0 {
        // Children are usually as many as there are cores already.
        return (1, "forked child");
    }
    let machine = *MACHINE.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from));
    (machine.min(MAX_THREADS), "affinity and cgroup")
}

/// A sentence about a variable that holds no number of threads.
pub fn complaint() -> Option<String> {
    environment().complaint.clone()
}

struct Environment {
    threads: Option<(usize, &'static str)>,
    complaint: Option<String>,
}

fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| read_environment(|name| std::env::var_os(name)?.into_string().ok()))
}

fn read_environment(variable: impl Fn(&str) -> Option<String>) -> Environment {
    let mut complaint = None;
    for name in VARIABLES {
        let Some(value) = variable(name).filter(|value| !value.trim().is_empty()) else { continue };
        // OMP_NUM_THREADS may list the threads of nested levels.
        match value.split(',').next().unwrap_or_default().trim().parse() {
            Ok(threads) if threads > 0 => {
                return Environment { threads: Some((usize::min(threads, MAX_THREADS), name)), complaint };
            }
            _ => {
                complaint
                    .get_or_insert(format!("{name} is \"{value}\", which is not a number of threads; it is ignored"));
            }
        }
    }
    Environment { threads: None, complaint }
}

/// Lets the caller of a long computation stop it.
pub struct Watch<'a> {
    /// Answers whether to stop; called by the caller's thread only.
    check: Option<&'a dyn Fn() -> bool>,
    stop: AtomicBool,
}

impl<'a> Watch<'a> {
    /// A watch that asks `check` every 50 ms.
    pub fn new(check: &'a dyn Fn() -> bool) -> Self {
        Self { check: Some(check), stop: AtomicBool::new(false) }
    }

    /// A watch that never stops.
    pub fn never() -> Self {
        Self { check: None, stop: AtomicBool::new(false) }
    }
}

/// One thread's side of a [`Watch`]: kernels report their work, and learn whether to give up.
pub struct Ticker<'a> {
    stop: &'a AtomicBool,
    /// There on the caller's thread.
    check: Option<&'a dyn Fn() -> bool>,
    /// There on the caller's thread, if it has helpers. They themselves share nothing: a thread of a pool that waited for
    /// another could be the one that is waited for.
    team: Option<&'a Team>,
    work: Cell<usize>,
    asked: Cell<Instant>,
}

impl<'a> Ticker<'a> {
    fn new(stop: &'a AtomicBool, check: Option<&'a dyn Fn() -> bool>, team: Option<&'a Team>) -> Self {
        Self { stop, check, team, work: Cell::new(0), asked: Cell::new(Instant::now()) }
    }

    /// Does two things: at the same time if another thread has nothing to do, else one after the other.
    pub fn both(
        &self,
        first: impl FnOnce(&Ticker<'_>) -> Result<(), Error>,
        second: impl FnOnce(&Ticker<'_>) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let Some(_helper) = self.team.and_then(Team::reserve) else {
            first(self)?;
            return second(self);
        };
        let team = self.team.expect("there is a team");
        // Whoever comes first takes it.
        let second = Mutex::new(Some(second));
        let outcome = Mutex::new(Ok(()));
        let helpers = Helpers { running: Mutex::new(1), all_done: Condvar::new() };
        let first = team.pool.threads.in_place_scope(|scope| {
            scope.spawn(|_| {
                let _done = Done(&helpers);
                let taken = locked(&second).take();
                if let Some(second) = taken {
                    *locked(&outcome) = second(&Ticker::new(self.stop, None, None));
                }
            });
            let first = first(self);
            let left = locked(&second).take();
            if let Some(second) = left {
                *locked(&outcome) = if first.is_ok() { second(self) } else { Ok(()) };
            }
            helpers.wait(self);
            first
        });
        first.and(outcome.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether another thread has nothing to do.
    pub fn has_help(&self) -> bool {
        self.team.is_some_and(|team| team.idle.load(Ordering::Relaxed) > 0)
    }

    /// Does `each` for every item, with the help of the threads that have nothing to do.
    pub fn share<I>(
        &self,
        items: I,
        each: impl Fn(I::Item, &Ticker<'_>) -> Result<(), Error> + Sync,
    ) -> Result<(), Error>
    where
        I: ExactSizeIterator + Send,
    {
        let helpers = items.len().saturating_sub(1);
        let items = Mutex::new(items);
        let outcome = Mutex::new(Ok(()));
        self.with_help(helpers, &|ticker| {
            while locked(&outcome).is_ok() {
                let Some(item) = locked(&items).next() else { break };
                if let Err(error) = each(item, ticker) {
                    *locked(&outcome) = Err(error);
                }
            }
        });
        outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the same on this thread and on up to so many of those that have nothing to do.
    fn with_help(&self, helpers: usize, run: Run<'_>) {
        let reserved: Vec<_> = self.team.iter().flat_map(|team| (0..helpers).map_while(|_| team.reserve())).collect();
        let Some(team) = self.team.filter(|_| !reserved.is_empty()) else { return run(self) };
        let helpers = Helpers { running: Mutex::new(reserved.len()), all_done: Condvar::new() };
        team.pool.threads.in_place_scope(|scope| {
            for _ in &reserved {
                scope.spawn(|_| {
                    let _done = Done(&helpers);
                    run(&Ticker::new(self.stop, None, None));
                });
            }
            run(self);
            helpers.wait(self);
        });
    }

    /// Reports that about this many numbers were read since the last call.
    #[inline]
    pub fn tick(&self, work: usize) -> Result<(), Error> {
        let total = self.work.get() + work;
        self.work.set(total);
        if total < WORK_PER_LOOK {
            return Ok(());
        }
        self.work.set(0);
        self.look()
    }

    fn look(&self) -> Result<(), Error> {
        if let Some(check) = self.check
            && self.asked.get().elapsed() >= PATIENCE
        {
            self.asked.set(Instant::now());
            if check() {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Does something on the caller's thread, which may be asked to stop.
pub fn watched<R>(watch: &Watch<'_>, body: impl FnOnce(&Ticker<'_>) -> Result<R, Error>) -> Result<R, Error> {
    body(&Ticker::new(&watch.stop, watch.check, None))
}

/// Does `each` for every item, on as many threads as pay for `work` numbers to read. Items are taken in their order, one
/// at a time; `scratch` is made once on each thread. The first error stops everything and is returned.
pub fn for_each<I, S>(
    items: I,
    work: usize,
    watch: &Watch<'_>,
    scratch: impl Fn() -> Result<S, Error> + Sync,
    each: impl Fn(I::Item, &mut S, &Ticker<'_>) -> Result<(), Error> + Sync,
) -> Result<(), Error>
where
    I: ExactSizeIterator + Send,
{
    for_each_in_parts(items, 1, work, watch, scratch, each)
}

/// The same for items that up to `parts` threads can work on: see [`Ticker::both`].
pub fn for_each_in_parts<I, S>(
    items: I,
    parts: usize,
    work: usize,
    watch: &Watch<'_>,
    scratch: impl Fn() -> Result<S, Error> + Sync,
    each: impl Fn(I::Item, &mut S, &Ticker<'_>) -> Result<(), Error> + Sync,
) -> Result<(), Error>
where
    I: ExactSizeIterator + Send,
{
    let threads = if work < SMALL_WORK_AWAKE { 1 } else { threads().0.min(items.len().saturating_mul(parts)) };
    let wanted = threads.min(items.len());
    let items = Mutex::new(items);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let stop = &watch.stop;
    let run = |ticker: &Ticker<'_>| {
        let outcome = scratch().and_then(|mut scratch| {
            loop {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let Some(item) = locked(&items).next() else { return Ok(()) };
                each(item, &mut scratch, ticker)?;
            }
        });
        if let Err(error) = outcome {
            stop.store(true, Ordering::Relaxed);
            locked(&failure).get_or_insert(error);
        }
    };
    match pool(threads).filter(|held| held.0.pays(work)) {
        None => alone(watch, &run),
        Some(held) => together(&held, threads, wanted, watch, &run),
    }
    let failure = locked(&failure).take();
    if stop.load(Ordering::Relaxed) { Err(failure.unwrap_or(Error::Interrupted)) } else { Ok(()) }
}

/// What every thread does. Not a type parameter: each would be compiled twice, for one thread and for many.
type Run<'a> = &'a (dyn Fn(&Ticker<'_>) + Sync);

fn alone(watch: &Watch<'_>, run: Run<'_>) {
    run(&Ticker::new(&watch.stop, watch.check, None));
}

/// Runs the same on `wanted` threads of a pool of so many; the others may be asked for help.
fn together(held: &Held, threads: usize, wanted: usize, watch: &Watch<'_>, run: Run<'_>) {
    let (pool, stop) = (held.0, &watch.stop);
    let helpers = Helpers { running: Mutex::new(wanted - 1), all_done: Condvar::new() };
    let team = Team { pool, idle: AtomicUsize::new(threads - wanted) };
    let leader = Ticker::new(stop, watch.check, Some(&team));
    pool.threads.in_place_scope(|scope| {
        for _ in 1..wanted {
            scope.spawn(|_| {
                let _done = Done(&helpers);
                run(&Ticker::new(stop, None, None));
                team.idle.fetch_add(1, Ordering::Relaxed);
            });
        }
        run(&leader);
        helpers.wait(&leader);
    });
    pool.linger();
}

fn pool(threads: usize) -> Option<Held> {
    if threads < 2 {
        return None;
    }
    let cell = POOLS.get(GENERATION.load(Ordering::Relaxed))?.get(threads - 1)?;
    let name = |i| format!("seqloss-{i}");
    let make = || ThreadPoolBuilder::new().num_threads(threads - 1).thread_name(name).build().ok();
    let pool = cell
        .get_or_init(|| {
            Some(Pool { threads: make()?, busy: false.into(), awake: 0.into(), beats: 0.into(), asked: 0.into() })
        })
        .as_ref()?;
    (!pool.busy.swap(true, Ordering::Acquire)).then(|| Held(pool))
}

/// The threads of a pool that have nothing to do at the moment.
struct Team {
    pool: &'static Pool,
    idle: AtomicUsize,
}

/// A thread of a team that waits for what it is given.
struct Reserved<'a>(&'a Team);

impl Team {
    fn reserve(&self) -> Option<Reserved<'_>> {
        let less = |idle: usize| idle.checked_sub(1);
        self.idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok().then(|| Reserved(self))
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.0.idle.fetch_add(1, Ordering::Relaxed);
    }
}

/// The helpers that have not finished yet.
struct Helpers {
    running: Mutex<usize>,
    all_done: Condvar,
}

impl Helpers {
    /// Waits in slices, so that the caller can still be asked to stop while a helper has a long item in hand.
    fn wait(&self, leader: &Ticker<'_>) {
        let start = Instant::now();
        while start.elapsed() < VIGIL {
            if *locked(&self.running) == 0 {
                // They have a few steps to go until the pool knows; who waits there sleeps.
                (0..32).for_each(|_| std::hint::spin_loop());
                return;
            }
            std::thread::yield_now();
        }
        let mut running = locked(&self.running);
        while *running > 0 {
            running = self.all_done.wait_timeout(running, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
            if *running > 0 {
                drop(running);
                // The helpers learn of it through the shared flag.
                let _ = leader.look();
                running = locked(&self.running);
            }
        }
    }
}

/// Says that a helper has finished, also when it panics.
struct Done<'a>(&'a Helpers);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        *locked(&self.0.running) -= 1;
        self.0.all_done.notify_all();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `body` with a ticker that nothing stops.
#[cfg(test)]
pub(crate) fn ticking<R>(body: impl FnOnce(&Ticker<'_>) -> R) -> R {
    body(&Ticker::new(&AtomicBool::new(false), None, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_wins_and_junk_is_named() {
        let read = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            read_environment(move |name| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
        };
        assert_eq!(read(&[]).threads, None);
        let both = read(&[("OMP_NUM_THREADS", "3"), ("SEQLOSS_NUM_THREADS", "2")]);
        assert_eq!(both.threads, Some((2, "SEQLOSS_NUM_THREADS")));
        assert_eq!(read(&[("OMP_NUM_THREADS", "4,2")]).threads, Some((4, "OMP_NUM_THREADS")));
        assert_eq!(read(&[("RAYON_NUM_THREADS", "100000")]).threads, Some((MAX_THREADS, "RAYON_NUM_THREADS")));
        let junk = read(&[("SEQLOSS_NUM_THREADS", "many"), ("OMP_NUM_THREADS", "2")]);
        assert_eq!(junk.threads, Some((2, "OMP_NUM_THREADS")));
        assert!(junk.complaint.is_some_and(|text| text.starts_with("SEQLOSS_NUM_THREADS is \"many\"")));
    }

    #[test]
    fn every_item_is_done_once() {
        let mut done = vec![0u8; 1000];
        let watch = Watch::never();
        for_each(
            done.iter_mut(),
            usize::MAX,
            &watch,
            || Ok(()),
            |item, (), _| {
                *item += 1;
                Ok(())
            },
        )
        .unwrap();
        assert!(done.iter().all(|&count| count == 1));
    }

    #[test]
    fn a_pool_has_one_caller_at_a_time() {
        let held = pool(7).unwrap();
        // Asking must not set it free, either.
        assert!(pool(7).is_none());
        assert!(pool(7).is_none());
        drop(held);
        assert!(pool(7).is_some());
    }

    #[test]
    fn a_team_lends_each_thread_once() {
        let held = pool(6).unwrap();
        let team = Team { pool: held.0, idle: AtomicUsize::new(1) };
        let reserved = team.reserve().unwrap();
        assert!(team.reserve().is_none());
        assert!(team.reserve().is_none());
        drop(reserved);
        assert!(team.reserve().is_some());
    }

    #[test]
    fn both_are_done_and_errors_come_out() {
        let watch = Watch::never();
        for fails in [None, Some(0), Some(1)] {
            let done = AtomicUsize::new(0);
            let step = |which: usize| {
                done.fetch_add(1, Ordering::Relaxed);
                if fails == Some(which) { Err(Error::Memory(which)) } else { Ok(()) }
            };
            let result = for_each_in_parts(
                0..1usize,
                2,
                usize::MAX,
                &watch,
                || Ok(()),
                |_, (), ticker| ticker.both(|_| step(0), |_| step(1)),
            );
            match fails {
                None => assert_eq!((result, done.into_inner()), (Ok(()), 2)),
                Some(which) => assert_eq!(result, Err(Error::Memory(which))),
            }
            watch.stop.store(false, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_shared_is_done_once_and_errors_come_out() {
        for (threads, fails) in [(1, None), (4, None), (4, Some(3))] {
            let mut done = [0; 20];
            let watch = Watch::never();
            let held = pool(threads);
            let team = held.as_ref().map(|held| Team { pool: held.0, idle: AtomicUsize::new(threads - 1) });
            let ticker = Ticker::new(&watch.stop, None, team.as_ref());
            assert_eq!(ticker.has_help(), threads > 1);
            let result = ticker.share(done.iter_mut().enumerate(), |(i, done), _| {
                *done += 1;
                if fails == Some(i) { Err(Error::Memory(i)) } else { Ok(()) }
            });
            assert_eq!(ticker.has_help(), threads > 1);
            assert_eq!(result, fails.map_or(Ok(()), |i| Err(Error::Memory(i))));
            assert!(done.iter().all(|&count| count <= 1) && (fails.is_some() || done.iter().all(|&count| count == 1)));
        }
    }

    #[test]
    fn an_error_stops_the_rest_and_is_returned() {
        let watch = Watch::never();
        let result = for_each(
            0..1_000_000,
            usize::MAX,
            &watch,
            || Ok(()),
            |item, (), _| {
                if item == 10 { Err(Error::Memory(10)) } else { Ok(()) }
            },
        );
        assert_eq!(result, Err(Error::Memory(10)));
    }

    #[test]
    fn the_caller_can_stop_a_kernel() {
        let start = Instant::now();
        let check = || start.elapsed() > Duration::from_millis(100);
        let watch = Watch::new(&check);
        let result = for_each(
            0..4,
            usize::MAX,
            &watch,
            || Ok(()),
            |_, (), ticker| {
                loop {
                    ticker.tick(100)?;
                    std::thread::yield_now();
                }
            },
        );
        assert_eq!(result, Err(Error::Interrupted));
    }
}
