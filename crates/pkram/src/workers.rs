//! The same work on many things, by several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many threads this machine runs at once.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Does `work` on every number below `count`, each once, on `threads` threads that each have a
/// state of their own; the states come back. After the first error no new work is begun.
pub(crate) fn each<S: Send, E: Send>(
    count: usize,
    threads: usize,
    make: impl Fn() -> Result<S, E> + Sync,
    work: impl Fn(&mut S, usize) -> Result<(), E> + Sync,
) -> Result<Vec<S>, E> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let run = || {
        let mut state = make()?;
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                return Ok(state);
            }
            work(&mut state, i)?;
        }
    };
    let run = || match run() {
        Ok(state) => Some(state),
        Err(error) => {
            next.store(count, Ordering::Relaxed);
            failed.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(error);
            None
        }
    };
    let states = match threads.min(count) {
        0 | 1 => run().into_iter().collect(),
        n => thread::scope(|scope| {
            let threads: Vec<_> = (0..n).map(|_| scope.spawn(run)).collect();
            let ends = threads.into_iter().map(|t| t.join());
            ends.flat_map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        }),
    };
    match failed.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(error) => Err(error),
        None => Ok(states),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once_or_not_begun_after_an_error() {
        for threads in [1, 2, 7] {
            let push = |list: &mut Vec<usize>, i| {
                list.push(i);
                Ok::<_, ()>(())
            };
            let mut all = each(1000, threads, || Ok(Vec::new()), push).unwrap().concat();
            all.sort_unstable();
            assert_eq!(all, (0..1000).collect::<Vec<_>>());
            let done = AtomicUsize::new(0);
            let fail = |(): &mut (), i| {
                done.fetch_add(1, Ordering::Relaxed);
                if i == 10 { Err(i) } else { Ok(()) }
            };
            assert_eq!(each(1_000_000, threads, || Ok(()), fail).unwrap_err(), 10);
            assert!(done.into_inner() < 1_000_000);
        }
        assert!(each(0, 4, || Ok::<_, ()>(1), |_, _| Ok(())).unwrap().len() <= 1);
    }
}
