//! `muster demo`: a whole lab on this host, to see what one does before there is any.
//!
//! Server, agents and the run are processes of this program, started as people start them, in a temporary
//! directory. The devices are of the `fake` driver. Nothing listens but on loopback, and nothing is left.

use crate::context::Context;
use crate::error::Complaint;
use crate::local::signals::Signals;
use clap::Args;
use muster_core::outcome::ExitCode;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Arguments of `muster demo`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
It needs neither root nor a network. One of its tests fails and one is flaky, on purpose; of its devices one
is flaky, one is broken and one is slow. It ends with 0 if that is what came out.")]
pub(crate) struct DemoArgs {
    /// Leave the lab running until Ctrl-C, to look around in it
    #[arg(long)]
    keep: bool,
}

const AREA: [(&str, &str); 2] =
    [("muster.toml", include_str!("../../demo/muster.toml")), ("app.sh", include_str!("../../demo/app.sh"))];

/// A device that is not there.
struct Simulated {
    name: &'static str,
    kind: &'static str,
    /// What is wrong with it, as options of its address.
    faults: &'static str,
}

const fn simulated(name: &'static str, kind: &'static str, faults: &'static str) -> Simulated {
    Simulated { name, kind, faults }
}

/// The agents, each with its devices.
const AGENTS: [(&str, &[Simulated]); 2] = [
    ("west", &[simulated("phone-1", "phone", ""), simulated("phone-2", "phone", "flaky=30")]),
    (
        "east",
        &[
            simulated("board-1", "board", ""),
            simulated("board-2", "board", "broken=unreachable"),
            simulated("board-3", "board", "slow=150ms"),
        ],
    ),
];

/// Shows a lab.
pub(crate) fn run(args: &DemoArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut signals = Signals::any()?;
    let dir = tempfile::Builder::new()
        .prefix("muster-demo-")
        .tempdir()
        .map_err(|e| Complaint::lab("no directory can be made for the demo").because(e))?;
    let mut lab = Lab::new(dir.path())?;
    lab.start_server()?;
    writeln!(
        context.stderr(),
        "a lab at {} with 5 simulated devices: phone-2 is flaky, board-2 is broken, board-3 is slow\n",
        lab.url
    )?;
    for (name, devices) in AGENTS {
        lab.start_agent(name, devices)?;
    }
    let begun = Instant::now();
    let code = lab.run_area()?;
    writeln!(context.stderr(), "{}", lab.story(args.keep, begun.elapsed(), &context.program()))?;
    if args.keep {
        // Whatever is read means the end.
        drop(signals.read(&mut [0]));
    }
    lab.end();
    match code {
        Some(1) => Ok(ExitCode::Passed),
        Some(130 | 143) => Err(Complaint::said(ExitCode::Interrupted).into()),
        other => {
            let text = match other {
                Some(code) => format!("the demo ended with {code} where one test was to fail (1)"),
                None => "the demo was killed".to_owned(),
            };
            Err(Complaint::lab(text).hint("`muster doctor` looks for what is wrong with this machine").into())
        }
    }
}

