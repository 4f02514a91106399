//! Processes, facts, the screen, packages, and the reboot.

use super::Adb;
use super::server::Answer;
use crate::device::{Captured, Command, Exit, Process};
use crate::error::DeviceError;
use crate::stream::Stream;
use crate::until::{Ended, Until};
use std::time::Duration;

/// Facts with the line that tells each, in the order they are told. What a device cannot tell is left out.
const FACTS: [(&str, &str); 12] = [
    ("os", "v=$(getprop ro.build.version.release) && [ -n \"$v\" ] && echo Android $v || uname -sr"),
    ("model", "getprop ro.product.model"),
    ("build", "getprop ro.build.fingerprint"),
    ("sdk", "getprop ro.build.version.sdk"),
    ("arch", "uname -m"),
    ("kernel", "uname -r"),
    ("uptime", "cut -d' ' -f1 /proc/uptime"),
    ("boot", "cat /proc/sys/kernel/random/boot_id"),
    ("battery", "dumpsys battery | sed -n 's/^ *level: //p'"),
    ("screen", "wm size | sed -n 's/^Physical size: //p'"),
    ("memory", "sed -n 's/^MemAvailable: *//p' /proc/meminfo"),
    ("disk", "df -k /data | tail -n 1"),
];

/// Stands between the answers to several questions.
const BETWEEN: &str = "muster-next-fact";

/// How long a device may take between the order to reboot and the beginning of it.
const GOING_DOWN_MAX: Duration = Duration::from_secs(120);
/// Between two looks whether it is back.
const LOOK: Duration = Duration::from_millis(500);
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(20);

impl Adb {
    pub(super) fn processes_of(&self, until: &Until) -> Result<Vec<Process>, DeviceError> {
        let doing = "listing processes";
        let said = self.act(doing.to_owned(), "/", "ps -A -w -o pid= -o uid= -o args=", until)?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        // Some print a line of titles whatever they are told.
        let mut list: Vec<Process> = text.lines().filter_map(process).collect();
        if list.is_empty() {
            return Err(self.nonsense(doing, format!("{text:?}")));
        }
        list.sort_by_key(|p| p.pid);
        Ok(list)
    }

    pub(super) fn facts(&self, until: &Until) -> Result<Vec<(String, String)>, DeviceError> {
        let lines: Vec<String> = FACTS.iter().map(|(_, line)| format!("{line}; echo {BETWEEN}")).collect();
        let (_, said) = self.line(&format!("exec 2>/dev/null; {}", lines.join("; ")), until)?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let told = FACTS.iter().zip(text.split(BETWEEN));
        let told = told.map(|((name, _), value)| ((*name).to_owned(), value.trim().to_owned()));
        Ok(told.filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(super) fn fact(&self, name: &str, until: &Until) -> Result<String, DeviceError> {
        let Some((_, line)) = FACTS.iter().find(|(n, _)| *n == name) else {
            let names: Vec<&str> = FACTS.iter().map(|(n, _)| *n).collect();
            let what = format!("nothing is known under `{name}`; there are {}", names.join(", "));
            return Err(DeviceError::Senseless { what });
        };
        let (_, said) = self.line(line, until)?;
        let value = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        if value.is_empty() { Err(self.refused("telling this", "it does not know")) } else { Ok(value) }
    }

    pub(super) fn picture(&self, until: &Until) -> Result<Vec<u8>, DeviceError> {
        let mut said = Captured::default();
        match self.run_line(&Command::new(["screencap", "-p"]), &mut said, until)? {
            Exit::Code(0) if said.stdout.starts_with(b"\x89PNG\r\n\x1a\n") => Ok(said.stdout),
            _ => {
                let why = String::from_utf8_lossy(&said.stderr).trim().to_owned();
                Err(self.refused("taking a screenshot", why))
            }
        }
    }

    /// The package manager says in words whether it worked; its exit code is not to be trusted.
    pub(super) fn package(&self, doing: &str, words: &[&str], until: &Until) -> Result<(), DeviceError> {
        let mut said = Captured::default();
        let exit = self.run_line(&Command::new(words.iter().copied()), &mut said, until)?;
        let text = [said.stdout, said.stderr].concat();
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        if exit == Exit::Code(0) && text.lines().any(|line| line.trim() == "Success") {
            return Ok(());
        }
        Err(self.refused(doing, text))
    }

    pub(super) fn tell_to_reboot(&self, until: &Until) -> Result<(), DeviceError> {
        let mut stream = self.service("reboot:", until)?;
        // It ends when the device has begun.
        let waited = until.at_most(GOING_DOWN_MAX);
        self.wait_for_end(&mut stream, "telling it to reboot", &waited)
    }

    /// A session that is open while it goes down is what shows that it did.
    pub(super) fn reboot_and_wait(&self, until: &Until) -> Result<(), DeviceError> {
        let doing = "waiting for it to go down";
        let mut watch = self.service("shell,v2,raw:cat", until)?;
        self.tell_to_reboot(until)?;
        self.wait_for_end(&mut watch, doing, &until.at_most(GOING_DOWN_MAX))?;
        loop {
            let doing = "waiting for it to come back";
            if self.is_up(&until.at_most(LOOK_MAX)) {
                return Ok(());
            }
            until.sleep(LOOK).map_err(|e| self.ended(doing, e, until))?;
        }
    }

    fn wait_for_end(&self, stream: &mut Stream, doing: &str, until: &Until) -> Result<(), DeviceError> {
        loop {
            match stream.fill(until) {
                Ok(0) | Err(Ended::Io(_)) => return Ok(()),
                Ok(_) => {
                    let n = stream.input().len();
                    stream.consume(n);
                }
                Err(e) => return Err(self.ended(doing, e, until)),
            }
        }
    }

    /// Whether Android has started, or what has none of it has a shell.
    fn is_up(&self, until: &Until) -> bool {
        if self.place.serial.contains(':') {
            // One that is reached by network does not come back by itself.
            let asked = self.host(&format!("host:connect:{}", self.place.serial), until);
            if !matches!(asked, Ok(Answer::Okay)) {
                return false;
            }
        }
        let line = "command -v getprop >/dev/null || exit 0; [ \"$(getprop sys.boot_completed)\" = 1 ]";
        matches!(self.line(line, until), Ok((Exit::Code(0), _)))
    }
}

/// `pid uid command`.
fn process(line: &str) -> Option<Process> {
    let (pid, rest) = line.trim().split_once(char::is_whitespace)?;
    let (uid, command) = rest.trim_start().split_once(char::is_whitespace)?;
    let command = command.trim().to_owned();
    let first = command.split_whitespace().next()?;
    // The kernel's own have no path but a name in brackets, with slashes of its own.
    let name = match first.strip_prefix('[') {
        Some(name) => name.trim_end_matches(']').to_owned(),
        None => first.rsplit('/').next().unwrap_or(first).to_owned(),
    };
    Some(Process { pid: pid.parse().ok()?, uid: uid.parse().ok(), name, command: Some(command) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_from_its_line() {
        let p = process("  812  2000 /system/bin/sh -c x y").unwrap();
        assert_eq!((p.pid, p.uid, &*p.name), (812, Some(2000), "sh"));
        assert_eq!(process("  7 0 [kworker/0:1]").unwrap().name, "kworker/0:1");
        assert!(process("  PID   UID ARGS").is_none());
    }
}
