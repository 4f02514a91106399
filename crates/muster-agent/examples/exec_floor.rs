//! What a test costs: the engine beside the least that can be done, in turns, in one process.
//!
//! `cargo run --release -p muster-agent --example exec_floor [TESTS] [ROUNDS] [THREADS] [WAY]`
//!
//! Each test is a static program that prints one line, its two streams are captured through pipes. The
//! floors record nothing, kill nothing and have no limits:
//!
//! * `spawn`: `posix_spawn`, a thread per process, reads until both pipes end, waits;
//! * `epoll`: `clone` as `vfork` does it, pidfd, epoll.
//!
//! Wall time is the median and least over the rounds; CPU time is of this process and its children, which
//! other work on the machine disturbs least.

#![expect(unsafe_code, reason = "the floors are made of system calls")]
#![expect(clippy::print_stdout, reason = "this program is there to print")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made may panic")]

use muster_agent::exec::{
    Cgroups, Engine, EngineConfig, Limits, Next, ProcessEnd, ProcessSpec, Source, Status, Task,
};
use muster_core::output::Stream;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::{MaybeUninit, zeroed};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

fn main() {
    let only = std::env::args().nth(4).unwrap_or_default();
    let mut args = std::env::args().skip(1).take(3).map(|n| n.parse::<usize>().unwrap());
    let tests = args.next().unwrap_or(10_000);
    let rounds = args.next().unwrap_or(7);
    let threads = args.next().unwrap_or(2);
    let dir = std::env::temp_dir().join(format!("exec-floor-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let program = test_program(&dir);
    println!("{tests} runs of {}, {threads} at once, {rounds} rounds", program.display());
    let program = CString::new(program.to_str().unwrap()).unwrap();
    let ways: [(&str, &dyn Fn()); 4] = [
        ("floor: spawn", &|| spawn_floor(&program, tests, threads)),
        ("floor: epoll", &|| epoll_floor(&program, tests, threads)),
        ("engine", &|| engine(&program, tests, threads, Cgroups::Off)),
        ("engine, cgroups", &|| engine(&program, tests, threads, Cgroups::Auto)),
    ];
    let mut wall = vec![Vec::new(); ways.len()];
    let mut cpu = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for (i, (_, way)) in ways.iter().enumerate().filter(|(_, (name, _))| name.ends_with(&only)) {
            let (start, used) = (Instant::now(), cpu_time());
            way();
            wall[i].push(start.elapsed().as_secs_f64() * 1e6 / tests as f64);
            cpu[i].push((cpu_time() - used).as_secs_f64() * 1e6 / tests as f64);
        }
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let medians: Vec<f64> = wall.iter_mut().map(median).collect();
    let floor = medians[0].min(medians[1]);
    println!("{:<16} {:>9} {:>9} {:>9} {:>9}", "µs per test", "median", "least", "cpu", "× floor");
    for (i, (name, _)) in ways.iter().enumerate() {
        let (least, cpu) = (wall[i].first().copied().unwrap_or(f64::NAN), median(&mut cpu[i]));
        println!("{name:<16} {:>9.1} {least:>9.1} {cpu:>9.1} {:>9.2}", medians[i], medians[i] / floor);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A static program that prints a line, or else `/bin/echo`.
fn test_program(dir: &Path) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/noop.c");
    let program = dir.join("noop");
    let mut cc = std::process::Command::new("cc");
    let made = cc.args(["-O2", "-static", "-nostdlib", "-o"]).arg(&program).arg(source).status();
    if made.is_ok_and(|s| s.success()) { program } else { PathBuf::from("/bin/echo") }
}

fn cpu_time() -> Duration {
    let time = |who| {
        // SAFETY: writes a plain structure that is valid when zeroed.
        let used = unsafe {
            let mut used: libc::rusage = zeroed();
            libc::getrusage(who, &raw mut used);
            used
        };
        let micros = |t: libc::timeval| (t.tv_sec * 1_000_000 + t.tv_usec) as u64;
        Duration::from_micros(micros(used.ru_utime) + micros(used.ru_stime))
    };
    time(libc::RUSAGE_SELF) + time(libc::RUSAGE_CHILDREN)
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

fn on_threads(threads: usize, tests: usize, work: impl Fn(&dyn Fn() -> bool) + Sync) {
    let next = AtomicUsize::new(0);
    let take = || next.fetch_add(1, Ordering::Relaxed) < tests;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&take));
        }
    });
}

