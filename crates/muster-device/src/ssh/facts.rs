//! Processes, facts, and the reboot.

use super::device::Ssh;
use crate::device::{Device as _, Info, Power, Process, Processes};
use crate::error::DeviceError;
use crate::sut::words::shell_quote;
use crate::until::{Ended, Until};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Each process with its user and name from the kernel, then all command lines at once.
const PROCESSES: &str = "\
for d in /proc/[0-9]*; do
  n=; u=
  while read -r k v r; do
    case $k in Name:) n=\"$v${r:+ $r}\";; Uid:) u=$v; break;; esac
  done 2>/dev/null <$d/status || continue
  [ \"$u\" ] && printf '%s %s %s\\n' ${d#/proc/} $u \"$n\"
done
echo
grep -as '' /proc/[0-9]*/cmdline
exit 0";

impl Processes for Ssh {
    fn list(&self, until: &Until) -> Result<Vec<Process>, DeviceError> {
        let (_, said) = self.lines(PROCESSES, None, "listing processes", until)?;
        Ok(read_processes(&said.stdout))
    }

    fn signal(&self, pid: u32, signal: i32, until: &Until) -> Result<(), DeviceError> {
        let doing = format!("signal {signal} for process {pid}");
        let refused = |said: &str| DeviceError::Refused {
            device: self.address().to_owned(),
            doing: doing.clone(),
            said: said.to_owned(),
        };
        // Zero and what is below it would be groups.
        if pid == 0 || i32::try_from(pid).is_err() {
            return Err(refused("there is no process of this number"));
        }
        if !(0..=64).contains(&signal) {
            return Err(refused("there is no such signal"));
        }
        let (code, said) = self.lines(&format!("kill -{signal} {pid}"), None, &doing, until)?;
        if code == 0 { Ok(()) } else { Err(self.refused(&doing, &said)) }
    }
}

fn read_processes(text: &[u8]) -> Vec<Process> {
    let text = String::from_utf8_lossy(text);
    let (list, lines) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut commands: HashMap<u32, String> = HashMap::new();
    for line in lines.lines() {
        let Some((pid, command)) = line.strip_prefix("/proc/").and_then(|l| l.split_once("/cmdline:")) else {
            continue;
        };
        let command = command.replace('\0', " ").trim_end().to_owned();
        if let (Ok(pid), false) = (pid.parse(), command.is_empty()) {
            // What comes again is the next line of a command.
            commands.entry(pid).or_insert(command);
        }
    }
    let mut all: Vec<Process> = list
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ' ');
            let (pid, uid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            let short = fields.next()?;
            let command = commands.remove(&pid);
            // The kernel keeps fifteen bytes of a name; the rest may be found in the command line.
            let long = command.as_deref().and_then(|c| c.split(' ').next()?.rsplit('/').next()).unwrap_or("");
            let name = if short.len() >= 15 && long.starts_with(short) { long } else { short }.to_owned();
            Some(Process { pid, uid: Some(uid), name, command })
        })
        .collect();
    all.sort_by_key(|p| p.pid);
    all
}

/// Facts, in the order in which they are told: a name, and the line that prints its value.
const FACTS: [(&str, &str); 12] = [
    ("os", "(. /etc/os-release 2>/dev/null && [ \"$PRETTY_NAME\" ] && echo \"$PRETTY_NAME\") || uname -sr"),
    ("id", "cat /etc/machine-id 2>/dev/null || hostname"),
    ("hostname", "hostname 2>/dev/null || uname -n"),
    ("kernel", "uname -sr"),
    ("arch", "uname -m"),
    ("cores", "getconf _NPROCESSORS_ONLN 2>/dev/null || grep -c ^processor /proc/cpuinfo"),
    ("systime", "date '+%Y/%m/%d %H:%M:%S'"),
    ("uptime", "uptime"),
    ("uptimemillis", "read -r u r </proc/uptime; echo \"${u%.*}${u#*.}0\""),
    ("memory", "grep -E '^Mem(Total|Available):' /proc/meminfo"),
    ("disk", "df -P \"${TMPDIR:-/tmp}\" | tail -n 1"),
    ("user", "id -un"),
];