/// The processes of the lab. Dropped, they are ended.
struct Lab<'a> {
    dir: &'a Path,
    exe: PathBuf,
    url: String,
    server: Option<Child>,
    agents: Vec<Child>,
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<'a> Lab<'a> {
    fn new(dir: &'a Path) -> Result<Self, anyhow::Error> {
        let exe = std::env::current_exe().map_err(|e| unusable("find this program's own file", e))?;
        let area = dir.join("area");
        let write = || -> io::Result<()> {
            std::fs::create_dir(&area)?;
            // The flaky test remembers there that it has failed.
            let here = dir.display().to_string();
            AREA.iter()
                .try_for_each(|(name, text)| std::fs::write(area.join(name), text.replace("@DIR@", &here)))
        };
        write().map_err(|e| unusable("write the area of the demo", e))?;
        Ok(Self { dir, exe, url: String::new(), server: None, agents: Vec::new() })
    }

    /// This program, knowing nothing of what its user has set up.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.exe);
        let own = std::env::vars_os().map(|(name, _)| name);
        for name in own.filter(|n| n.to_string_lossy().starts_with("MUSTER_") && n != "MUSTER_COLOR") {
            command.env_remove(name);
        }
        // Tests of the area call `muster`, which may not be installed.
        let mut path = self.exe.parent().map_or_else(OsString::new, |dir| dir.as_os_str().to_owned());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path).env("XDG_STATE_HOME", self.dir.join("state"));
        command.args(["--no-config"]).args(args).stdin(Stdio::null());
        command
    }

    fn start_server(&mut self) -> Result<(), anyhow::Error> {
        let data = self.dir.join("server").display().to_string();
        let mut command = self.command(&["server", "--listen", "127.0.0.1:0", "--data", &data]);
        let (server, line) = start(&mut command, &self.dir.join("server.log"), "the lab is at ")?;
        self.server = Some(server);
        self.url = line.split(',').next().unwrap_or_default().trim().to_owned();
        Ok(())
    }

    fn start_agent(&mut self, name: &str, devices: &[Simulated]) -> Result<(), anyhow::Error> {
        let state = self.dir.join(name).display().to_string();
        let (url, label) = (self.url.clone(), format!("room={name}"));
        let mut args = vec!["--server", &url, "agent", "--state", &state, "--label", &label];
        let devices: Vec<String> = devices
            .iter()
            .map(|Simulated { name, kind, .. }| format!("{name}:kind={kind},address={}", self.device(name)))
            .collect();
        args.extend(devices.iter().flat_map(|device| ["--device", device]));
        let mut command = self.command(&args);
        let (agent, _) = start(&mut command, &self.dir.join(format!("{name}.log")), "connected to ")?;
        self.agents.push(agent);
        Ok(())
    }

    /// The address of a device.
    fn device(&self, name: &str) -> String {
        let found = AGENTS.iter().flat_map(|(_, devices)| *devices).find(|device| device.name == name);
        let Simulated { kind, faults, .. } = found.expect("the demo names only devices it has");
        let dir = self.dir.join("devices").join(name);
        let faults = if faults.is_empty() { String::new() } else { format!("&{faults}") };
        format!("fake:{name}?dir={}&kind={kind}{faults}", dir.display())
    }

    /// Runs the area on the lab, as whoever sits there would.
    fn run_area(&self) -> Result<Option<i32>, anyhow::Error> {
        let area = self.dir.join("area");
        let mut command = self.command(&["--server", &self.url, "run"]);
        // Ctrl-C reaches it too, since it has the terminal, and ends it.
        let status = command.current_dir(area).status().map_err(|e| unusable("start the run", e))?;
        Ok(status.code())
    }

    /// What was to be seen, and what to type next.
    fn story(&self, keep: bool, took: Duration, program: &str) -> String {
        let seconds = took.as_secs_f64();
        let seen = format!(
            "\nThat took {seconds:.1} s. What was to be seen:
  sensor   failed on a device that is well: that is the test, or what it tests
  radio    failed once and then passed: flaky, and never hidden
  board-2  could not be reached: the lab's fault, so another device was tried, and no test failed for it\n"
        );
        let (url, area) = (&self.url, self.dir.join("area").display().to_string());
        let on = self.device("board-2");
        let next = if keep {
            format!(
                "
devices {program} --server {url} device list
    why {program} --server {url} -C {area} why sensor
    log {program} --server {url} -C {area} log radio
  again {program} --server {url} -C {area} run --on 'labels.kind == \"phone\"'
 broken {program} device exec --on '{on}' -- uname
   area {area}/muster.toml
   stop Ctrl-C"
            )
        } else {
            format!(
                "
The lab is gone again, and with it what the commands above speak of.
   keep {program} demo --keep    leaves it running, to look around
  yours {program} init           writes a muster.toml for the tests you have"
            )
        };
        seen + &next
    }

    fn end(&mut self) {
        // To an agent this means: with everything it runs.
        for agent in &mut self.agents {
            finish(agent, Signal::INT);
        }
        self.agents.clear();
        if let Some(mut server) = self.server.take() {
            finish(&mut server, Signal::TERM);
        }
    }
}

/// Starts a process and waits for what it says when it is ready. What it says later goes to a file.
fn start(command: &mut Command, log: &Path, ready: &str) -> Result<(Child, String), anyhow::Error> {
    // A group of its own: Ctrl-C is the demo's to hear.
    command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|e| unusable("start a part of the lab", e))?;
    let mut lines = BufReader::new(child.stderr.take().expect("it was piped"));
    let mut said = String::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) == 0 {
            drop(child.wait());
            return Err(Complaint::lab("a part of the lab did not start")
                .because(io::Error::other(said))
                .into());
        }
        if let Some(rest) = line.strip_prefix(ready) {
            let mut log = File::create(log).map_err(|e| unusable("write a log", e))?;
            // It ends with the process.
            std::thread::spawn(move || io::copy(&mut lines, &mut log));
            return Ok((child, rest.to_owned()));
        }
        said.push_str(&line);
    }
}

/// Asks a process to end, and does not wait for ever.
fn finish(child: &mut Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a child has a number above zero");
    // It is our child and not yet waited for, so the number is its own.
    let _told = kill_process(pid, signal);
    let asked = Instant::now();
    // Limit: what does not end by then is killed.
    while asked.elapsed() < Duration::from_secs(20) {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(child.kill());
    drop(child.wait());
}

fn unusable(what: &str, error: io::Error) -> anyhow::Error {
    Complaint::lab(format!("cannot {what}")).because(error).into()
}
