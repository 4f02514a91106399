//! `cargo`: the test binaries of a package or workspace, built once, asked and run directly.
//!
//! The environment of a test binary is Cargo's business (package variables, build script output,
//! library paths, `[env]` of its configuration), so Cargo is asked for it: `cargo test` is run with a
//! *runner* that prints its environment instead of running the binary. Doc tests are not items: they
//! have no binary to ask (`RUSTDOC=true` keeps Cargo from running them during discovery).

mod build;

use super::bytes::parse_env;
use super::libtest::{LibtestReader, parse_list};
use super::single::SingleReader;
use super::template::shown;
use super::{Answer, Ask, Discovery, DiscoveryError, End, Judge, Launch, LaunchItem, SuiteCommand, paths};
use build::{Binary, Build};
use muster_core::definition::{Batch, Ignored, Line};
use muster_core::exchange::{Found, FoundItem, Group};
use std::collections::HashSet;

/// Limit: longest sum of test names in one command line; the kernel allows about 2 MB with the
/// environment, and other systems less.
const NAMES_BYTES_MAX: usize = 100_000;
/// Limit: most tests of one process where nobody says otherwise.
const BATCH_MAX: u32 = 1000;

pub(super) struct CargoDiscovery {
    args: Vec<String>,
    ignored: Ignored,
    batch: Batch,
    state: State,
    base_env: Vec<(String, String)>,
    found: Found,
}

enum State {
    /// The environment without Cargo.
    Env,
    /// Built, with the runner that tells the environment.
    Build,
    /// The project has a runner of its own for some `cfg(…)`: ours has to name the target, which is asked.
    Target,
    /// Built, with the runner for that target.
    TargetBuild,
    /// Built without the runner: not even that goes with the project's own.
    PlainBuild,
    /// One binary after the other.
    List { rest: std::vec::IntoIter<Binary>, at: Binary, asked: Asked },
}

/// What a binary is asked, in this order.
enum Asked {
    List,
    /// Whether it is libtest, which takes many names at once.
    Help {
        names: Vec<String>,
    },
    Ignored {
        names: Vec<String>,
        many: bool,
    },
}

impl CargoDiscovery {
    pub(super) fn new(args: &[String], ignored: Ignored, batch: Batch) -> Self {
        Self {
            args: args.to_vec(),
            ignored,
            batch,
            state: State::Env,
            base_env: Vec::new(),
            found: Found::default(),
        }
    }

    fn ask(&self, argv: Vec<String>, dir: &str, env: &[(String, String)]) -> Ask {
        let plain = SuiteCommand::plain(Line::Argv(argv));
        Ask::Run(SuiteCommand { dir: dir.to_owned(), env: env.to_vec(), ..plain })
    }

    fn ask_binary(&mut self, args: &[&str]) -> Ask {
        let State::List { at, .. } = &self.state else { return self.done() };
        let argv = std::iter::once(at.executable.as_str()).chain(args.iter().copied()).map(str::to_owned);
        let (argv, dir, env) = (argv.collect(), at.dir.clone(), at.env.clone());
        self.ask(argv, &dir, &env)
    }

    fn build_with_runner(&mut self, target: &str) -> Ask {
        let (argv, env) = build::command_with_runner(&self.args, target);
        self.ask(argv, "", &env)
    }

    fn build_plainly(&mut self) -> Ask {
        self.state = State::PlainBuild;
        self.ask(build::command(&self.args), "", &[])
    }

    /// The command as a person would have typed it.
    fn shown(&self) -> String {
        let words = ["cargo", "test"].map(str::to_owned).into_iter().chain(self.args.iter().cloned());
        shown(&Line::Argv(words.chain(["--no-run".to_owned()]).collect()))
    }

    fn failed(&self, end: End, stderr: &[u8]) -> Ask {
        let (command, detail) = (self.shown(), build::first_errors(stderr));
        Ask::Done(Err(DiscoveryError::Failed { command, end, detail }))
    }

    fn built(&mut self, stdout: &[u8]) -> Ask {
        match Build::parse(stdout, &self.base_env) {
            Ok(build) => self.next_binary(build.binaries.into_iter()),
            Err(detail) => Ask::Done(Err(DiscoveryError::Unreadable { command: self.shown(), detail })),
        }
    }

    fn next_binary(&mut self, mut rest: std::vec::IntoIter<Binary>) -> Ask {
        match rest.next() {
            Some(at) => {
                self.state = State::List { rest, at, asked: Asked::List };
                self.ask_binary(&["--list", "--format", "terse"])
            }
            None => self.done(),
        }
    }

    fn done(&mut self) -> Ask {
        paths::make_unique(&mut self.found.items);
        Ask::Done(Ok(std::mem::take(&mut self.found)))
    }

