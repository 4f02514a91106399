//! `mtutil`: Megatest's commands over several areas. Each action becomes a command line of `megatest`'s, carried out
//! at once in the directory of each area that is meant; what comes of it there is decided there.
//!
//! There are no packets: what is asked for is done while one waits, with the rights that the user has in the area.
//! A queue with rights is a lab's.

use super::do_as_told;
use crate::context::Context;
use crate::error::Complaint;
use crate::local::areas::{of_megatest, param};
use crate::local::megatest::main_sections;
use muster_core::outcome::ExitCode;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Switches with a value, and what `megatest` calls them; nothing: they are for `mtutil` itself.
const WITH_VALUE: [(&str, Option<&str>); 17] = [
    ("area", None),
    ("contour", Some("contour")),
    ("start-dir", None),
    ("new", None),
    ("state-status", None),
    ("target", Some("target")),
    ("test-patt", Some("testpatt")),
    ("testpatt", Some("testpatt")),
    ("run-name", Some("runname")),
    ("runname", Some("runname")),
    ("state", Some("state")),
    ("status", Some("status")),
    ("item-patt", Some("itempatt")),
    ("tag-expr", Some("tagexpr")),
    ("mode-patt", Some("modepatt")),
    ("set-vars", Some("setvars")),
    ("msg", Some("m")),
];

/// Switches without one.
const FLAGS: [(&str, Option<&str>); 4] = [
    // It is always.
    ("immediate", None),
    ("preclean", Some("preclean")),
    ("rerun-all", Some("rerun-all")),
    ("prepend-contour", Some("prepend-contour")),
];

/// Switches that mean nothing without packets and databases.
const REFUSED: [&str; 7] = ["sync-to", "append-config", "config", "log", "load", "repl", "debug"];

/// A command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    action: String,
    /// What follows the action without a switch: `show areas`.
    rest: Vec<String>,
    own: Vec<(String, String)>,
    /// For `megatest`.
    passed: Vec<String>,
}

impl Asked {
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, Complaint> {
        let mut asked = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                match asked.action.is_empty() {
                    true => asked.action = word,
                    false => asked.rest.push(word),
                }
                continue;
            };
            if REFUSED.contains(&name) {
                return Err(Complaint::usage(format!("`{word}` is not done by Muster: it keeps no packets")));
            }
            if let Some((_, to)) = FLAGS.iter().find(|(n, _)| *n == name) {
                asked.passed.extend(to.map(|to| format!("-{to}")));
            } else if let Some((_, to)) = WITH_VALUE.iter().find(|(n, _)| *n == name) {
                let value =
                    words.next().ok_or_else(|| Complaint::usage(format!("`{word}` needs a value")))?;
                if let Some(to) = to {
                    asked.passed.extend([format!("-{to}"), value.clone()]);
                }
                asked.own.push((name.to_owned(), value));
            } else {
                return Err(Complaint::usage(format!("`{word}` is no switch of mtutil's"))
                    .hint("`mtutil -h` lists actions and switches"));
            }
        }
        Ok(asked)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.own.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// What `megatest` is asked for.
    fn action(&self) -> Result<Vec<String>, Complaint> {
        let new = || {
            let said = self.get("new").or(self.get("state-status")).map(str::to_owned);
            said.ok_or_else(|| Complaint::usage("what is to be set?").hint("`-new COMPLETED,PASS`"))
        };
        let words: Vec<String> = match self.action.as_str() {
            "run" => vec!["-run".to_owned()],
            "rerun" => {
                let statuses = self.get("status").unwrap_or("FAIL,ABORT,CHECK,DEAD");
                vec!["-rerun".to_owned(), statuses.to_owned()]
            }
            "rerun-clean" => vec!["-rerun-clean".to_owned()],
            "rerun-all" => vec!["-rerun-all".to_owned()],
            "kill" => vec!["-set-state-status".to_owned(), "KILLREQ,n/a".to_owned()],
            "remove" => vec!["-remove-runs".to_owned()],
            "set-ss" => vec!["-set-state-status".to_owned(), new()?],
            "archive" => {
                let how = self.rest.first().map_or("save", String::as_str);
                vec!["-archive".to_owned(), how.to_owned()]
            }
            "lock" => vec!["-lock".to_owned()],
            "unlock" => vec!["-unlock".to_owned()],
            "list" => {
                let name = self.own.iter().find(|(n, _)| matches!(n.as_str(), "run-name" | "runname"));
                vec!["-list-runs".to_owned(), name.map_or_else(|| "%".to_owned(), |(_, v)| v.clone())]
            }
            "process" | "import" | "rungen" | "dispatch" | "go" | "gendot" => {
                let said = format!("`mtutil {}` works on packets, which Muster does not keep", self.action);
                return Err(Complaint::usage(said).hint(
                    "what is asked for is done at once; `muster --server URL run --detach` puts a run into the queue of a lab, which minds rights",
                ));
            }
            "db" | "tsend" | "tlisten" => {
                let said = format!("`mtutil {}` is not done by Muster", self.action);
                return Err(Complaint::usage(said)
                    .hint("there is no database to make; `muster events` follows what happens in a lab"));
            }
            other => {
                return Err(Complaint::usage(format!("`{other}` is no action of mtutil's"))
                    .hint("`mtutil -h` lists actions and switches"));
            }
        };
        Ok(words)
    }
}

