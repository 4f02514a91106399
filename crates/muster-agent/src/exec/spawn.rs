//! Starts one process: `clone` with the semantics of `vfork`, so that nothing of this process is copied,
//! and a pidfd, so that its end is an event like any other.
//!
//! The child leads a session of its own (`setsid`, not only `setpgid`): it has no controlling terminal, so
//! neither can it reach the user's, nor does Ctrl-C reach it; and its session id tells its descendants
//! from others even after they have changed their group. It dies with the engine thread that started it.
//! It has the null device as standard input, its pipes, and no other descriptor of ours.
//!
//! One of the two files of the executor with `unsafe` code; the other is `sys`.

use super::image::Image;
use super::sys;
use rustix::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Bytes of stack for the child between `clone` and `execve`. It calls a dozen system calls and nothing
/// that recurses; unoptimised builds use less than 4 KiB of it.
const STACK_BYTES: usize = 64 << 10;

/// What an engine thread keeps to start processes with.
pub(super) struct Spawner {
    stack: Box<[MaybeUninit<u128>]>,
    null: OwnedFd,
    /// Signals this process does not leave at their default; the child must.
    changed_signals: Vec<c_int>,
    parent: libc::pid_t,
}

/// Where the child's descriptors come from. Each number is above 3, so no `dup2` overwrites another.
pub(super) struct Ends<'a> {
    pub(super) out: BorrowedFd<'a>,
    pub(super) err: BorrowedFd<'a>,
    pub(super) report: Option<BorrowedFd<'a>>,
    /// `cgroup.procs` of the control group to join.
    pub(super) group: Option<BorrowedFd<'a>>,
}

/// A process that has been started.
#[derive(Debug)]
pub(super) struct Child {
    /// Its id, and that of its group and session.
    pub(super) pid: libc::pid_t,
    /// Readable once it has ended.
    pub(super) pidfd: OwnedFd,
}

/// The step at which starting a process failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// `clone` itself.
    Clone = 1,
    /// Session, descriptors.
    Prepare,
    /// Entering the directory.
    Dir,
    /// `execve`.
    Exec,
}

/// A process that could not be started.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) stage: Stage,
    pub(super) error: io::Error,
}

/// What parent and child share while the parent is suspended.
struct Plan<'a> {
    program: *const c_char,
    /// `["/bin/sh", program, arguments…, null]`: without its first the arguments as given.
    argv: *mut *const c_char,
    envp: *const *const c_char,
    dir: *const c_char,
    null: RawFd,
    out: RawFd,
    err: RawFd,
    report: RawFd,
    group: RawFd,
    changed_signals: &'a [c_int],
    parent: libc::pid_t,
    failed: Option<(Stage, c_int)>,
}

impl Spawner {
    /// `null` is the null device, its number above 3.
    pub(super) fn new(null: OwnedFd) -> Self {
        let len = STACK_BYTES / size_of::<u128>();
        Self {
            stack: Box::new_uninit_slice(len),
            null,
            changed_signals: sys::changed_signals(),
            parent: std::process::id().cast_signed(),
        }
    }