    fn answered(&mut self, end: &End, stdout: &[u8]) -> Ask {
        let State::List { rest, at, asked } = std::mem::replace(&mut self.state, State::Env) else {
            return self.done();
        };
        let listed = || -> Option<Vec<String>> {
            let names = parse_list(stdout).filter(|_| *end == End::Exit(0))?;
            Some(names.into_iter().map(str::to_owned).collect())
        };
        match asked {
            Asked::List => {
                if let Some(names) = listed() {
                    self.state = State::List { rest, at, asked: Asked::Help { names } };
                    return self.ask_binary(&["--help"]);
                }
                self.add_own_harness(&at);
            }
            Asked::Help { names } => {
                let help = String::from_utf8_lossy(stdout);
                let many = help.starts_with("Usage:") && help.contains("[FILTERS...]");
                if !names.is_empty() {
                    self.state = State::List { rest, at, asked: Asked::Ignored { names, many } };
                    return self.ask_binary(&["--list", "--format", "terse", "--ignored"]);
                }
                // libtest without tests has nothing to run; a silent program of its own is one item.
                if !many {
                    self.add_own_harness(&at);
                }
            }
            Asked::Ignored { names, many } => self.add(&at, &names, &listed().unwrap_or_default(), many),
        }
        self.next_binary(rest)
    }

    fn add(&mut self, at: &Binary, names: &[String], ignored: &[String], many: bool) {
        let ignored: HashSet<&str> = ignored.iter().map(String::as_str).collect();
        let longest = names.iter().map(String::len).max().unwrap_or(0) + 1;
        let fitting = u32::try_from(NAMES_BYTES_MAX / longest).unwrap_or(BATCH_MAX).max(1);
        let batch_max = match (many, self.batch) {
            (false, _) | (true, Batch::Single) => 1,
            (true, Batch::Auto) => fitting.min(BATCH_MAX),
            (true, Batch::Most(n)) => fitting.min(n.max(1)),
        };
        let group = self.add_group(at, batch_max);
        for name in names {
            let is_ignored = ignored.contains(name.as_str());
            let skip = match self.ignored {
                Ignored::Skip => is_ignored.then(|| "#[ignore]".to_owned()),
                Ignored::Include => None,
                Ignored::Only if is_ignored => None,
                Ignored::Only => continue,
            };
            let path = paths::clean(&format!("{}/{name}", at.path));
            self.found.items.push(FoundItem {
                path,
                group,
                selector: name.clone(),
                skip,
                ..FoundItem::default()
            });
        }
    }

    fn add_own_harness(&mut self, at: &Binary) {
        let group = self.add_group(at, 1);
        let path = paths::clean(&at.path);
        self.found.items.push(FoundItem { path, group, ..FoundItem::default() });
    }

    fn add_group(&mut self, at: &Binary, batch_max: u32) -> u32 {
        self.found.groups.push(Group {
            name: at.path.clone(),
            argv: vec![at.executable.clone()],
            dir: at.dir.clone(),
            env: at.env.clone(),
            batch_max,
            pass: None,
        });
        u32::try_from(self.found.groups.len() - 1).unwrap_or(u32::MAX)
    }
}

impl Discovery for CargoDiscovery {
    fn next(&mut self, answer: Option<Answer>) -> Ask {
        let Some(Answer::Ran { end, stdout, stderr, .. }) = answer else {
            return self.ask(vec!["env".to_owned(), "-0".to_owned()], "", &[]);
        };
        match self.state {
            State::Env => {
                self.base_env = parse_env(&stdout);
                self.state = State::Build;
                self.build_with_runner(build::EVERY_TARGET)
            }
            State::Build if end != End::Exit(0) && build::is_runner_conflict(&stderr) => {
                self.state = State::Target;
                self.ask(vec!["rustc".to_owned(), "-vV".to_owned()], "", &[])
            }
            State::Target => match build::target(&self.args, &stdout) {
                Some(target) => {
                    self.state = State::TargetBuild;
                    self.build_with_runner(&target)
                }
                None => self.build_plainly(),
            },
            State::TargetBuild if end != End::Exit(0) && build::is_runner_conflict(&stderr) => {
                self.build_plainly()
            }
            State::Build | State::TargetBuild | State::PlainBuild if end == End::Exit(0) => {
                self.built(&stdout)
            }
            State::Build | State::TargetBuild | State::PlainBuild => self.failed(end, &stderr),
            State::List { .. } => self.answered(&end, &stdout),
        }
    }
}

pub(super) fn launch(
    binary_args: &[String],
    ignored: Ignored,
    group: &Group,
    items: &[LaunchItem<'_>],
    log_max: usize,
) -> Launch {
    let mut argv = group.argv.clone();
    argv.extend(without_threads(binary_args));
    let own_harness = items.first().is_none_or(|i| i.selector.is_empty());
    if !own_harness {
        argv.extend(["--exact", "--test-threads=1"].map(str::to_owned));
        argv.extend(match ignored {
            Ignored::Skip => None,
            Ignored::Include => Some("--include-ignored".to_owned()),
            Ignored::Only => Some("--ignored".to_owned()),
        });
        argv.extend(items.iter().map(|i| i.selector.to_owned()));
    }
    let judge = Judge::Reader(if own_harness {
        Box::new(SingleReader::new(log_max, Box::new(|_, _| None)))
    } else {
        Box::new(LibtestReader::new(items, log_max))
    });
    let (line, unset) = (Line::Argv(argv), Vec::new());
    Launch { line, dir: group.dir.clone(), env: group.env.clone(), unset, report: false, judge }
}

/// The user's arguments without the number of threads, which is ours: it may be given only once, and
/// one at a time is what makes the report readable.
fn without_threads(args: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--test-threads" => {
                args.next();
            }
            "--exact" => {}
            a if a.starts_with("--test-threads=") => {}
            a => kept.push(a.to_owned()),
        }
    }
    kept
}
