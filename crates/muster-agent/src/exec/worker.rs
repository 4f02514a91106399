//! An engine thread: its slots, one epoll, and the loop that waits, handles and waits again.

use super::cgroup::Group;
use super::engine::{Inbox, Shared, Stop};
use super::image::Image;
use super::log::Log;
use super::orphans;
use super::program::{self, StartError};
use super::running::{Around, PIPES, Running, Step};
use super::spawn::{Ends, Spawner};
use super::task::{Next, ProcessEnd, ProcessSpec, Status, Task};
use super::{READ_BYTES, above_std, sys};
use muster_core::attempt::{Output, Usage};
use muster_core::time::Time;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// The event of the inbox; those of processes are made by [`event`].
const WAKE: u64 = u64::MAX;
/// The kind of event that is a process's end; smaller ones are pipes.
const END: u64 = 3;
/// Every event is told once only. A closed descriptor would otherwise be told again and again while a child
/// that another thread is starting still holds a copy of it, and this thread would spin for that long.
const WATCHED: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ET);
/// Tries at starting a program that is busy being written, or while the system is out of processes.
const TRIES: u32 = 6;

/// What an engine thread is started with: all that may fail has been done.
pub(super) struct Seat {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    slots: Vec<Slot>,
    epoll: OwnedFd,
    null: OwnedFd,
}

/// An engine thread's own.
struct Worker {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    slots: Vec<Slot>,
    epoll: OwnedFd,
    starter: Starter,
    buffer: Box<[u8]>,
    leaders: Vec<i32>,
}

struct Slot {
    number: u32,
    group: Option<Group>,
    work: Option<Work>,
}

struct Work {
    task: Box<dyn Task>,
    process: Running,
}

/// What is needed to start processes.
struct Starter {
    spawner: Spawner,
    image: Image,
    mark: String,
}

impl Seat {
    pub(super) fn new(
        shared: Arc<Shared>,
        inbox: Arc<Inbox>,
        slots: Vec<(u32, Option<Group>)>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &inbox.wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let slots = slots.into_iter().map(|(number, group)| Slot { number, group, work: None }).collect();
        Ok(Self { shared, inbox, slots, epoll, null: above_std(null)? })
    }

    /// Runs tasks until the engine closes and the last of them has ended.
    pub(super) fn run(self) {
        let Self { shared, inbox, slots, epoll, null } = self;
        let starter = Starter { spawner: Spawner::new(null), image: Image::default(), mark: String::new() };
        let buffer = vec![0; READ_BYTES].into_boxed_slice();
        Worker { shared, inbox, slots, epoll, starter, buffer, leaders: Vec::new() }.run();
    }
}

