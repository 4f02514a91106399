//! Suites: who is asked for the items, and how.

use super::file::{ProgramValue, SuiteKeys};
use super::resolve::{Resolver, TestPlaces};
use super::source::{At, Pos};
use super::words::FrameworkName;
use muster_core::definition::{Framework, Kind, Line, Place, SuiteDef, TestDef};

/// The keys of a framework beyond those of every suite.
fn keys_of(framework: FrameworkName) -> &'static [&'static str] {
    match framework {
        FrameworkName::Cargo => &["args", "binary-args", "ignored"],
        FrameworkName::Pytest => &["command", "args"],
        FrameworkName::Gtest => &["programs"],
        FrameworkName::Ctest => &["build-dir", "args"],
        FrameworkName::Tap => &["programs", "interpreter"],
        FrameworkName::Autotest => &["files", "command", "args"],
        FrameworkName::Files => &["files", "run", "cmd", "expected", "pattern"],
        FrameworkName::List => &["list", "run", "cmd"],
    }
}

/// Why items of a framework cannot be run on a device; `None` where they can.
fn bound_to_host(framework: FrameworkName) -> Option<&'static str> {
    match framework {
        FrameworkName::Cargo => Some("cargo builds its tests where it runs them"),
        FrameworkName::Ctest => Some("a build directory of CMake names paths of the host it was made on"),
        FrameworkName::Autotest => Some("`muster autoserv` brings the client to the device itself"),
        FrameworkName::Pytest
        | FrameworkName::Gtest
        | FrameworkName::Tap
        | FrameworkName::Files
        | FrameworkName::List => None,
    }
}

