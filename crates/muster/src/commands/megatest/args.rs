//! Megatest's command line: single dashes, `:name value` beside `-name value`, and no abbreviations.

/// A switch with the number of its values.
struct Switch {
    name: &'static str,
    /// 0 or 1.
    values: usize,
    done: Done,
}

/// Whether Muster does what a switch asks for.
enum Done {
    Yes,
    /// It has no meaning here, and why, or what does the same.
    Never(&'static str),
}

const fn yes(name: &'static str, values: usize) -> Switch {
    Switch { name, values, done: Done::Yes }
}

const fn never(name: &'static str, values: usize, why: &'static str) -> Switch {
    Switch { name, values, done: Done::Never(why) }
}

/// Every switch of Megatest's, so that those that mean nothing here are told from those that never were.
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
    yes("mark-incompletes", 0),
    yes("keepgoing", 0),
    yes("rollup", 0),
    yes("rename-run", 1),
    yes("to", 1),
    yes("days", 1),
    yes("run-id", 1),
    yes("port", 1),
    yes("list-servers", 0),
    yes("kill-servers", 0),
    yes("cleanup-db", 0),
    yes("update-meta", 0),
    yes("process-reap", 0),
    yes("summarize-items", 0),
    yes("rerun", 1),
    yes("rerun-clean", 0),
    yes("rerun-all", 0),
    yes("rerun-downstream", 0),
    yes("kill-runs", 0),
    yes("preclean", 0),
    yes("remove-runs", 0),
    yes("remove-keep", 1),
    yes("age", 1),
    yes("actions", 1),
    yes("precmd", 1),
    yes("keep-records", 0),
    yes("set-state-status", 1),
    yes("set-run-status", 1),
    yes("get-run-status", 0),
    yes("lock", 0),
    yes("unlock", 0),
    never("one-pass", 0, "a run is executed by the command that asked for it, until it has ended"),
    yes("archive", 1),
    never("recover-test", 1, "`muster resume` goes on with a run whose process is gone"),
    never("force", 0, "`-rerun-all` runs again whatever the state is"),
    yes("target-patt", 1),
    yes("run-patt", 1),
    yes("contour", 1),
    // How runs are labelled in a central database.
    never("prepend-contour", 0, "targets are kept as they are; `-contour` is a level of the tree of links"),
    never("prefix-target", 1, "targets are kept as they are, in the records of their area"),
    never("area-tag", 1, "`[areas]` of the user's config.toml, or of megatest.config, names areas"),
    yes("setvars", 1),
    never("config", 1, "an area is known by its megatest.config, which may `[include …]` another file"),
    never("append-config", 1, "megatest.config may `[include …]` another file"),
    never("cache-db", 0, "records are read where they are, in `.muster` of the area"),
    never("source-db", 1, "records are read where they are, in `.muster` of the area"),
    never("target-db", 1, "records are read where they are, in `.muster` of the area"),
    never("execute", 1, "Muster's agent starts the steps of tests"),
    yes("env2file", 1),
    yes("envcap", 1),
    yes("envdelta", 1),
    yes("o", 1),
    yes("fields", 1),
    yes("sort", 1),
    // Megatest itself has long taken no notice of it.
    yes("since", 1),
    yes("list-run-time", 0),
    yes("list-test-time", 0),
    yes("list-db-targets", 0),
    yes("testdata-csv", 1),
    yes("extract-ods", 1),
    yes("pathmod", 1),
    yes("diff-rep", 0),
    yes("src-target", 1),
    yes("src-runname", 1),
    yes("diff-email", 1),
    yes("diff-html", 1),
    yes("generate-html", 0),
    yes("generate-html-structure", 0),
    yes("refdb2dat", 1),
    never("server", 1, "an area needs no server; `muster server` makes a lab of several hosts"),
    never("daemonize", 0, "an area needs no server; `muster server` makes a lab of several hosts"),
    never("ping", 1, "an area needs no server; `muster server` makes a lab of several hosts"),
    never("rebuild-db", 0, "records of older versions are brought up to date when they are opened"),
    never(
        "import-megatest.db",
        0,
        "Muster has records of its own, in `.muster` of the area, and does not read or write Megatest's",
    ),
    never(
        "sync-to-megatest.db",
        0,
        "Muster has records of its own, in `.muster` of the area, and does not read or write Megatest's",
    ),
    never("sync-to", 1, "the server of a lab has the records of all its runs, and there is no PostgreSQL"),
    yes("create-megatest-area", 0),
    yes("create-test", 1),
    never("repl", 0, "there is no Scheme; `--output json` and the HTTP interface are for programs"),
    never("load", 1, "there is no Scheme; `--output json` and the HTTP interface are for programs"),
    never("gui", 0, "`-generate-html` writes pages; there is no desktop program"),
    never("xterm", 1, "`cd` to what `-test-paths` prints, and `. ./megatest.sh`"),
    never("manual", 0, "docs/reference/megatest.md has every switch"),
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
    #[error("`{0}` has nothing to do in Muster")]
    Never(String, &'static str),
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
            match switch.done {
                Done::Yes => {}
                Done::Never(why) => return Err(Wrong::Never(word, why)),
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
        assert!(matches!(parse("-server -"), Err(Wrong::Never(word, _)) if word == "-server"));
        assert_eq!(parse("-target"), Err(Wrong::NoValue("-target".to_owned())));
        assert_eq!(parse("-run -testpatt quick slow"), Err(Wrong::Left("slow".to_owned())));
    }
}
