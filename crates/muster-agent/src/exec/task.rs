//! What the engine runs, as it sees it: a task that names its next process until it is done.

use muster_core::attempt::Usage;
use muster_core::output::Stream;
use muster_core::time::Time;
use std::path::PathBuf;
use std::time::Duration;

/// A piece of work of one slot: a sequence of processes, each decided after the one before has ended.
///
/// All methods are called on an engine thread, one at a time; they must not block.
pub trait Task: Send {
    /// A number that [`Engine::stop`](super::Engine::stop) names the task by. It must tell the task from
    /// others its slot may be given, or a late stop meets a later task.
    fn id(&self) -> u64 {
        0
    }

    /// What to do next. `ended` is `None` the first time, then how the last process ended.
    fn next(&mut self, ended: Option<ProcessEnd>) -> Next;

    /// Bytes the current process wrote to a stream, as they were read (any split). Called before the
    /// output quota is applied, so that a task may follow a framework's report of any length.
    fn output(&mut self, stream: Stream, at: Duration, bytes: &[u8]);

    /// Bytes the current process wrote to its report pipe (file descriptor 3), where it was given one.
    fn report(&mut self, at: Duration, bytes: &[u8]);
}

/// A task's next step.
#[derive(Debug)]
pub enum Next {
    /// Start this process.
    Run(ProcessSpec),
    /// The task is over; the engine drops it and takes the slot's next.
    Done,
}

/// A process to start. Standard input is `/dev/null`; it leads a process group (and session) of its own.
#[derive(Clone, Debug, Default)]
pub struct ProcessSpec {
    /// Program and arguments. A program without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The directory it starts in; created, with its parents, if `make_dir`.
    pub dir: PathBuf,
    /// Create `dir` first.
    pub make_dir: bool,
    /// Give it a pipe at file descriptor 3 whose bytes go to [`Task::report`].
    pub report: bool,
    /// What it is held to.
    pub limits: Limits,
    /// Where the framed log goes once it outgrows memory or the process runs long; `None`: memory only.
    pub spill: Option<PathBuf>,
}

/// What a process is held to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Hard limit.
    pub timeout: Option<Duration>,
    /// Longest time without a byte on any of its pipes.
    pub silence: Option<Duration>,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// Most bytes of output kept; beyond it the middle is cut with a visible remark.
    pub output_bytes_max: u64,
}

/// How a process ended.
#[derive(Debug)]
pub struct ProcessEnd {
    /// How.
    pub status: Status,
    /// When it was started.
    pub started: Time,
    /// From then to its end.
    pub duration: Duration,
    /// What it used.
    pub usage: Usage,
    /// Processes it left behind, which were killed. One that left its session and was killed within its
    /// first moments may be missing, as nothing tells any more whose it was.
    pub leaked: u32,
    /// Its framed log ([`muster_core::output`]), or where that was spilled to.
    pub log: muster_core::attempt::Output,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Exit(i32),
    /// A signal that was not the engine's ended it.
    Signal(i32),
    /// The hard limit ended it.
    HardLimit(Duration),
    /// The silence limit ended it.
    SilenceLimit(Duration),
    /// It was stopped on request.
    Stopped,
    /// It could not be started, and why (program not found, no such directory, not executable).
    NotStarted(String),
}