impl<'a> Resolver<'a, '_> {
    /// Makes a suite; of no use after a complaint.
    pub(super) fn suite(&mut self, name: &At<String>, keys: &'a SuiteKeys) -> (TestDef, TestPlaces) {
        self.names.begin_test(Vec::new());
        self.local_env(&keys.common);
        let framework = match &keys.framework {
            Some(framework) => {
                self.check_keys(framework.value.0, keys);
                self.framework(framework.value.0, name, keys)
            }
            None => {
                let complaint =
                    self.complaints.error(name.pos, format!("the suite `{}` has no `framework`", name.value));
                complaint
                    .hint("`framework` is one of cargo, pytest, gtest, ctest, tap, autotest, files, list");
                None
            }
        };
        // After a complaint any framework will do: nothing is made of it.
        let framework = framework.unwrap_or(Framework::Gtest { programs: Vec::new() });
        let batch = keys.batch.as_ref().map_or_else(Default::default, |b| b.value.0);
        let place = self.suite_place(name, keys);
        let kind = Kind::Suite(SuiteDef { framework, batch, place });
        let (test, mut places) = self.common(name, &keys.common, kind);
        places.extend(keys.framework.as_ref().map(|f| ("framework", f.pos)));
        places.extend(keys.batch.as_ref().map(|b| ("batch", b.pos)));
        (test, places)
    }

    /// Where a suite's items are asked for and run.
    fn suite_place(&mut self, name: &At<String>, keys: &SuiteKeys) -> Place {
        let Some(said) = self.placed(&keys.common) else { return Place::Host };
        match self.place_of(&said, &keys.common) {
            Place::Host => return Place::Host,
            Place::Device => {}
            Place::Other(_) => {
                let what = format!("the suite `{}` cannot run on another than its first device", name.value);
                self.complaints
                    .error(said.pos, what)
                    .hint("write that one first in `needs.devices`: it is the suite's `device`");
            }
        }
        let framework = keys.framework.as_ref().map(|f| f.value.0);
        if let Some((framework, why)) = framework.and_then(|f| Some((f, bound_to_host(f)?))) {
            let what =
                format!("the {} suite `{}` cannot run on a device: {why}", framework.word(), name.value);
            self.complaints.error(said.pos, what).hint(
                "`runs-on = \"host\"` in the suite; there it finds the device by MUSTER_DEVICE_ADDRESS",
            );
        }
        Place::Device
    }

    /// Complains about keys of other frameworks.
    fn check_keys(&mut self, framework: FrameworkName, keys: &SuiteKeys) {
        let known = keys_of(framework);
        let SuiteKeys {
            framework: _,
            batch: _,
            args,
            binary_args,
            ignored,
            command,
            programs,
            interpreter,
            build_dir,
            files,
            expected,
            pattern,
            list,
            run,
            cmd,
            common: _,
        } = keys;
        let given: [(&str, Option<Pos>); 13] = [
            ("args", args.as_ref().map(|a| a.pos)),
            ("binary-args", binary_args.as_ref().map(|a| a.pos)),
            ("ignored", ignored.as_ref().map(|a| a.pos)),
            ("command", command.as_ref().map(|a| a.pos)),
            ("programs", programs.as_ref().map(|a| a.pos)),
            ("interpreter", interpreter.as_ref().map(|a| a.pos)),
            ("build-dir", build_dir.as_ref().map(|a| a.pos)),
            ("files", files.as_ref().map(|a| a.pos)),
            ("expected", expected.as_ref().map(|a| a.pos)),
            ("pattern", pattern.as_ref().map(|a| a.pos)),
            ("list", list.as_ref().map(|a| a.pos)),
            ("run", run.as_ref().map(|a| a.pos)),
            ("cmd", cmd.as_ref().map(|a| a.pos)),
        ];
        for (key, pos) in given {
            if let Some(pos) = pos.filter(|_| !known.contains(&key)) {
                let word = framework.word();
                let mut all = known.to_vec();
                all.sort_unstable();
                let complaint =
                    self.complaints.error(pos, format!("`{key}` is not for the framework `{word}`"));
                complaint.hint(format!("its own keys are {}", all.join(", ")));
            }
        }
    }

    fn framework(
        &mut self,
        framework: FrameworkName,
        name: &At<String>,
        keys: &SuiteKeys,
    ) -> Option<Framework> {
        let pos = name.pos;
        Some(match framework {
            FrameworkName::Cargo => Framework::Cargo {
                args: self.list(keys.args.as_ref()),
                binary_args: self.list(keys.binary_args.as_ref()),
                ignored: keys.ignored.as_ref().map_or_else(Default::default, |i| i.value.0),
            },
            FrameworkName::Pytest => {
                let usual = || ["python3", "-m", "pytest"].map(str::to_owned).to_vec();
                let command = keys.command.as_ref().map_or_else(usual, |c| self.list(Some(c)));
                if command.is_empty() {
                    self.complaints
                        .error(keys.command.as_ref().map_or(pos, |c| c.pos), "there is no program in this");
                }
                Framework::Pytest { command, args: self.list(keys.args.as_ref()) }
            }
            FrameworkName::Gtest => Framework::Gtest { programs: self.programs(name, keys)? },
            FrameworkName::Ctest => {
                let build_dir = match &keys.build_dir {
                    Some(dir) => self.path(dir),
                    None => return self.missing(name, "build-dir", "build-dir = \"build\""),
                };
                Framework::Ctest { build_dir, args: self.list(keys.args.as_ref()) }
            }
            FrameworkName::Tap => {
                let globs = self.programs(name, keys)?;
                let mut programs = Vec::with_capacity(globs.len());
                for (glob, written) in globs.into_iter().zip(keys.programs.iter().flat_map(|p| &p.value)) {
                    let [glob] = <[String; 1]>::try_from(glob).unwrap_or_else(|_| {
                        let hint = "`interpreter` is put before each program";
                        self.complaints
                            .error(written.pos, "TAP programs are globs, without arguments")
                            .hint(hint);
                        [String::new()]
                    });
                    self.check_glob(&At { value: glob.clone(), pos: written.pos }, &glob);
                    programs.push(glob);
                }
                Framework::Tap { programs, interpreter: self.list(keys.interpreter.as_ref()) }
            }
            FrameworkName::Autotest => {
                let controls = self.globs(name, keys, "files = \"**/control\"")?;
                let usual = || ["muster", "autoserv"].map(str::to_owned).to_vec();
                let mut command = keys.command.as_ref().map_or_else(usual, |c| self.list(Some(c)));
                if command.is_empty() {
                    self.complaints
                        .error(keys.command.as_ref().map_or(pos, |c| c.pos), "there is no program in this");
                }
                command.extend(self.list(keys.args.as_ref()));
                Framework::Autotest { controls, command }
            }
            FrameworkName::Files => {
                let files = self.globs(name, keys, "files = \"tests/*.sh\"")?;
                let command = self.suite_command(name, keys)?;
                let expected = keys.expected.as_ref().map(|e| self.path(e));
                let pattern = keys.pattern.as_ref().is_some_and(|p| p.value);
                if let (Some(pattern), None) = (&keys.pattern, &expected) {
                    self.complaints.error(pattern.pos, "`pattern` says nothing without `expected`");
                }
                Framework::Files { files, command, expected, pattern }
            }
            FrameworkName::List => {
                let Some(list) = &keys.list else {
                    return self.missing(name, "list", "list = \"a command that prints names\"");
                };
                let list = self.command(list);
                Framework::List { list, run: self.suite_command(name, keys)? }
            }
        })
    }

    /// The globs in `files`.
    fn globs(&mut self, name: &At<String>, keys: &SuiteKeys, example: &str) -> Option<Vec<String>> {
        let Some(written) = keys.files.as_ref().filter(|f| !f.value.0.is_empty()) else {
            return self.missing(name, "files", example);
        };
        let files = self.texts(&written.value.0);
        for (glob, text) in written.value.0.iter().zip(&files) {
            self.check_glob(glob, text);
        }
        Some(files)
    }

    fn missing<T>(&mut self, name: &At<String>, key: &str, example: &str) -> Option<T> {
        let message = format!("the suite `{}` has no `{key}`", name.value);
        self.complaints.error(name.pos, message).hint(format!("`{example}`"));
        None
    }

    fn list(&mut self, list: Option<&At<super::file::List<String>>>) -> Vec<String> {
        list.map_or_else(Vec::new, |l| self.texts(&l.value))
    }

    fn suite_command(&mut self, name: &At<String>, keys: &SuiteKeys) -> Option<Line> {
        let what = format!("the suite `{}`", name.value);
        self.run_or_cmd(keys.run.as_ref(), keys.cmd.as_ref(), &what, name.pos)
    }

    fn programs(&mut self, name: &At<String>, keys: &SuiteKeys) -> Option<Vec<Vec<String>>> {
        let Some(list) = keys.programs.as_ref().filter(|p| !p.value.is_empty()) else {
            return self.missing(name, "programs", "programs = [\"build/tests\"]");
        };
        let mut programs = Vec::with_capacity(list.value.len());
        for program in &list.value {
            programs.push(match &program.value {
                ProgramValue::Path(path) => vec![self.path(&At { value: path.clone(), pos: program.pos })],
                ProgramValue::Argv(argv) => match self.argv(argv, program.pos) {
                    Line::Argv(argv) => argv,
                    Line::Shell(line) => vec![line],
                },
            });
        }
        Some(programs)
    }
}