impl Worker {
    fn run(mut self) {
        // No handler of this process shall run between `clone` and `execve`, nor interrupt a call here.
        sys::block_signals();
        for slot in 0..self.slots.len() {
            self.feed(slot);
        }
        let mut events = Vec::with_capacity(64);
        while !(self.is_closing() && self.slots.iter().all(|s| s.work.is_none())) {
            events.clear();
            let timeout = self.timeout();
            if let Err(error) = epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref())
                && error != rustix::io::Errno::INTR
            {
                panic!("epoll_wait on our own epoll: {error}");
            }
            let now = Instant::now();
            // First what was written, then who has ended: the ends drain the pipes anyway.
            for event in &events {
                let data = event.data.u64();
                if data != WAKE && data & 3 != END {
                    let flags = event.flags;
                    let last = flags.contains(epoll::EventFlags::HUP);
                    self.receive_readable(data, last, now);
                }
            }
            for event in &events {
                let data = event.data.u64();
                if data != WAKE && data & 3 == END {
                    self.receive_end(data, now);
                }
            }
            if events.iter().any(|event| event.data.u64() == WAKE) {
                self.receive_wake(now);
            }
            self.receive_time(now);
        }
    }

    fn is_closing(&self) -> bool {
        self.shared.closing.load(Ordering::SeqCst)
    }

    fn timeout(&self) -> Option<rustix::event::Timespec> {
        let next = self.slots.iter().filter_map(|s| Some(s.work.as_ref()?.process.deadline())).min()?;
        let left = next.saturating_duration_since(Instant::now());
        // Whole milliseconds, upwards: woken early, it would only have to wait again.
        let left = Duration::from_millis(u64::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u64::MAX));
        left.try_into().ok()
    }

    fn receive_readable(&mut self, data: u64, last: bool, now: Instant) {
        let pipe = PIPES[(data & 3) as usize];
        self.with(data, now, |work, around| work.process.on_readable(pipe, last, &mut *work.task, around));
        let Some(slot) = self.slot_of(data) else { return };
        if let Some(Work { process, .. }) = &self.slots[slot].work
            && process.has_more[pipe as usize]
            && let Some(fd) = &process.pipes[pipe as usize]
        {
            // Told once, it would not be told again of what is there already.
            epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(data), WATCHED)
                .expect("the pipe is being watched");
        }
    }

    fn receive_end(&mut self, data: u64, now: Instant) {
        self.with(data, now, |work, around| work.process.on_end(&mut *work.task, around));
    }

    fn receive_wake(&mut self, now: Instant) {
        let stops = self.inbox.receive();
        let closing = self.is_closing();
        for slot in 0..self.slots.len() {
            let Some(work) = &self.slots[slot].work else {
                self.feed(slot);
                continue;
            };
            let (number, id) = (self.slots[slot].number, work.task.id());
            let asked = stops.iter().filter(|s| s.slot == number && s.task == id).map(|s| s.how);
            let kill = closing.then_some(Stop::Kill);
            for how in asked.chain(kill) {
                if let Some(work) = &self.slots[slot].work
                    && work.task.id() == id
                {
                    let data = event(slot, &work.process, END);
                    self.with(data, now, |work, around| work.process.stop(how, &mut *work.task, around));
                }
            }
        }
    }

    fn receive_time(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            if let Some(work) = &self.slots[slot].work
                && work.process.deadline() <= now
            {
                let data = event(slot, &work.process, END);
                self.with(data, now, |work, around| work.process.on_time(&mut *work.task, around));
            }
        }
    }

    /// The slot an event is for, if it still runs the process the event is of.
    fn slot_of(&self, data: u64) -> Option<usize> {
        let slot = (data >> 2 & 0x3fff_ffff) as usize;
        let work = self.slots.get(slot)?.work.as_ref()?;
        (event(slot, &work.process, data & 3) == data).then_some(slot)
    }

    /// Lets the process an event is of take a step, and if that was its last, goes on with its task.
    fn with(&mut self, data: u64, now: Instant, step: impl FnOnce(&mut Work, &mut Around<'_>) -> Step) {
        let Some(index) = self.slot_of(data) else { return };
        self.leaders.clear();
        let works = self.slots.iter().filter_map(|s| s.work.as_ref());
        self.leaders.extend(works.filter_map(|w| w.process.leader()));
        let slot = &mut self.slots[index];
        let Some(work) = &mut slot.work else { return };
        let mut around = Around {
            finder: &self.shared.finder,
            group: slot.group.as_ref(),
            buffer: &mut self.buffer,
            leaders: &self.leaders,
            now,
        };
        match step(work, &mut around) {
            Step::Stay => {}
            Step::Ended { killed } => {
                let Some(Work { task, process }) = slot.work.take() else { return };
                orphans::end(process.mark);
                let ended = process.finish(killed, now);
                self.advance(index, task, Some(ended));
            }
        }
    }

    /// Gives an idle slot its next task.
    fn feed(&mut self, slot: usize) {
        if self.slots[slot].work.is_none()
            && !self.is_closing()
            && let Some(task) = self.shared.source.take(self.slots[slot].number)
        {
            self.advance(slot, task, None);
        }
    }

    /// Goes on with a task, and then with the slot's next ones, until something runs or nothing is left.
    fn advance(&mut self, slot: usize, mut task: Box<dyn Task>, mut ended: Option<ProcessEnd>) {
        loop {
            match task.next(ended.take()) {
                Next::Run(spec) if !self.is_closing() => match self.start(slot, spec) {
                    Ok(process) => {
                        self.slots[slot].work = Some(Work { task, process });
                        return;
                    }
                    Err(error) => ended = Some(not_started(&error)),
                },
                Next::Run(_) | Next::Done => {
                    drop(task);
                    if self.is_closing() {
                        return;
                    }
                    match self.shared.source.take(self.slots[slot].number) {
                        Some(next) => task = next,
                        None => return,
                    }
                }
            }
        }
    }

    fn start(&mut self, slot: usize, spec: ProcessSpec) -> Result<Running, StartError> {
        let mark = orphans::begin();
        let started = self.starter.start(spec, mark, self.slots[slot].group.as_ref());
        let process = match started {
            Ok(process) => {
                orphans::started(mark, process.child.pid);
                process
            }
            Err(error) => {
                orphans::end(mark);
                return Err(error);
            }
        };
        let add = |fd: &OwnedFd, kind| {
            let data = epoll::EventData::new_u64(event(slot, &process, kind));
            // It fails where the system is out of memory for it (or a limit on watches is reached), and
            // then nothing this thread could do is right.
            epoll::add(&self.epoll, fd, data, WATCHED).expect("room to watch a descriptor");
        };
        add(&process.child.pidfd, END);
        for pipe in PIPES {
            if let Some(fd) = &process.pipes[pipe as usize] {
                add(fd, pipe as u64);
            }
        }
        Ok(process)
    }
}

