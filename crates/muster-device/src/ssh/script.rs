//! What a POSIX shell does on the device.
//!
//! `sshd` gives the login shell of the user one line, whatever shell that is. So the line consists of what
//! means the same to all of them, and a POSIX shell makes the script out of it.

use crate::device::Command;
use crate::sut::words::shell_quote;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// The variable by which the descendants of a program are known.
const MARK: &str = "MUSTER_DEVICE_COMMAND";

/// Longest line.
// Limit: Linux takes no single argument that is longer than 128 KiB.
const LINE_BYTES_MAX: usize = 120 << 10;

/// A word nobody can guess, for the marks of one session.
pub(super) fn nonce() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("muster-{:016x}{:016x}", random(), random())
}

/// What is to be done in a session.
pub(super) enum Work<'a> {
    /// A program, in place of which nothing else is seen.
    Program(&'a Command),
    /// Lines for the shell.
    Lines(&'a str),
}

/// The line for `sshd`, or why there is none.
pub(super) fn line(work: &Work<'_>, nonce: &str, user: Option<&str>) -> Result<String, String> {
    let mut line = by_any_shell(&framed(work, nonce)?);
    if let Some(user) = user {
        let (user, whole) = (shell_quote(user), shell_quote(&line));
        line = by_any_shell(&format!(
            "if [ \"$(id -un)\" = {user} ]; then exec {line}; fi
             if command -v sudo >/dev/null; then exec sudo -n -u {user} -- {line}; fi
             if [ \"$(id -u)\" = 0 ]; then exec su -s /bin/sh -c {whole} -- {user}; fi
             echo \"there is no sudo to become another user with\" >&2; exit 1"
        ));
    }
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("its arguments and variables are longer than {} KiB", LINE_BYTES_MAX >> 10));
    }
    Ok(format!("exec {line}"))
}

/// Says where it is, does the work, and says how that ended, on both streams.
fn framed(work: &Work<'_>, nonce: &str) -> Result<String, String> {
    // The names are such that no program has variables of these names in its environment.
    let mut text = format!(
        "mu_n={nonce}\n\
         {{ read -r mu_l </proc/$$/stat; }} 2>/dev/null\n\
         set -- ${{mu_l##*) }}\n\
         printf '\\001%s+\\n' $mu_n; printf '\\001%s+%s\\n' $mu_n ${{4:-0}} >&2\n\
         mu_end() {{ printf '\\001%s=\\n' $mu_n; printf '\\001%s=%s\\n' $mu_n \"$1\" >&2; exit 0; }}\n"
    );
    // A string takes all that is written to it.
    match work {
        Work::Lines(lines) => {
            let _ = write!(text, "(\n{lines}\n)\nmu_end $?\n");
        }
        Work::Program(command) => {
            if let Some(dir) = &command.dir {
                let _ = writeln!(text, "cd -- {} 2>/dev/null || mu_end dir", shell_quote(dir));
            }
            for (name, value) in &command.env {
                let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
                if !name.chars().all(fits)
                    || name.is_empty()
                    || name.starts_with(|c: char| c.is_ascii_digit())
                {
                    return Err(format!("`{name}` is no name of a variable that a shell takes"));
                }
                let _ = writeln!(text, "export {name}={}", shell_quote(value));
            }
            let words: Vec<String> = command.args.iter().map(|a| shell_quote(a)).collect();
            // The shell says on a pipe of its own when a signal ends the program; an exit code of the same
            // number has no such remark. Only bash keeps silent, and there both are the code. What is after
            // the last `=` is the code.
            let _ = write!(
                text,
                "export {MARK}={nonce}\n\
                 exec 3>&1 4>&2\n\
                 mu_m=$(exec 2>&1; (exec {} >&3 2>&4 3>&- 4>&-); echo \"=$?\")\n\
                 exec 3>&- 4>&-\n\
                 mu_c=${{mu_m##*=}}\n\
                 if [ \"$mu_c\" -gt 128 ] && [ \"${{mu_m%=*}}\" ]; then mu_end \"signal $((mu_c-128))\"; fi\n\
                 mu_end \"$mu_c\"\n",
                words.join(" ")
            );
        }
    }
    Ok(text)
}

/// The same for a login shell of any kind: in single quotes, with neither quotes, backslashes of meaning,
/// exclamation marks nor line breaks in them.
fn by_any_shell(script: &str) -> String {
    let mut text = String::with_capacity(script.len() * 5 / 4);
    for byte in script.bytes() {
        match byte {
            b'\'' | b'\\' | b'!' | 0..=31 | 127.. => {
                let _ = write!(text, "\\0{byte:03o}");
            }
            _ => text.push(char::from(byte)),
        }
    }
    format!("sh -c 'eval \"$(printf %b \"$1\")\"' muster '{text}'")
}

/// Kills a program and what it started: all of its session, and what carries its mark elsewhere.
pub(super) fn kill(session: u32, nonce: &str) -> String {
    // Zero is the session of nobody, and of the kernel's own.
    let session = if session == 0 { "none".to_owned() } else { session.to_string() };
    format!(
        "mu_round() {{
           for mu_d in /proc/[0-9]*; do
             {{ read -r mu_l <$mu_d/stat; }} 2>/dev/null || continue
             set -- ${{mu_l##*) }}
             if [ \"$4\" = {session} ] && [ \"$1\" != Z ] && kill -9 ${{mu_d#/proc/}}; then mu_k=1; fi
           done
           for mu_f in $(grep -slF {MARK}={nonce} /proc/[0-9]*/environ); do
             mu_f=${{mu_f#/proc/}}
             if kill -9 ${{mu_f%/environ}}; then mu_k=1; fi
           done
         }} 2>/dev/null
         mu_i=0; mu_k=1
         while [ $mu_k = 1 ] && [ $mu_i -lt 50 ]; do mu_k=0; mu_i=$((mu_i+1)); mu_round; done
         exit 0"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this host's own shell makes of a line.
    fn ran(work: &Work<'_>) -> (String, String) {
        let line = line(work, "N", None).unwrap();
        let done = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
        assert_eq!(done.status.code(), Some(0));
        (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
    }

    #[test]
    fn codes_and_signals_are_told_between_marks() {
        let check = |line: &str, end: &str| {
            let (out, err) = ran(&Work::Program(&Command::shell(line)));
            assert_eq!(out, "\u{1}N+\nx\u{1}N=\n");
            assert!(err.ends_with(&format!("\u{1}N={end}\n")), "{err:?}");
        };
        check("printf x; exit 0", "0");
        check("printf x; exit 255", "255");
        check("printf x; exit 139", "139");
        check("printf x; kill -SEGV $$", "signal 11");
        check("printf x; kill -KILL $$", "signal 9");
        check("printf x; kill -TERM $$", "signal 15");
    }

    #[test]
    fn lines_arrive_as_they_are_written() {
        let (out, _) = ran(&Work::Lines("printf '%s' 'a!b\\c\"d$e`f'\n# it's\nexit 3"));
        assert_eq!(out, "\u{1}N+\na!b\\c\"d$e`f\u{1}N=\n");
    }

    #[test]
    fn what_is_too_long_or_no_name_is_said() {
        let long = Command::new(["echo".to_owned(), "x".repeat(LINE_BYTES_MAX)]);
        assert!(line(&Work::Program(&long), "N", None).unwrap_err().contains("120 KiB"));
        let mut odd = Command::new(["env"]);
        odd.env = vec![("a;reboot".to_owned(), "x".to_owned())];
        assert!(line(&Work::Program(&odd), "N", None).is_err());
    }
}
