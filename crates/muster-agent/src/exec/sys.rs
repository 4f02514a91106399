//! The few system calls that no safe wrapper has: waiting with what was used, and signal dispositions.

use muster_core::attempt::Usage;
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::io::Errno;
use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// How a process ended, as the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// By itself, with this code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// Removes an ended child and says how it ended and what it and all it waited for have used. Waits if it
/// has not ended.
pub(super) fn reap(pidfd: &OwnedFd) -> io::Result<(Death, Usage)> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut used = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        #[expect(unsafe_code, reason = "rustix and libc know `waitid` without the usage")]
        // SAFETY: both pointers are to writable memory of the right type; zeroed is valid for both.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                pidfd.as_raw_fd(),
                info.as_mut_ptr(),
                libc::WEXITED,
                used.as_mut_ptr(),
            )
        };
        if answer == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    #[expect(unsafe_code, reason = "the kernel has filled them in")]
    // SAFETY: zeroed is valid for these plain structures, and waitid has succeeded with WEXITED, so the
    // fields of a child's end are the ones in use.
    let (code, status, used) = unsafe {
        let info = info.assume_init();
        (info.si_code, info.si_status(), used.assume_init())
    };
    let death = if code == libc::CLD_EXITED { Death::Exit(status) } else { Death::Signal(status) };
    Ok((death, usage(&used)))
}

/// A zombie child, removed, by how it ended; `None` while it lives, `Err` if there is no such child.
pub(super) fn reap_if_dead(pid: rustix::process::Pid) -> Result<Option<Death>, Errno> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let status = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
    Ok(status.map(|s| match (s.exit_status(), s.terminating_signal()) {
        (Some(code), _) => Death::Exit(code),
        (None, signal) => Death::Signal(signal.unwrap_or(0)),
    }))
}

/// Whether a child has ended, without removing it.
pub(super) fn has_ended(pidfd: &OwnedFd) -> bool {
    use rustix::fd::AsFd as _;
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::PidFd(pidfd.as_fd()), options), Ok(Some(_)))
}

fn usage(used: &libc::rusage) -> Usage {
    let micros = |t: libc::timeval| {
        u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(t.tv_usec).unwrap_or(0)
    };
    let count = |n: libc::c_long| u64::try_from(n).unwrap_or(0);
    Usage {
        user_micros: micros(used.ru_utime),
        system_micros: micros(used.ru_stime),
        memory_peak_bytes: count(used.ru_maxrss) * 1024,
        read_bytes: count(used.ru_inblock) * 512,
        write_bytes: count(used.ru_oublock) * 512,
    }
}

/// The kernel's own `struct sigaction`, whose first word is the handler, at default.
const DEFAULT_ACTION: [u64; 4] = [0; 4];
/// Signals on every architecture; also those that the C library keeps for itself and does not touch.
const SIGNALS: c_int = 64;

/// Signals that this process handles or ignores: Rust ignores SIGPIPE, `nohup` SIGHUP, and so on.
pub(super) fn changed_signals() -> Vec<c_int> {
    (1..=SIGNALS)
        .filter(|&signal| {
            let mut action = DEFAULT_ACTION;
            #[expect(unsafe_code, reason = "std does not tell dispositions")]
            // SAFETY: asks only; `action` has room for the kernel's structure on 64-bit architectures.
            let answer = unsafe {
                let none = ptr::null::<u64>();
                libc::syscall(libc::SYS_rt_sigaction, signal, none, action.as_mut_ptr(), SIGNALS / 8)
            };
            answer == 0 && action[0] != 0
        })
        .collect()
}

/// Gives a signal its default disposition. May be called in the child of a vfork.
pub(super) fn reset_signal(signal: c_int) {
    #[expect(unsafe_code, reason = "the C library refuses the signals it keeps for itself")]
    // SAFETY: reads the kernel's structure from a constant that is as large; no handler is installed.
    unsafe {
        let old = ptr::null_mut::<u64>();
        libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT_ACTION.as_ptr(), old, SIGNALS / 8);
    }
}

/// Blocks every signal but SIGCHLD in the calling thread, for good. SIGCHLD's default is to be ignored, and
/// where its thread does not block it the kernel drops it as it is sent; blocked, it would be queued, and
/// wake another thread of this process for every process that ends.
pub(super) fn block_signals() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    #[expect(unsafe_code, reason = "std does not block signals")]
    // SAFETY: sigfillset makes the set valid before it is used.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigdelset(all.as_mut_ptr(), libc::SIGCHLD);
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut());
    }
}