impl Info for Ssh {
    fn all(&self, until: &Until) -> Result<Vec<(String, String)>, DeviceError> {
        let mark = super::script::nonce();
        let lines: Vec<String> =
            FACTS.iter().map(|(name, line)| format!("echo '{mark} {name}'; {line}")).collect();
        let lines = format!("{}; exit 0", lines.join("\n"));
        let (_, said) = self.lines(&lines, None, "asking about it", until)?;
        let text = String::from_utf8_lossy(&said.stdout);
        let mark = format!("{mark} ");
        let facts = text.split(&*mark).skip(1).filter_map(|part| {
            let (name, value) = part.split_once('\n')?;
            let value = value.trim();
            (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        });
        Ok(facts.collect())
    }

    fn one(&self, name: &str, until: &Until) -> Result<String, DeviceError> {
        let Some((_, line)) = FACTS.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&str> = FACTS.iter().map(|(known, _)| *known).collect();
            return Err(DeviceError::Senseless {
                what: format!("nothing is known under `{name}`; there are {}", names.join(", ")),
            });
        };
        let doing = format!("asking for its `{name}`");
        let (_, said) = self.lines(line, None, &doing, until)?;
        let value = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        if value.is_empty() { Err(self.refused(&doing, &said)) } else { Ok(value) }
    }
}

/// How long a device may take between the order to reboot and the beginning of it.
const GOING_DOWN_MAX: Duration = Duration::from_secs(120);
/// Between two looks whether it is back, and how long a look may take.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_MAX: Duration = Duration::from_secs(10);

impl Ssh {
    /// What is another after each boot.
    fn boot_id(&self, until: &Until) -> Result<String, DeviceError> {
        let file = self.target.boot_id.as_deref().unwrap_or("/proc/sys/kernel/random/boot_id");
        let doing = "asking which boot it is";
        let (code, said) = self.lines(&format!("cat {}", shell_quote(file)), None, doing, until)?;
        let id = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        if code == 0 && !id.is_empty() { Ok(id) } else { Err(self.refused(doing, &said)) }
    }

    /// Why a wait for a device that is down must end, if it must.
    fn give_up(ended: &Ended, device: &str, until: &Until) -> DeviceError {
        let (device, doing) = (device.to_owned(), "waiting for it after a reboot".to_owned());
        match ended {
            Ended::Cancelled => DeviceError::Cancelled { device, doing },
            Ended::Deadline | Ended::Io(_) => DeviceError::Timeout { device, doing, given: until.given() },
        }
    }
}

impl Power for Ssh {
    fn reboot(&self, until: &Until) -> Result<(), DeviceError> {
        let before = self.boot_id(until)?;
        self.reboot_only(until)?;
        let told = Instant::now();
        loop {
            until.sleep(LOOK).map_err(|e| Self::give_up(&e, self.address(), until))?;
            match self.boot_id(&until.at_most(LOOK_MAX)) {
                Ok(now) if now != before => return Ok(()),
                Ok(_) if told.elapsed() > GOING_DOWN_MAX => {
                    return Err(DeviceError::Refused {
                        device: self.address().to_owned(),
                        doing: "rebooting".to_owned(),
                        said: "it was told to reboot and goes on as before".to_owned(),
                    });
                }
                // It goes down, or has not come up. A connection from before is of no use any more.
                Ok(_) => {}
                Err(e @ DeviceError::Cancelled { .. }) => return Err(e),
                Err(_) => self.masters.close(&self.target),
            }
        }
    }

    fn reboot_only(&self, until: &Until) -> Result<(), DeviceError> {
        let usual = "if [ \"$(id -u)\" = 0 ]; then reboot; else sudo -n reboot; fi";
        let line = self.target.reboot.as_deref().unwrap_or(usual);
        match self.lines(line, None, "rebooting", until) {
            Ok((0, _)) => {}
            Ok((_, said)) => return Err(self.refused("rebooting", &said)),
            // It went down before it could say so.
            Err(DeviceError::Lost { .. }) => {}
            Err(other) => return Err(other),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_read() {
        let text = b"7 0 sshd\n12 1000 a-program-with-\n1 0 init\n\n\
            /proc/7/cmdline:sshd: ana [priv]\0\n/proc/12/cmdline:/opt/a-program-with-a-name\0-x\0\n\
            /proc/12/cmdline:more\n/proc/99/cmdline:gone\n";
        let all = read_processes(text);
        let seen: Vec<_> = all.iter().map(|p| (p.pid, p.uid, &*p.name, p.command.as_deref())).collect();
        assert_eq!(
            seen,
            [
                (1, Some(0), "init", None),
                (7, Some(0), "sshd", Some("sshd: ana [priv]")),
                (12, Some(1000), "a-program-with-a-name", Some("/opt/a-program-with-a-name -x")),
            ]
        );
    }
}
