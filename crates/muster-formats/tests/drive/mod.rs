//! Drives a suite as the agent does, plainly: asks, runs, reads, and gives out again what was not
//! reached. For tests against the real frameworks.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "test code; each binary uses another part"
)]

use muster_core::definition::{Batch, Framework, Kind, Limits, Line, SuiteDef, TestDef};
use muster_core::exchange::Found;
use muster_core::output::{Stream, text};
use muster_formats::suite::{Answer, Ask, End, ItemEnd, Judge, LaunchItem, Reported, discovery, launch};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

pub(crate) struct Driver {
    pub(crate) def: TestDef,
    pub(crate) area: PathBuf,
    /// Hard limit of a process; only for tests that hang on purpose.
    pub(crate) timeout: Option<Duration>,
}

pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) report: Vec<u8>,
}

pub(crate) enum From {
    Stream(Stream),
    Report,
}

impl Driver {
    pub(crate) fn new(area: &Path, framework: Framework) -> Self {
        let def = TestDef {
            limits: Limits { output_bytes_max: 1 << 20, ..Limits::default() },
            ..TestDef::new("suite", Kind::Suite(SuiteDef::new(framework)))
        };
        Self { def, area: area.to_owned(), timeout: None }
    }

    pub(crate) fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        self.def.env.push((key.to_owned(), value.into()));
        self
    }

    pub(crate) fn batch(mut self, batch: Batch) -> Self {
        if let Kind::Suite(suite) = &mut self.def.kind {
            suite.batch = batch;
        }
        self
    }

    fn suite(&self) -> &SuiteDef {
        match &self.def.kind {
            Kind::Suite(suite) => suite,
            Kind::Steps { .. } => unreachable!("only suites are driven"),
        }
    }

    fn dir(&self, dir: &str) -> PathBuf {
        self.area.join(if dir.is_empty() { &self.def.dir } else { dir })
    }

    pub(crate) fn discover(&self) -> Result<Found, String> {
        let mut discovery = discovery(&self.def, self.suite());
        let mut answer = None;
        loop {
            answer = Some(match discovery.next(answer.take()) {
                Ask::Done(found) => return found.map_err(|e| e.to_string()),
                Ask::Run(c) => {
                    let Ended { end, stdout, stderr, report } =
                        self.process(&c.line, &c.dir, &c.env, &c.unset, c.report, None, &mut |_, _, _| {});
                    Answer::Ran { end, stdout, stderr, report }
                }
                Ask::Glob { patterns, dir, executable } => {
                    Answer::Files(self.glob(&patterns, &self.dir(&dir), executable))
                }
                Ask::Existing { mut paths, dir } => {
                    paths.retain(|p| self.dir(&dir).join(p).is_file());
                    Answer::Files(paths)
                }
            });
        }
    }

    fn glob(&self, patterns: &[String], dir: &Path, executable: bool) -> Vec<String> {
        use std::os::unix::fs::PermissionsExt as _;
        let globs: Vec<_> = patterns
            .iter()
            .map(|p| globset::GlobBuilder::new(p).literal_separator(true).build().unwrap().compile_matcher())
            .collect();
        let mut found = Vec::new();
        let mut dirs = vec![dir.to_owned()];
        while let Some(d) = dirs.pop() {
            for entry in std::fs::read_dir(d).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                    continue;
                }
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                let runs = path.metadata().unwrap().permissions().mode() & 0o111 != 0;
                if globs.iter().any(|g| g.is_match(&name)) && (runs || !executable) {
                    found.push(name);
                }
            }
        }
        found.sort();
        found
    }

    /// Runs items of one group in one process.
    pub(crate) fn run(&self, found: &Found, items: &[usize]) -> Vec<Reported> {
        let group = &found.groups[found.items[items[0]].group as usize];
        let of = |i: &usize| LaunchItem { path: &found.items[*i].path, selector: &found.items[*i].selector };
        let given: Vec<LaunchItem<'_>> = items.iter().map(of).collect();
        let launch = launch(&self.def, self.suite(), group, &given);
        let Judge::Reader(mut reader) = launch.judge else {
            panic!("this suite's processes are plain tests")
        };
        let mut out = Vec::new();
        let started = Instant::now();
        let ended = self.process(
            &launch.line,
            &launch.dir,
            &launch.env,
            &launch.unset,
            launch.report,
            self.timeout,
            &mut |from, at, bytes| match from {
                From::Stream(stream) => reader.output(stream, at, bytes, &mut out),
                From::Report => reader.report(at, bytes, &mut out),
            },
        );
        reader.ended(&ended.end, started.elapsed(), &mut out);
        out
    }

    /// Runs everything that is not skipped, as the lab would: what was not reached is given out again.
    /// Item path → its end.
    pub(crate) fn run_all(&self, found: &Found) -> BTreeMap<String, ItemEnd> {
        let mut ends = BTreeMap::new();
        for group in 0..found.groups.len() {
            let mut waiting: Vec<usize> = (0..found.items.len())
                .filter(|i| found.items[*i].group as usize == group && found.items[*i].skip.is_none())
                .collect();
            while !waiting.is_empty() {
                let batch: Vec<usize> =
                    waiting.iter().copied().take(found.groups[group].batch_max as usize).collect();
                let before = waiting.len();
                for reported in self.run(found, &batch) {
                    if let Reported::Ended { index, end } = reported {
                        let item = batch[index];
                        assert!(waiting.contains(&item), "{} ended twice", found.items[item].path);
                        waiting.retain(|i| *i != item);
                        ends.insert(found.items[item].path.clone(), end);
                    }
                }
                assert!(waiting.len() < before, "a process that reported nothing");
            }
        }
        ends
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a command, each once")]
    fn process(
        &self,
        line: &Line,
        dir: &str,
        env: &[(String, String)],
        unset: &[String],
        report: bool,
        timeout: Option<Duration>,
        take: &mut dyn FnMut(From, Duration, &[u8]),
    ) -> Ended {
        let argv = match line {
            Line::Argv(argv) => argv.clone(),
            Line::Shell(line) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        };
        let fifo = std::env::temp_dir().join(format!("muster-report-{}-{:p}", std::process::id(), &argv));
        let mut command = if report {
            assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
            let mut c = Command::new("/bin/sh");
            c.args(["-c", "exec 3>\"$0\"; exec \"$@\""]).arg(&fifo).args(&argv);
            c
        } else {
            let mut c = Command::new(&argv[0]);
            c.args(&argv[1..]);
            c
        };
        command.envs(self.def.env.iter().cloned()).envs(env.iter().cloned()).current_dir(self.dir(dir));
        unset.iter().for_each(|u| {
            command.env_remove(u);
        });
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let started = Instant::now();
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(e) => {
                let end = End::NotStarted(e.to_string());
                return Ended { end, stdout: Vec::new(), stderr: Vec::new(), report: Vec::new() };
            }
        };
        let (tx, rx) = channel();
        pump(child.stdout.take().unwrap(), 1, tx.clone());
        pump(child.stderr.take().unwrap(), 2, tx.clone());
        if report {
            pump(std::fs::File::open(&fifo).unwrap(), 3, tx.clone());
            std::fs::remove_file(&fifo).unwrap();
        }
        drop(tx);
        let mut ended =
            Ended { end: End::Exit(0), stdout: Vec::new(), stderr: Vec::new(), report: Vec::new() };
        let mut killed = false;
        loop {
            let left = timeout.map_or(Duration::from_secs(3600), |t| t.saturating_sub(started.elapsed()));
            match rx.recv_timeout(left) {
                Ok((1, bytes)) => {
                    take(From::Stream(Stream::Stdout), started.elapsed(), &bytes);
                    ended.stdout.extend(bytes);
                }
                Ok((2, bytes)) => {
                    take(From::Stream(Stream::Stderr), started.elapsed(), &bytes);
                    ended.stderr.extend(bytes);
                }
                Ok((_, bytes)) => {
                    take(From::Report, started.elapsed(), &bytes);
                    ended.report.extend(bytes);
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) if !killed => {
                    killed = true;
                    let group = format!("-{}", child.id());
                    assert!(Command::new("kill").args(["-9", "--", &group]).status().unwrap().success());
                }
                Err(_) => break,
            }
        }
        let status = child.wait().unwrap();
        ended.end = match (killed, status.code(), status.signal()) {
            (true, ..) => End::HardLimit(timeout.unwrap()),
            (false, Some(code), _) => End::Exit(code),
            (false, None, signal) => End::Signal(signal.unwrap()),
        };
        ended
    }
}

