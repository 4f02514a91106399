//! Many seeds, and what became of them.

use crate::mistake::Mistake;
use crate::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A world in which a promise was broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Its seed.
    pub seed: u64,
    /// The promise, in the words of the checker.
    pub promise: String,
    /// What had happened, to the step that broke it.
    pub history: Vec<String>,
}

/// Lives one world.
///
/// # Errors
/// [`Broken`] if a promise was.
pub fn live(seed: u64, mistake: Mistake) -> Result<u64, Box<Broken>> {
    let mut world = World::new(seed, mistake, false);
    match catch_unwind(AssertUnwindSafe(|| world.live())) {
        Ok(()) => Ok(world.hash()),
        Err(_) => Err(Box::new(tell(seed, mistake))),
    }
}

/// Lives a world again, this time taking notes.
fn tell(seed: u64, mistake: Mistake) -> Broken {
    let mut world = World::new(seed, mistake, true);
    let promise = match catch_unwind(AssertUnwindSafe(|| world.live())) {
        Ok(()) => "it went well when it was lived again".to_owned(),
        Err(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(text), _) => text.clone(),
            (None, Some(text)) => (*text).to_owned(),
            (None, None) => "a panic without words".to_owned(),
        },
    };
    Broken { seed, promise, history: world.history }
}

/// The history of a world that goes well, or as far as it goes.
pub fn history(seed: u64, mistake: Mistake) -> Vec<String> {
    let mut world = World::new(seed, mistake, true);
    let _broken = catch_unwind(AssertUnwindSafe(|| world.live())).is_err();
    world.history
}

/// Lives the worlds of `count` seeds from `first` on, as many at once as there are cores. Returns the
/// broken one with the lowest seed, if any is; then not all later ones were lived.
pub fn sweep(first: u64, count: u64, mistake: Mistake) -> Option<Broken> {
    let next = AtomicU64::new(0);
    let worst: Mutex<Option<Broken>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    if let Err(broken) = live(first.wrapping_add(n), mistake) {
                        next.store(count, Ordering::Relaxed);
                        let mut worst = worst.lock().unwrap_or_else(PoisonError::into_inner);
                        if worst.as_ref().is_none_or(|w| broken.seed < w.seed) {
                            *worst = Some(*broken);
                        }
                    }
                }
            });
        }
    });
    worst.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Broken {
    /// For people: the promise, the last things that happened, and the command that repeats it.
    pub fn text(&self, last: usize) -> String {
        let from = self.history.len().saturating_sub(last);
        format!(
            "{}\n...\n{}\nbroken: {}\nrepeat: cargo xtask sim --seed {:#x}\n",
            self.history.first().map_or("", String::as_str),
            self.history[from..].join("\n"),
            self.promise,
            self.seed,
        )
    }
}
