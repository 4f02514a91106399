//! A step that another program starts somewhere else: `ssh HOST`, a batch system's command, `nbfake`.
//!
//! Both sides see the run directory. What is to run is a script there; it says there that it is alive and how the
//! command ended, and reads there whether it is still wanted. So neither a launcher that returns at once nor one that
//! waits has to be told from the other, and whoever is not heard of for the length of a lease is given up by the
//! other side: a job whose host died fails by the lab's fault, a job whose run is gone ends itself.
//!
//! ```text
//! .muster/launch-STEP/script    what the launcher starts, with /bin/sh
//!                     wanted    a number that grows while the step is waited for; `stop`
//!                     alive     a number that grows while the job runs
//!                     exit      the exit code, at the end
//!                     launcher.log
//! ```

use super::ezstep::bring;
use super::job::Job;
use crate::local::signals::Signals;
use muster_core::select::testpatt::TestPatt;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often each side says that it is there.
const BEAT: Duration = Duration::from_secs(1);
/// How long a job has to end once it is not wanted any more.
const GRACE: Duration = Duration::from_secs(3);
/// Files on a shared file system are looked at so often.
// Limit: such file systems tell nobody of what others write.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Begins a host type of which the host with the lowest load is taken.
const LOWEST_LOAD: &str = "#MTLOWESTLOAD";

/// What starts the steps of this job elsewhere: the first launcher whose pattern matches, if there is one.
pub(super) fn launcher(job: &Job) -> Option<&str> {
    let test = job.env.get("MT_TEST_NAME").map_or("", String::as_str);
    let found = job.ticket.launchers.iter().find(|(patt, _)| TestPatt::new(patt).matches(test, &job.item));
    found.map(|(_, command)| command.trim()).filter(|command| !command.is_empty())
}

