//! Megatest's command line: single dashes, `:name value` beside `-name value`, and no abbreviations.

/// A switch with the number of its values.
struct Switch {
    name: &'static str,
    /// 0 or 1.
    values: usize,
    /// Muster does it.
    done: bool,
}

const fn yes(name: &'static str, values: usize) -> Switch {
    Switch { name, values, done: true }
}

const fn not_yet(name: &'static str, values: usize) -> Switch {
    Switch { name, values, done: false }
}

/// Every switch of Megatest's, so that those which do nothing here yet are told from those that never were.
const SWITCHES: &[Switch] = &[
    yes("run", 0),
    yes("runall", 0),
    yes("runtests", 1),
    yes("target", 1),
    yes("reqtarg", 1),
    yes("runname", 1),
    yes("testpatt", 1),
    yes("itempatt", 1),
    yes("tagexpr", 1),
    yes("modepatt", 1),
    yes("run-wait", 0),
    yes("step", 1),
    yes("runstep", 1),
    yes("test-status", 0),
    yes("set-values", 0),
    yes("load-test-data", 0),
    yes("setlog", 1),
    yes("set-toplog", 1),
    yes("logpro", 1),
    yes("m", 1),
    yes("state", 1),
    yes("status", 1),
    yes("category", 1),
    yes("variable", 1),
    yes("value", 1),
    yes("expected", 1),
    yes("tol", 1),
    yes("units", 1),
    yes("comment", 1),
    yes("list-runs", 1),
    yes("test-paths", 0),
    yes("test-files", 1),
    yes("list-tests", 0),
    yes("list-targets", 0),
    yes("list-disks", 0),
    yes("show-keys", 0),
    yes("show-config", 0),
    yes("show-runconfig", 0),
    yes("show-cmdinfo", 0),
    yes("dumpmode", 1),
    yes("section", 1),
    yes("var", 1),
    yes("start-dir", 1),
    yes("version", 0),
    yes("h", 0),
    yes("help", 0),
    yes("debug", 1),
    yes("v", 0),
    yes("q", 0),
    // Between Muster and itself.
    yes("ezstep", 1),
    yes("expand-items", 0),
    yes("subrun", 0),
    yes("force-modepatt", 0),
    // Of no use here: nothing is cached, and there is no server to be told how to run.
    yes("no-cache", 0),
    yes("clean-cache", 0),
    yes("local", 0),
    yes("use-db-cache", 0),
    yes("override-timeout", 1),
    yes("transport", 1),
    yes("log", 1),
    yes("logging", 0),
    not_yet("summarize-items", 0),
    yes("rerun", 1),
    yes("rerun-clean", 0),
    yes("rerun-all", 0),
    yes("preclean", 0),
    not_yet("remove-runs", 0),
    not_yet("remove-keep", 1),
    not_yet("keep-records", 0),
    not_yet("set-state-status", 1),
    not_yet("set-run-status", 1),
    not_yet("get-run-status", 0),
    not_yet("lock", 0),
    not_yet("unlock", 0),
    not_yet("one-pass", 0),
    yes("archive", 1),
    not_yet("mark-incompletes", 0),
    not_yet("recover-test", 1),
    not_yet("force", 0),
    not_yet("keepgoing", 0),
    not_yet("rollup", 0),
    not_yet("rename-run", 1),
    not_yet("to", 1),
    yes("target-patt", 1),
    yes("run-patt", 1),
    not_yet("contour", 1),
    not_yet("prepend-contour", 0),
    not_yet("prefix-target", 1),
    not_yet("area-tag", 1),
    not_yet("setvars", 1),
    not_yet("config", 1),
    not_yet("append-config", 1),
    not_yet("cache-db", 0),
    not_yet("source-db", 1),
    not_yet("target-db", 1),
    not_yet("execute", 1),
    not_yet("env2file", 1),
    not_yet("envcap", 1),
    not_yet("envdelta", 1),
    yes("o", 1),
    yes("fields", 1),
    not_yet("sort", 1),
    // Megatest itself has long taken no notice of it.
    yes("since", 1),
    yes("list-run-time", 0),
    yes("list-test-time", 0),
    not_yet("list-db-targets", 0),
    yes("testdata-csv", 1),
    yes("extract-ods", 1),
    not_yet("pathmod", 1),
    yes("diff-rep", 0),
    yes("src-target", 1),
    yes("src-runname", 1),
    yes("diff-email", 1),
    yes("diff-html", 1),
    yes("generate-html", 0),
    yes("generate-html-structure", 0),
    yes("refdb2dat", 1),
    not_yet("server", 1),
    not_yet("daemonize", 0),
    not_yet("list-servers", 0),
    not_yet("kill-servers", 0),
    not_yet("ping", 1),
    not_yet("cleanup-db", 0),
    not_yet("rebuild-db", 0),
    not_yet("import-megatest.db", 0),
    not_yet("sync-to-megatest.db", 0),
    not_yet("sync-to", 1),
    not_yet("update-meta", 0),
    not_yet("process-reap", 0),
    yes("create-megatest-area", 0),
    yes("create-test", 1),
    not_yet("repl", 0),
    not_yet("load", 1),
    not_yet("gui", 0),
    not_yet("xterm", 1),
    not_yet("manual", 0),
];

