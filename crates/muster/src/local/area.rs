//! Finds and loads the area at hand, for one target, with the flags of the command line as a layer.

use super::megatest::{self, Megatest};
use crate::context::{Context, area_file};
use crate::error::Complaint;
use crate::settings::Settings;
use muster_core::expr::Facts;
use muster_core::outcome::ExitCode;
use muster_formats::area::{ConfigError, Layer, LayerKind, LoadContext, Loaded};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// An area that can be used.
#[derive(Debug)]
pub(crate) struct Area {
    /// Its directory, absolute.
    pub(crate) dir: PathBuf,
    /// Its definition for the target, and where each value came from.
    pub(crate) loaded: Loaded,
    /// The files that say it, relative to its directory: its own, included ones, status files.
    pub(crate) configuration: Vec<String>,
    /// What only a Megatest area has; `None` for Muster's own.
    pub(crate) megatest: Option<Megatest>,
}

/// What an area is loaded for. Only a Megatest area minds: reading it may run commands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose<'a> {
    /// It is looked at; nothing of it is run.
    Look,
    /// Its tests are run, in a run of this name.
    Run {
        /// Where it has one already.
        name: Option<&'a str>,
    },
    /// The same, on a lab.
    Lab {
        /// Where it has one already.
        name: Option<&'a str>,
    },
}

/// A flag as a line of configuration.
#[derive(Clone, Debug)]
pub(crate) struct Flag {
    /// As it is typed: `--jobs`.
    pub(crate) name: &'static str,
    /// What it says, in TOML: `limits.jobs = 4`.
    pub(crate) toml: String,
}

/// Loads the area of the current directory; with `fetched`, that of this directory, whose records are in the
/// current one. Warnings are told at once.
///
/// # Errors
/// There is none, or its configuration is wrong; what is wrong has been told then.
pub(crate) fn load(
    context: &Context,
    fetched: Option<PathBuf>,
    target: Option<&str>,
    flags: &[Flag],
    purpose: Purpose<'_>,
) -> Result<Area, anyhow::Error> {
    let (from, dir) = match fetched {
        None => (context.area_dir()?, context.area_dir()?),
        Some(from) => (from, context.dir.clone()),
    };
    let own = area_file(&from);
    let is_megatest = own.is_err() && from == dir && megatest::is_area(&from);
    let read = |path: &Path| {
        read_text(path).map_err(|e| Complaint::usage(format!("cannot read `{}`", path.display())).because(e))
    };
    let user = match (&context.settings.origin, Settings::path()) {
        (Some(path), Some(_)) => Some((path.display().to_string(), read(path)?)),
        _ => None,
    };
    let mut layers = Vec::new();
    if let Some((name, text)) = &user {
        layers.push(Layer { name, text, kind: LayerKind::User });
    }
    layers.extend(flags.iter().map(|f| Layer { name: f.name, text: &f.toml, kind: LayerKind::Flag }));
    if is_megatest {
        return megatest::load(context, dir, target, &layers, purpose);
    }
    let file = own?;
    let text = read(&file)?;
    let name = file.strip_prefix(&from).unwrap_or(&file).display().to_string();
    layers.push(Layer { name: &name, text: &text, kind: LayerKind::Project });
    let target: Vec<String> = target.map(|t| t.split('/').map(str::to_owned).collect()).unwrap_or_default();
    let process_env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let included = RefCell::new(Vec::new());
    let files = |path: &str| {
        included.borrow_mut().push(path.to_owned());
        read_text(&from.join(path))
    };
    let area_name = dir.file_name().map_or_else(|| "area".to_owned(), |n| n.to_string_lossy().into_owned());
    let load_context = LoadContext {
        area_name: &area_name,
        target: &target,
        process_env: &process_env,
        facts: &facts(),
        files: &files,
    };
    match muster_formats::area::load(&layers, &load_context) {
        Ok(loaded) => {
            tell(context, &loaded.warnings);
            super::zone::check(&loaded.area)?;
            let mut configuration = included.take();
            configuration.push(name);
            Ok(Area { dir, loaded, configuration, megatest: None })
        }
        Err(errors) => {
            tell(context, &errors);
            Err(Complaint::said(ExitCode::Usage).into())
        }
    }
}

/// Reads a text, and says where it is none.
fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(std::fs::read(path)?).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let good = String::from_utf8_lossy(good);
        let line = good.matches('\n').count() + 1;
        let column = good.chars().rev().take_while(|c| *c != '\n').count() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("line {line}, column {column} is not UTF-8"))
    })
}

/// What is wrong with a configuration, for people.
pub(crate) fn tell(context: &Context, errors: &[ConfigError]) {
    let mut err = context.stderr();
    for error in errors {
        // Nobody is left to tell if standard error is closed; the exit code still says it.
        drop(writeln!(err, "{error}"));
    }
}

/// What is known of this machine and build, for conditions.
pub(crate) fn facts() -> Facts {
    let mut facts = Facts::default();
    facts.set("os", std::env::consts::OS);
    facts.set("arch", std::env::consts::ARCH);
    facts.set("family", std::env::consts::FAMILY);
    facts.set("hostname", hostname());
    facts.set("cores", i64::from(cores()));
    facts.set("ci", std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false"));
    facts.set("root", rustix::process::geteuid().is_root());
    facts
}

/// The machine's name.
pub(crate) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Cores this process may use.
pub(crate) fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
}