fn spawn_floor(program: &CString, tests: usize, threads: usize) {
    on_threads(threads, tests, |take| {
        let mut buffer = vec![0; 65536];
        while take() {
            let out = pipe_with(PipeFlags::CLOEXEC).unwrap();
            let err = pipe_with(PipeFlags::CLOEXEC).unwrap();
            let argv = [program.as_ptr().cast_mut(), ptr::null_mut()];
            let mut pid = 0;
            // SAFETY: the actions are initialised before use and destroyed; argv and environ end in null.
            unsafe {
                let mut actions = MaybeUninit::uninit();
                libc::posix_spawn_file_actions_init(actions.as_mut_ptr());
                libc::posix_spawn_file_actions_adddup2(actions.as_mut_ptr(), out.1.as_raw_fd(), 1);
                libc::posix_spawn_file_actions_adddup2(actions.as_mut_ptr(), err.1.as_raw_fd(), 2);
                let failed = libc::posix_spawn(
                    &raw mut pid,
                    program.as_ptr(),
                    actions.as_ptr(),
                    ptr::null(),
                    argv.as_ptr(),
                    environ.cast(),
                );
                assert_eq!(failed, 0);
                libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr());
            }
            drop((out.1, err.1));
            while rustix::io::read(&out.0, &mut buffer[..]).unwrap() > 0 {}
            while rustix::io::read(&err.0, &mut buffer[..]).unwrap() > 0 {}
            // SAFETY: writes to two plain structures.
            unsafe {
                let (mut status, mut used) = (0, zeroed());
                assert_eq!(libc::wait4(pid, &raw mut status, 0, &raw mut used), pid);
                assert_eq!(status, 0);
            }
        }
    });
}

struct Plan {
    program: *const c_char,
    out: c_int,
    err: c_int,
}

extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: runs while the parent is suspended, on what the parent has prepared; system calls only.
    unsafe {
        let plan = &*plan.cast::<Plan>();
        libc::dup2(plan.out, 1);
        libc::dup2(plan.err, 2);
        libc::execve(plan.program, [plan.program, ptr::null()].as_ptr(), environ);
        libc::_exit(127)
    }
}