/// Runs a command by a launcher, with its output in a file of the run directory and on standard output; its exit code.
///
/// # Errors
/// It could not be started, or was lost: the lab's fault.
pub(super) fn run(
    launcher: &str,
    step: &str,
    command: &str,
    job: &Job,
    log: &str,
) -> Result<i32, anyhow::Error> {
    let launcher = match launcher.strip_prefix(LOWEST_LOAD) {
        Some(hosts) => format!("ssh -o BatchMode=yes {}", lowest_load(hosts)?),
        None => launcher.to_owned(),
    };
    let lease = Duration::from_secs(job.ticket.launch_lease_secs.max(2));
    let place = Place::new(&job.run_dir, step)?;
    fs::write(place.file("script"), script(&place.dir, job, command, log, lease))?;
    place.say_wanted("0")?;
    let stop = Signals::terminate()?;
    stop.set_nonblocking(true)?;
    let line = format!("{launcher} /bin/sh {}", quoted(&place.file("script").to_string_lossy()));
    let said = File::create(place.file("launcher.log"))?;
    let mut child = Command::new("/bin/sh")
        .args(["-c", &line])
        .current_dir(&job.run_dir)
        .env_clear()
        .envs(&job.env)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .spawn()?;
    let mut reader = File::create(job.run_dir.join(log)).and_then(|_| File::open(job.run_dir.join(log)))?;
    let (mut beat, mut beaten) = (0u64, Instant::now());
    let (mut alive, mut alive_at) = (None, Instant::now());
    loop {
        bring(&mut reader)?;
        if let Some(code) = place.exit_code() {
            bring(&mut reader)?;
            finish(&mut child);
            return Ok(code);
        }
        if is_asked_to_stop(&stop) {
            place.say_wanted("stop")?;
            let end = Instant::now() + GRACE;
            while place.exit_code().is_none() && Instant::now() < end {
                std::thread::sleep(LOOK_EVERY);
            }
            bring(&mut reader)?;
            drop(child.kill());
            return Ok(143);
        }
        if beaten.elapsed() >= BEAT {
            beat += 1;
            beaten = Instant::now();
            place.say_wanted(&beat.to_string())?;
        }
        let now = fs::read_to_string(place.file("alive")).ok();
        if now.is_some() && now != alive {
            (alive, alive_at) = (now, Instant::now());
        }
        if alive.is_some() && alive_at.elapsed() > lease {
            drop(child.kill());
            anyhow::bail!("the job that `{launcher}` started was not heard of for {} s", lease.as_secs());
        }
        // One that returns has handed the job on; one that fails has not, unless it was the job's own code.
        if alive.is_none()
            && let Some(status) = child.try_wait()?
            && !status.success()
        {
            // The file system may be slow to show what is there.
            std::thread::sleep(BEAT);
            if place.exit_code().is_none() && !place.file("alive").exists() {
                let said = fs::read_to_string(place.file("launcher.log")).unwrap_or_default();
                let last = said.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or("it failed");
                anyhow::bail!("{last} (said the launcher `{launcher}`, {status})");
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Where both sides meet.
struct Place {
    dir: PathBuf,
}

impl Place {
    /// A place without what an earlier attempt left.
    fn new(run_dir: &Path, step: &str) -> io::Result<Self> {
        let dir = run_dir.join(".muster").join(format!("launch-{step}"));
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Others never see half of it.
    fn say_wanted(&self, what: &str) -> io::Result<()> {
        let new = self.file("wanted.new");
        fs::write(&new, what)?;
        fs::rename(&new, self.file("wanted"))
    }

    fn exit_code(&self) -> Option<i32> {
        // Looking at the directory makes a network file system ask anew.
        drop(fs::read_dir(&self.dir));
        fs::read_to_string(self.file("exit")).ok()?.trim().parse().ok()
    }
}

/// A launcher that waits for its job ends soon after it.
fn finish(child: &mut Child) {
    let end = Instant::now() + GRACE;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > end {
            drop(child.kill());
            drop(child.wait());
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn is_asked_to_stop(mut stop: &UnixStream) -> bool {
    matches!(stop.read(&mut [0u8; 16]), Ok(1..))
}

/// What the launcher starts: the command in the run directory and the test's environment, watched from beside.
fn script(dir: &Path, job: &Job, command: &str, log: &str, lease: Duration) -> String {
    let mut env = String::new();
    for (name, value) in &job.env {
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if is_name
            && !name.is_empty()
            && !matches!(name.as_str(), "PWD" | "SHLVL" | "_" | "OLDPWD" | "HOSTNAME")
        {
            // Writing to a string cannot fail.
            writeln!(env, "export {name}={}", quoted(value)).ok();
        }
    }
    let (run_dir, dir) = (quoted(&job.run_dir.to_string_lossy()), quoted(&dir.to_string_lossy()));
    let (command, log) = (quoted(command), quoted(log));
    let missed_max = lease.as_secs() / BEAT.as_secs().max(1);
    format!(
        "\
# Runs a step of a test for Muster, somewhere else.
d={dir}
put() {{ echo \"$2\" > \"$d/$1.new\" && mv \"$d/$1.new\" \"$d/$1\"; }}
cd {run_dir} || exit 1
put alive 0
{env}shell=/bin/sh
[ -x /bin/bash ] && shell=/bin/bash
own=
command -v setsid > /dev/null && own=setsid
$own $shell -c {command} < /dev/null > {log} 2>&1 &
child=$!
end() {{
    if [ -n \"$own\" ]; then kill -s \"$1\" -- \"-$child\"; else kill -s \"$1\" \"$child\"; fi 2> /dev/null
}}
watch() {{
    n=0 missed=0 last=
    while :; do
        n=$((n + 1))
        put alive $n
        wanted=$(cat \"$d/wanted\" 2> /dev/null)
        if [ \"$wanted\" = \"$last\" ]; then missed=$((missed + 1)); else missed=0 last=$wanted; fi
        if [ \"$wanted\" = stop ] || [ $missed -gt {missed_max} ]; then
            end TERM
            sleep 2
            end KILL
            return
        fi
        sleep 1
    done
}}
watch > /dev/null 2>&1 &
watcher=$!
wait $child
code=$?
kill $watcher 2> /dev/null
put exit $code
exit 0
"
    )
}

/// A word for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The host with the lowest load of these, asked by ssh, all at once.
fn lowest_load(hosts: &str) -> Result<String, anyhow::Error> {
    let asks: Vec<(String, io::Result<Child>)> = hosts
        .split_whitespace()
        .map(|host| {
            let options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", host, "cat", "/proc/loadavg"];
            let child = Command::new("ssh")
                .args(options)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            (host.to_owned(), child)
        })
        .collect();
    let mut best: Option<(f64, String)> = None;
    for (host, child) in asks {
        let said = child.and_then(Child::wait_with_output);
        let load = said.ok().and_then(|o| String::from_utf8(o.stdout).ok());
        let load = load.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        if let Some(load) = load
            && best.as_ref().is_none_or(|(least, _)| load < *least)
        {
            best = Some((load, host));
        }
    }
    let (_, host) =
        best.ok_or_else(|| anyhow::anyhow!("none of the hosts{hosts} says by ssh what its load is"))?;
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_the_shell_stay_as_they_are() {
        assert_eq!(quoted("a 'b' $c\n"), "'a '\\''b'\\'' $c\n'");
    }
}