/// Does what mtutil is asked for. `context`: of the directory that was started in.
pub(super) fn run(
    words: impl IntoIterator<Item = String>,
    context: &Context,
) -> Result<ExitCode, anyhow::Error> {
    let words: Vec<String> = words.into_iter().collect();
    if words.is_empty() || words.iter().any(|w| matches!(w.as_str(), "-h" | "-help" | "--help" | "help")) {
        return help(context);
    }
    let asked = Asked::parse(words)?;
    let hub = asked.get("start-dir").map_or_else(|| context.dir.clone(), |dir| context.dir.join(dir));
    if asked.action == "show" {
        return show(&asked, &hub, context);
    }
    let action = asked.action()?;
    let contour = asked.get("contour").map(|name| Contour::find(&hub, name)).transpose()?;
    let areas = areas(&asked, contour.as_ref(), &hub)?;
    let mut worst = ExitCode::Passed;
    for (name, dir) in &areas {
        let mut words = action.clone();
        words.extend(["-start-dir".to_owned(), dir.display().to_string()]);
        words.extend(asked.passed.iter().cloned());
        if let Some(contour) = contour.as_ref().filter(|_| asked.action == "run") {
            words.extend(contour.selector(&asked.passed));
        }
        if asked.action == "list" {
            drop_pair(&mut words, "-runname");
        }
        if asked.action == "rerun" {
            drop_pair(&mut words, "-status");
        }
        if areas.len() > 1 {
            // Nobody is left to tell if standard error is closed.
            drop(writeln!(context.stderr(), "area {name}: megatest {}", words.join(" ")));
        }
        let code = do_as_told(words)?;
        if worst == ExitCode::Passed {
            worst = code;
        }
    }
    Ok(worst)
}

/// Takes a switch and its value out of a command line.
fn drop_pair(words: &mut Vec<String>, switch: &str) {
    if let Some(at) = words.iter().position(|w| w == switch) {
        words.drain(at..(at + 2).min(words.len()));
    }
}

/// The areas that are meant, with their directories: those that `-area` names, those of the contour, or the one at
/// hand.
fn areas(
    asked: &Asked,
    contour: Option<&Contour>,
    hub: &Path,
) -> Result<Vec<(String, PathBuf)>, anyhow::Error> {
    let known = of_megatest(hub);
    let named: Vec<&str> = match (asked.get("area"), contour) {
        (Some(names), _) => names.split(',').map(str::trim).collect(),
        (None, Some(contour)) => contour.areas.iter().map(String::as_str).collect(),
        (None, None) => Vec::new(),
    };
    if named.is_empty() {
        return Ok(vec![("here".to_owned(), hub.to_owned())]);
    }
    let mut areas = Vec::new();
    for name in named {
        match known.iter().find(|(known, _)| known == name) {
            Some(area) => {
                not_translated(hub, name)?;
                areas.push(area.clone());
            }
            None => {
                let names: Vec<&str> = known.iter().map(|(n, _)| n.as_str()).collect();
                let hint = match names.as_slice() {
                    [] => "`[areas]` of megatest.config names them: `NAME path=DIR`".to_owned(),
                    names => format!("there are {}", names.join(", ")),
                };
                return Err(Complaint::usage(format!("no area is named `{name}`")).hint(hint).into());
            }
        }
    }
    Ok(areas)
}

/// Complains about an area whose targets or runs are named otherwise than here, by functions of Scheme.
fn not_translated(hub: &Path, area: &str) -> Result<(), Complaint> {
    let sections = main_sections(hub).unwrap_or_default();
    let mut areas = sections.iter().filter(|s| s.name == "areas").flat_map(|s| &s.values);
    let value = areas.find(|v| v.path == area).map_or("", |v| v.value.as_str());
    match ["targtrans", "runtrans", "areafilter"].into_iter().find(|name| param(value, name).is_some()) {
        None => Ok(()),
        Some(name) => {
            let said =
                format!("`{name}` of the area `{area}` is a function of Scheme, which Muster does not run");
            Err(Complaint::usage(said).hint("leave it out, and name the target as that area does"))
        }
    }
}

/// What `[contours]` says of a name: `NAME areas=a,b; selector=TAGS/VARIABLE`.
#[derive(Debug)]
pub(super) struct Contour {
    areas: Vec<String>,
    selector: Option<String>,
}