    /// Starts the process of `image`. The calling thread must have all signals blocked but
    /// SIGCHLD, which no childless process gets.
    pub(super) fn spawn(&mut self, image: &mut Image, ends: &Ends<'_>) -> Result<Child, Failed> {
        let fd = |fd: Option<BorrowedFd<'_>>| fd.map_or(-1, |fd| fd.as_raw_fd());
        let mut plan = Plan {
            program: image.program().as_ptr(),
            argv: image.argv(),
            envp: image.envp(),
            dir: image.dir().map_or(ptr::null(), CStr::as_ptr),
            null: self.null.as_raw_fd(),
            out: ends.out.as_raw_fd(),
            err: ends.err.as_raw_fd(),
            report: fd(ends.report),
            group: fd(ends.group),
            changed_signals: &self.changed_signals,
            parent: self.parent,
            failed: None,
        };
        let mut pidfd: c_int = -1;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
        let plan_ptr = ptr::from_mut(&mut plan);
        #[expect(unsafe_code, reason = "there is no safe way to start a process this fast")]
        // SAFETY: CLONE_VFORK suspends this thread until the child has executed or exited, so `plan`, all
        // it points to and the stack outlive the child's use of them and nobody else touches them. The
        // stack's end is 16-byte aligned, as both architectures want. `child` allocates nothing, takes no
        // lock and unwinds never. CLONE_PIDFD writes one c_int to the first variadic argument.
        let pid = unsafe {
            let top = self.stack.as_mut_ptr_range().end.cast::<c_void>();
            libc::clone(child, top, flags, plan_ptr.cast(), &raw mut pidfd)
        };
        if pid < 0 {
            return Err(Failed { stage: Stage::Clone, error: io::Error::last_os_error() });
        }
        #[expect(unsafe_code, reason = "the kernel made this descriptor for us alone")]
        // SAFETY: clone has succeeded, so `pidfd` is open and owned by nobody else.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        #[expect(unsafe_code, reason = "the child has written it behind the compiler's back")]
        // SAFETY: points to `plan`, which is alive; the child has ended its use of it.
        let failed = unsafe { ptr::read_volatile(&raw const (*plan_ptr).failed) };
        match failed {
            None => Ok(Child { pid, pidfd }),
            Some((stage, errno)) => {
                // It has exited; nothing of it must stay behind.
                sys::reap(&pidfd).map_err(|error| Failed { stage: Stage::Prepare, error })?;
                Err(Failed { stage, error: io::Error::from_raw_os_error(errno) })
            }
        }
    }
}

/// The child's whole life up to `execve`.
extern "C" fn child(plan: *mut c_void) -> c_int {
    #[expect(unsafe_code, reason = "the child of a vfork may only make system calls")]
    // SAFETY: the parent passes its `Plan` and is suspended. All pointers in it are null-terminated
    // arrays or strings built by `Image`. Only async-signal-safe calls are made.
    unsafe {
        let plan = &mut *plan.cast::<Plan<'_>>();
        let (stage, errno) = prepare_and_exec(plan);
        ptr::write_volatile(&raw mut plan.failed, Some((stage, errno)));
        libc::_exit(127)
    }
}

/// Returns only if something failed.
///
/// # Safety
/// Runs in the child; the pointers of `plan` are valid.
#[expect(unsafe_code, reason = "called by `child` alone")]
unsafe fn prepare_and_exec(plan: &mut Plan<'_>) -> (Stage, c_int) {
    // SAFETY: system calls on valid descriptors and pointers, as `child` promises.
    unsafe {
        let errno = || *libc::__errno_location();
        if libc::setsid() == -1 || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 {
            return (Stage::Prepare, errno());
        }
        if libc::getppid() != plan.parent {
            // The engine died before the line above: nobody will ever look after this process.
            libc::_exit(127);
        }
        if plan.group >= 0 {
            // Not being in the group is no reason not to run: its processes are found in other ways.
            libc::write(plan.group, c"0".as_ptr().cast(), 1);
        }
        if libc::dup2(plan.null, 0) == -1 || libc::dup2(plan.out, 1) == -1 || libc::dup2(plan.err, 2) == -1 {
            return (Stage::Prepare, errno());
        }
        let mut first: c_uint = 3;
        if plan.report >= 0 {
            if libc::dup2(plan.report, 3) == -1 {
                return (Stage::Prepare, errno());
            }
            first = 4;
        }
        // Whatever else this process has inherited or opened without care stays out of the test. Kernels
        // before 5.11 do not know the call; there our own descriptors are still close-on-exec.
        libc::syscall(libc::SYS_close_range, first, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        for signal in plan.changed_signals {
            sys::reset_signal(*signal);
        }
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
        if !plan.dir.is_null() && libc::chdir(plan.dir) == -1 {
            return (Stage::Dir, errno());
        }
        libc::execve(plan.program, plan.argv.add(1), plan.envp);
        let mut error = errno();
        if error == libc::ENOEXEC {
            // A script without `#!`, which `execvp` and every shell hand to the shell.
            *plan.argv.add(1) = plan.program;
            libc::execve(*plan.argv, plan.argv, plan.envp);
            error = errno();
        }
        (Stage::Exec, error)
    }
}