fn pump(mut from: impl Read + Send + 'static, which: u8, to: Sender<(u8, Vec<u8>)>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if to.send((which, buffer[..n].to_vec())).is_err() {
                break;
            }
        }
    });
}

/// `path: outcome: message`, one a line, for snapshots.
pub(crate) fn summary(ends: &BTreeMap<String, ItemEnd>) -> String {
    let line = |(path, end): (&String, &ItemEnd)| {
        let message = if end.message.is_empty() { String::new() } else { format!(": {}", end.message) };
        format!("{path}: {}{message}\n", end.outcome)
    };
    ends.iter().map(line).collect()
}

/// Everything in an item's log.
pub(crate) fn log_of(end: &ItemEnd) -> String {
    String::from_utf8_lossy(&text(&end.log, |_| true)).into_owned()
}

/// `path` or `path (skip: why)`, one a line, for snapshots.
pub(crate) fn listing(found: &Found) -> String {
    let line = |i: &muster_core::exchange::FoundItem| match &i.skip {
        Some(why) => format!("{} (skip: {why})\n", i.path),
        None => format!("{}\n", i.path),
    };
    found.items.iter().map(line).collect()
}

/// Whether the real tool is to be used. It is, unless `MUSTER_TESTS_WITHOUT` names it; a tool that is
/// missing fails the test, with how to get it.
pub(crate) fn wanted(tool: &str, present: bool, hint: &str) -> bool {
    let without = std::env::var("MUSTER_TESTS_WITHOUT").unwrap_or_default();
    if without.split(',').any(|t| t == tool) {
        return false;
    }
    assert!(present, "this test needs {tool}: {hint}; or leave it out with MUSTER_TESTS_WITHOUT={tool}");
    true
}

/// The command can be run and exits with code 0.
pub(crate) fn runs(argv: &[&str]) -> bool {
    let done = Command::new(argv[0]).args(&argv[1..]).output();
    done.is_ok_and(|o| o.status.success())
}