/// A command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Args {
    given: Vec<(&'static str, String)>,
    /// What no switch took: the command of `-runstep`.
    pub(super) rest: Vec<String>,
}

/// A command line that cannot be done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    #[error("`{0}` is no switch of Megatest's")]
    Unknown(String),
    #[error("`{0}` is not done by Muster yet")]
    NotYet(String),
    #[error("`{0}` needs a value")]
    NoValue(String),
    #[error("`{0}` belongs to no switch; several patterns are one word, with commas")]
    Left(String),
}

impl Args {
    /// Reads one.
    pub(super) fn parse(all: impl IntoIterator<Item = String>) -> Result<Self, Wrong> {
        let mut args = Self::default();
        let mut all = all.into_iter();
        while let Some(word) = all.next() {
            let dashed = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
            let Some(name) = dashed.or_else(|| word.strip_prefix(':')).filter(|n| !n.is_empty()) else {
                // The command of a step has switches of its own.
                args.rest.push(word);
                if args.has("runstep") || args.has("ezstep") {
                    args.rest.extend(all);
                    return Ok(args);
                }
                continue;
            };
            // The one switch for which the second dash means more: it goes over `-testpatt`.
            if word == "--modepatt" {
                args.given.push(("force-modepatt", String::new()));
            }
            let Some(switch) = SWITCHES.iter().find(|s| s.name == name) else {
                return Err(Wrong::Unknown(word));
            };
            if !switch.done {
                return Err(Wrong::NotYet(word));
            }
            let value = match switch.values {
                0 => String::new(),
                _ => all.next().ok_or(Wrong::NoValue(word))?,
            };
            args.given.push((switch.name, value));
        }
        match args.rest.first() {
            // A word that is forgotten, as the shell's own patterns make many of one, asks for less than was meant.
            Some(word) if !args.has("runstep") && !args.has("ezstep") => Err(Wrong::Left(word.clone())),
            _ => Ok(args),
        }
    }

    /// The last value of a switch.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(SWITCHES.iter().any(|s| s.name == name), "{name} is not among the switches");
        self.given.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// Whether a switch was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, Wrong> {
        Args::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn colons_and_dashes_say_the_same() {
        let args = parse("-step build :state end -status 0 -m done").unwrap();
        assert_eq!(
            (args.get("step"), args.get("state"), args.get("status")),
            (Some("build"), Some("end"), Some("0"))
        );
        assert_eq!(args.get("m"), Some("done"));
    }

    #[test]
    fn the_command_of_a_step_keeps_its_switches() {
        let args = parse("-runstep build -logpro b.logpro make -j 4 -target x").unwrap();
        assert_eq!(args.rest, ["make", "-j", "4", "-target", "x"]);
        assert_eq!(args.get("logpro"), Some("b.logpro"));
    }

    #[test]
    fn a_second_dash_lets_the_variable_go_over_the_pattern() {
        let one = parse("-run -modepatt QUICK -testpatt a").unwrap();
        assert_eq!((one.get("modepatt"), one.has("force-modepatt")), (Some("QUICK"), false));
        let two = parse("-run --modepatt QUICK -testpatt a").unwrap();
        assert_eq!((two.get("modepatt"), two.has("force-modepatt")), (Some("QUICK"), true));
    }

    #[test]
    fn what_is_not_done_is_told_from_what_never_was() {
        assert_eq!(parse("-nonsense"), Err(Wrong::Unknown("-nonsense".to_owned())));
        assert_eq!(parse("-remove-runs"), Err(Wrong::NotYet("-remove-runs".to_owned())));
        assert_eq!(parse("-target"), Err(Wrong::NoValue("-target".to_owned())));
        assert_eq!(parse("-run -testpatt quick slow"), Err(Wrong::Left("slow".to_owned())));
    }
}