impl Starter {
    fn start(&mut self, spec: ProcessSpec, mark: u64, group: Option<&Group>) -> Result<Running, StartError> {
        let ProcessSpec { argv, env, dir, make_dir, report, limits, spill } = spec;
        let program = program::find(argv.first().map_or("", String::as_str), &env, &dir)?;
        if make_dir && !dir.as_os_str().is_empty() {
            std::fs::create_dir_all(&dir)
                .map_err(|error| StartError::MakeDirectory { dir: dir.clone(), error })?;
        }
        self.mark.clear();
        {
            use std::fmt::Write as _;
            write!(self.mark, "{}.{mark}", orphans::engine_name()).expect("strings take all");
        }
        let (path, place) = (program.as_os_str().as_bytes(), dir.as_os_str().as_bytes());
        self.image.fill(path, &argv, &env, (orphans::MARK, &self.mark), place)?;
        let no_pipe = |error: rustix::io::Errno| StartError::System {
            program: program.display().to_string(),
            error: error.into(),
        };
        let (out, out_end) = pipe().map_err(no_pipe)?;
        let (err, err_end) = pipe().map_err(no_pipe)?;
        let (report, report_end) =
            if report { pipe().map(|(r, w)| (Some(r), Some(w))).map_err(no_pipe)? } else { (None, None) };
        let ends = Ends {
            out: out_end.as_fd(),
            err: err_end.as_fd(),
            report: report_end.as_ref().map(OwnedFd::as_fd),
            group: group.map(Group::procs),
        };
        let (started, start) = (wall_clock(), Instant::now());
        let child = self.spawn(&ends, &program, &dir)?;
        let log = Log::new(limits.output_bytes_max, spill);
        Ok(Running::new(child, [Some(out), Some(err), report], mark, limits, log, started, start))
    }

    fn spawn(
        &mut self,
        ends: &Ends<'_>,
        program: &Path,
        dir: &Path,
    ) -> Result<super::spawn::Child, StartError> {
        let mut tries = 1;
        loop {
            match self.spawner.spawn(&mut self.image, ends) {
                Ok(child) => return Ok(child),
                Err(failed) if tries < TRIES && program::may_pass(&failed) => {
                    // 1, 2, 4, 8, 16 ms: the other slots of the thread wait as well, but not for long.
                    std::thread::sleep(Duration::from_millis(1 << (tries - 1)));
                    tries += 1;
                }
                Err(failed) => return Err(program::explain(failed, program, dir)),
            }
        }
    }
}

/// What tells an event's process and kind: a mark's low half, the slot's place on its thread, the kind.
fn event(slot: usize, process: &Running, kind: u64) -> u64 {
    process.mark << 32 | (slot as u64) << 2 | kind
}

/// A pipe whose reading end never blocks. The other end does, as programs expect.
fn pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)?;
    Ok((read, above_std(write)?))
}

fn not_started(error: &StartError) -> ProcessEnd {
    ProcessEnd {
        status: Status::NotStarted(error.to_string()),
        started: wall_clock(),
        duration: Duration::ZERO,
        usage: Usage::default(),
        leaked: 0,
        log: Output::None,
    }
}

fn wall_clock() -> Time {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Time(muster_core::time::micros(since))
}