fn epoll_floor(program: &CString, tests: usize, threads: usize) {
    on_threads(threads, tests, |take| {
        let mut buffer = vec![0; 65536];
        let mut stack = vec![0u128; 4096];
        let mut events = Vec::with_capacity(8);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut run = 0;
        while take() {
            run += 4;
            let out = pipe_with(PipeFlags::CLOEXEC).unwrap();
            let err = pipe_with(PipeFlags::CLOEXEC).unwrap();
            let mut plan = Plan { program: program.as_ptr(), out: out.1.as_raw_fd(), err: err.1.as_raw_fd() };
            let mut pidfd = -1;
            // SAFETY: as in the executor: plan and stack outlive the child's use of them.
            let pidfd = unsafe {
                let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
                let top = stack.as_mut_ptr_range().end.cast();
                let pid = libc::clone(child, top, flags, (&raw mut plan).cast(), &raw mut pidfd);
                assert!(pid > 0);
                OwnedFd::from_raw_fd(pidfd)
            };
            drop((out.1, err.1));
            let mut pipes = [Some(out.0), Some(err.0)];
            let mut ended = false;
            let add = |fd: &OwnedFd, n| {
                // Once only: a descriptor that is closed here, but that a child of another thread still has
                // a copy of before it executes its program, would keep this thread spinning.
                let once = epoll::EventFlags::IN | epoll::EventFlags::ET;
                epoll::add(&epoll, fd, epoll::EventData::new_u64(run + n), once).unwrap();
            };
            add(&pidfd, 2);
            add(pipes[0].as_ref().unwrap(), 0);
            add(pipes[1].as_ref().unwrap(), 1);
            while !ended || pipes.iter().any(Option::is_some) {
                events.clear();
                epoll::wait(&epoll, spare_capacity(&mut events), None).unwrap();
                for event in &events {
                    let event: &epoll::Event = event;
                    match event.data.u64().wrapping_sub(run) {
                        3.. => {} // of a run before
                        // A pidfd tells once more that its process has been removed.
                        2 if ended => {}
                        2 => {
                            // SAFETY: writes to two plain structures.
                            unsafe {
                                let mut info: libc::siginfo_t = zeroed();
                                let mut used: libc::rusage = zeroed();
                                let (info, used) = (&raw mut info, &raw mut used);
                                let fd = pidfd.as_raw_fd();
                                let done = libc::syscall(
                                    libc::SYS_waitid,
                                    libc::P_PIDFD,
                                    fd,
                                    info,
                                    libc::WEXITED,
                                    used,
                                );
                                assert_eq!(done, 0);
                            }
                            ended = true;
                        }
                        n => {
                            let pipe = &mut pipes[n as usize];
                            let flags = event.flags;
                            let last = flags.contains(epoll::EventFlags::HUP);
                            while let Some(fd) = pipe {
                                match rustix::io::read(fd, &mut buffer[..]).unwrap() {
                                    0 => *pipe = None,
                                    _ if last => {}
                                    _ => break,
                                }
                            }
                        }
                    }
                }
            }
        }
    });
}

struct Noops {
    left: AtomicUsize,
    program: String,
    ends: Ends,
}

/// Only the last end is told to another thread: a wake-up for each would be measured too.
#[derive(Clone)]
struct Ends {
    left: Arc<AtomicUsize>,
    last: Sender<()>,
}

struct Noop {
    spec: Option<ProcessSpec>,
    ends: Ends,
}

impl Source for Noops {
    fn take(&self, _: u32) -> Option<Box<dyn Task>> {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).ok()?;
        let env =
            [("PATH", "/usr/bin:/bin"), ("HOME", "/root"), ("MUSTER_TEST", "noop"), ("LANG", "C.UTF-8")];
        let spec = ProcessSpec {
            argv: vec![self.program.clone()],
            env: env.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
            dir: PathBuf::from("/tmp"),
            limits: Limits {
                timeout: Some(Duration::from_secs(60)),
                silence: Some(Duration::from_secs(30)),
                grace: Duration::from_secs(5),
                output_bytes_max: 16 << 20,
            },
            spill: Some(PathBuf::from("/tmp/never-made")),
            ..ProcessSpec::default()
        };
        Some(Box::new(Noop { spec: Some(spec), ends: self.ends.clone() }))
    }
}

impl Task for Noop {
    fn next(&mut self, ended: Option<ProcessEnd>) -> Next {
        if let Some(end) = ended {
            assert_eq!((end.status, end.leaked), (Status::Exit(0), 0));
            if self.ends.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.ends.last.send(()).unwrap();
            }
        }
        self.spec.take().map_or(Next::Done, Next::Run)
    }

    fn output(&mut self, _: Stream, _: Duration, _: &[u8]) {}

    fn report(&mut self, _: Duration, _: &[u8]) {}
}

fn engine(program: &CString, tests: usize, slots: usize, cgroups: Cgroups) {
    let (last, ended) = channel();
    let ends = Ends { left: Arc::new(AtomicUsize::new(tests)), last };
    let program = program.to_str().unwrap().to_owned();
    let source = Arc::new(Noops { left: AtomicUsize::new(tests), program, ends });
    let engine = Engine::new(EngineConfig { cgroups, ..EngineConfig::new(slots as u32) }, source).unwrap();
    ended.recv().unwrap();
    engine.shutdown();
}