impl Contour {
    /// The one that the area or hub in this directory calls so.
    pub(super) fn find(hub: &Path, name: &str) -> Result<Self, Complaint> {
        let sections = main_sections(hub).unwrap_or_default();
        let mut contours = sections.iter().filter(|s| s.name == "contours").flat_map(|s| &s.values);
        let Some(found) = contours.find(|v| v.path == name) else {
            return Err(Complaint::usage(format!("no contour is named `{name}`"))
                .hint("`[contours]` of megatest.config: `NAME areas=a,b; selector=TAGS/VARIABLE`"));
        };
        if param(&found.value, "areafn").is_some() {
            let said = format!("the contour `{name}` chooses its areas by a function of Scheme");
            return Err(Complaint::usage(said).hint("Muster runs none of them: name them, `areas=a,b`"));
        }
        let areas = param(&found.value, "areas").into_iter().flat_map(|a| a.split(','));
        let areas = areas.map(|a| a.trim().to_owned()).filter(|a| !a.is_empty()).collect();
        Ok(Self { areas, selector: param(&found.value, "selector").map(str::to_owned) })
    }

    /// Tags and the variable with the patterns, unless these words say them already.
    pub(super) fn selector(&self, said: &[String]) -> Vec<String> {
        let selector = self.selector.as_deref().unwrap_or_default();
        let (tags, variable) = selector.split_once('/').unwrap_or((selector, ""));
        let mut words = Vec::new();
        for (switch, value) in [("-tagexpr", tags), ("-modepatt", variable)] {
            if !value.is_empty() && !said.iter().any(|w| w == switch) {
                words.extend([switch.to_owned(), value.to_owned()]);
            }
        }
        words
    }
}

/// `mtutil show areas|contours|setup`.
fn show(asked: &Asked, hub: &Path, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let wanted = asked.rest.first().map_or("areas", String::as_str);
    let sections = main_sections(hub)
        .map_err(|e| Complaint::usage(format!("`{}` has no megatest.config", hub.display())).because(e))?;
    let mut out = context.stdout();
    for value in sections.iter().filter(|s| s.name == wanted).flat_map(|s| &s.values) {
        writeln!(out, "{} {}", value.path, value.value)?;
    }
    Ok(ExitCode::Passed)
}

fn help(context: &Context) -> Result<ExitCode, anyhow::Error> {
    writeln!(
        context.stdout(),
        "\
mtutil, as carried out by Muster {}: Megatest's commands in one or several areas, at once

Actions
  run, rerun, rerun-clean, rerun-all      as `megatest -run`, `-rerun STATUS,…`, …
  kill, remove, set-ss, lock, unlock      as `megatest -set-state-status KILLREQ,n/a`, `-remove-runs`, …
  archive [save|restore|…]                as `megatest -archive`
  list                                    as `megatest -list-runs`
  show areas|contours|setup               what megatest.config says

Switches
  -area A,B         areas that `[areas]` names; without it those of the contour, or the one at hand
  -contour C        what `[contours]` says: areas, tags and variable; MT_CONTOUR for the tests
  -target T  -run-name N  -test-patt P  -item-patt P  -tag-expr X  -mode-patt V  -state S  -status T
  -new STATE,STATUS  -preclean  -rerun-all  -msg TEXT  -start-dir DIR  -immediate

There are no packets: `process`, `import`, `rungen` and `dispatch` say so.",
        env!("CARGO_PKG_VERSION")
    )?;
    Ok(ExitCode::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, Complaint> {
        Asked::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn actions_become_what_megatest_is_asked_for() {
        let run = asked("run -area a,b -target x/y -run-name w1 -test-patt t% -preclean").unwrap();
        assert_eq!(run.action().unwrap(), ["-run"]);
        assert_eq!(run.passed, ["-target", "x/y", "-runname", "w1", "-testpatt", "t%", "-preclean"]);
        assert_eq!(run.get("area"), Some("a,b"));
        for (line, words) in [
            ("kill -run-name w1", &["-set-state-status", "KILLREQ,n/a"][..]),
            ("set-ss -new COMPLETED,PASS", &["-set-state-status", "COMPLETED,PASS"]),
            ("rerun -status FAIL", &["-rerun", "FAIL"]),
            ("archive restore", &["-archive", "restore"]),
            ("list -run-name w%", &["-list-runs", "w%"]),
        ] {
            assert_eq!(asked(line).unwrap().action().unwrap(), words, "{line}");
        }
    }

    #[test]
    fn what_is_not_done_is_refused_with_its_reason() {
        for line in ["process", "import", "tsend a", "nonsense", "set-ss"] {
            assert!(asked(line).unwrap().action().is_err(), "{line}");
        }
        for line in ["run -sync-to x", "run -nonsense", "run -area"] {
            assert!(asked(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_contour_selects_unless_the_command_does() {
        let contour = Contour { areas: Vec::new(), selector: Some("quick/QUICKPATT".to_owned()) };
        let said = |line: &str| asked(line).unwrap().passed;
        assert_eq!(contour.selector(&said("run")), ["-tagexpr", "quick", "-modepatt", "QUICKPATT"]);
        assert_eq!(contour.selector(&said("run -tag-expr x")), ["-modepatt", "QUICKPATT"]);
    }
}
