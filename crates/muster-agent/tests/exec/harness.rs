//! Runs processes through an engine and gives back all that is known of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use muster_agent::exec::{Engine, EngineConfig, Limits, Next, ProcessEnd, ProcessSpec, Source, Task};
use muster_core::attempt::Output;
use muster_core::output::{Stream, text};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// All that is known of a process that has ended.
pub(crate) struct Done {
    pub(crate) task: u64,
    pub(crate) end: ProcessEnd,
    /// As the task was told.
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) report: Vec<u8>,
}

impl Done {
    pub(crate) fn log(&self) -> Vec<u8> {
        match &self.end.log {
            Output::None => Vec::new(),
            Output::Inline(log) => log.clone(),
            Output::Segment { .. } => panic!("the executor knows no segments"),
            Output::File { path, len } => {
                let log = std::fs::read(path).unwrap();
                assert_eq!(log.len() as u64, *len, "length of {path}");
                log
            }
        }
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn remarks(&self) -> String {
        String::from_utf8(text(&self.log(), |s| s == Stream::Muster)).unwrap()
    }
}

/// A task that runs its processes one after the other and tells how each ended.
pub(crate) struct Script {
    id: u64,
    specs: VecDeque<ProcessSpec>,
    done: Sender<Done>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    report: Vec<u8>,
    /// Told what was printed as it comes.
    live: Option<Sender<Vec<u8>>>,
}

impl Task for Script {
    fn id(&self) -> u64 {
        self.id
    }

    fn next(&mut self, ended: Option<ProcessEnd>) -> Next {
        if let Some(end) = ended {
            let take = std::mem::take::<Vec<u8>>;
            let (stdout, stderr, report) =
                (take(&mut self.stdout), take(&mut self.stderr), take(&mut self.report));
            drop(self.done.send(Done { task: self.id, end, stdout, stderr, report }));
        }
        self.specs.pop_front().map_or(Next::Done, Next::Run)
    }

    fn output(&mut self, stream: Stream, _: Duration, bytes: &[u8]) {
        if let Some(live) = &self.live {
            drop(live.send(bytes.to_vec()));
        }
        match stream {
            Stream::Stdout => self.stdout.extend_from_slice(bytes),
            Stream::Stderr => self.stderr.extend_from_slice(bytes),
            Stream::Muster => panic!("remarks are not output"),
        }
        // What `yes` prints is not all kept.
        self.stdout.truncate(1 << 20);
    }

    fn report(&mut self, _: Duration, bytes: &[u8]) {
        self.report.extend_from_slice(bytes);
    }
}

#[derive(Default)]
struct Queue(Mutex<VecDeque<Box<dyn Task>>>);

impl Source for Queue {
    fn take(&self, _: u32) -> Option<Box<dyn Task>> {
        self.0.lock().unwrap().pop_front()
    }
}

/// What is printed, as it comes.
type Live = (Sender<Vec<u8>>, Receiver<Vec<u8>>);

/// An engine with a queue before it.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    queue: Arc<Queue>,
    send: Sender<Done>,
    done: Receiver<Done>,
    live: Option<Live>,
}

impl Bench {
    pub(crate) fn new(config: EngineConfig) -> Self {
        let queue = Arc::new(Queue::default());
        let engine = Engine::new(config, queue.clone()).unwrap();
        let (send, done) = channel();
        Self { engine, queue, send, done, live: Some(channel()) }
    }

    /// One that does not keep what is printed.
    pub(crate) fn quiet(config: EngineConfig) -> Self {
        Self { live: None, ..Self::new(config) }
    }

    /// Has a task run these processes.
    pub(crate) fn give(&self, id: u64, specs: impl IntoIterator<Item = ProcessSpec>) {
        let script = Script {
            id,
            specs: specs.into_iter().collect(),
            done: self.send.clone(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            report: Vec::new(),
            live: self.live.as_ref().map(|(send, _)| send.clone()),
        };
        self.queue.0.lock().unwrap().push_back(Box::new(script));
        self.engine.wake_all();
    }

    /// The next process that ends.
    pub(crate) fn done(&self) -> Done {
        self.done.recv().unwrap()
    }

    pub(crate) fn no_more(&self) -> bool {
        self.done.try_recv().is_err()
    }

    /// Waits until something is printed.
    pub(crate) fn printed(&self) -> String {
        let (_, live) = self.live.as_ref().unwrap();
        String::from_utf8(live.recv().unwrap()).unwrap()
    }
}

/// Runs one process.
pub(crate) fn run(spec: ProcessSpec) -> Done {
    let bench = Bench::new(EngineConfig::new(1));
    bench.give(1, [spec]);
    bench.done()
}

/// A process with a plain environment and room for output.
pub(crate) fn argv(argv: &[&str]) -> ProcessSpec {
    ProcessSpec {
        argv: argv.iter().map(|s| (*s).to_owned()).collect(),
        env: vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())],
        limits: Limits { output_bytes_max: 1 << 20, ..Limits::default() },
        ..ProcessSpec::default()
    }
}

/// A line for the shell.
pub(crate) fn sh(line: &str) -> ProcessSpec {
    argv(&["sh", "-c", line])
}

/// Whether a process of this id exists and is not just waiting to be reaped by another parent.
pub(crate) fn is_alive(pid: &str) -> bool {
    let pid: u32 = pid.trim().parse().unwrap_or_else(|_| panic!("not a process id: {pid:?}"));
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat[stat.rfind(')').unwrap()..].starts_with(") Z"),
        Err(_) => false,
    }
}

/// Waits, without a limit of its own, until something holds.
pub(crate) fn wait_until(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        std::thread::sleep(Duration::from_millis(2));
        assert!(start.elapsed() < Duration::from_secs(600), "it never came to hold");
    }
}
