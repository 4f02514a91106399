//! What every command is given: where it works, how it prints, and the way to the records.

use crate::cli::Global;
use crate::error::Complaint;
use crate::settings::{ColorWhen, Settings};
use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;
use muster_core::outcome::ExitCode;
use muster_formats::megatest::MAIN_FILE;
use std::io::{IsTerminal as _, StderrLock, StdoutLock};
use std::path::{Path, PathBuf};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OutputMode {
    /// Tables and sentences
    #[default]
    Human,
    /// JSON on standard output
    Json,
    /// Only what is wrong; the exit code tells the rest
    Quiet,
}

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// The directory to work in, absolute.
    pub(crate) dir: PathBuf,
    /// How results are printed.
    pub(crate) output: OutputMode,
    /// When colours are used.
    pub(crate) color: ColorWhen,
    /// The server whose lab is meant; `None`: this machine.
    pub(crate) server: Option<String>,
    /// What it is asked with.
    pub(crate) token_file: Option<PathBuf>,
    /// By what it is known.
    pub(crate) ca_file: Option<PathBuf>,
    /// The user's settings; the defaults with `--no-config`.
    pub(crate) settings: Settings,
}

impl Context {
    /// Works out the context from the flags, the environment (which clap has read already) and the
    /// user's configuration.
    ///
    /// # Errors
    /// The directory is not there, or the user's configuration cannot be read.
    pub(crate) fn new(global: &Global) -> Result<Self, anyhow::Error> {
        let here = std::env::current_dir()
            .map_err(|e| Complaint::usage("the current directory cannot be read").because(e))?;
        let dir = match &global.dir {
            None => here,
            Some(dir) => here.join(dir),
        };
        if !dir.is_dir() {
            return Err(Complaint::usage(format!("`{}` is not a directory", dir.display())).into());
        }
        let settings = if global.no_config { Settings::default() } else { Settings::load()? };
        Ok(Self {
            dir,
            output: global.output.or(settings.output).unwrap_or_default(),
            color: global.color.or(settings.color).unwrap_or_default(),
            server: global.server.clone().filter(|s| !s.is_empty()),
            token_file: global.token_file.clone().filter(|f| !f.as_os_str().is_empty()),
            ca_file: global.ca_file.clone().filter(|f| !f.as_os_str().is_empty()),
            settings,
        })
    }

    /// How Muster is called in commands that are shown: with `-C DIR` where it works elsewhere, with
    /// `--server URL` where the environment would not say so.
    pub(crate) fn program(&self) -> String {
        let program = self.program_here();
        match &self.server {
            Some(server) if std::env::var("MUSTER_SERVER").as_ref() != Ok(server) => {
                format!("{program} --server {}", crate::terminal::text::quoted(server))
            }
            Some(_) | None => program,
        }
    }

    /// The certificates of the authorities by which those are known that files and packages are fetched from:
    /// what was typed, else what the environment or the user's configuration names; `None`: the system's.
    pub(crate) fn fetch_ca(&self, typed: Option<&Path>) -> Option<PathBuf> {
        let of_environment =
            || std::env::var_os("MUSTER_FETCH_CA_FILE").filter(|f| !f.is_empty()).map(PathBuf::from);
        let named = typed.map(Path::to_owned).or_else(of_environment);
        named.or_else(|| self.settings.fetch_ca_file.clone()).map(|file| self.dir.join(file))
    }

    fn program_here(&self) -> String {
        match std::env::current_dir() {
            Ok(here) if here != self.dir => {
                let dir = self.dir.strip_prefix(&here).unwrap_or(&self.dir).to_string_lossy().into_owned();
                format!("muster -C {}", crate::terminal::text::quoted(&dir))
            }
            Ok(_) | Err(_) => "muster".to_owned(),
        }
    }

    /// Standard output, for data. Colour codes are taken out where they are not wanted.
    pub(crate) fn stdout(&self) -> AutoStream<StdoutLock<'static>> {
        let out = std::io::stdout().lock();
        AutoStream::new(out, self.color.choice())
    }

    /// Standard error, for talk.
    pub(crate) fn stderr(&self) -> AutoStream<StderrLock<'static>> {
        let err = std::io::stderr().lock();
        AutoStream::new(err, self.color.choice())
    }

    /// Whether colours are wanted on standard error, for those that draw there themselves.
    pub(crate) fn stderr_has_color(&self) -> bool {
        self.has_color(AutoStream::choice(&std::io::stderr()))
    }

    /// Whether colours are wanted on standard output.
    pub(crate) fn stdout_has_color(&self) -> bool {
        self.has_color(AutoStream::choice(&std::io::stdout()))
    }

    fn has_color(&self, by_itself: ColorChoice) -> bool {
        match self.color.choice() {
            ColorChoice::Auto => by_itself != ColorChoice::Never,
            ColorChoice::Never => false,
            ColorChoice::Always | ColorChoice::AlwaysAnsi => true,
        }
    }

    /// Whether a live view can be drawn on standard error.
    pub(crate) fn stderr_is_live(&self) -> bool {
        std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
    }

    /// Whether standard output is a terminal.
    pub(crate) fn stdout_is_terminal(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// Whether colours were asked for or forbidden, so that the default is not to be used.
    pub(crate) fn color_is_set(&self) -> bool {
        self.color != ColorWhen::Auto
    }

    /// Columns of standard output.
    pub(crate) fn stdout_width(&self) -> usize {
        crate::terminal::width_of(&std::io::stdout())
    }

    /// Columns of standard error.
    pub(crate) fn stderr_width(&self) -> usize {
        crate::terminal::width_of(&std::io::stderr())
    }

    /// The directory of the area at hand: the closest one, going up, that has a `muster.toml`, a
    /// `.config/muster.toml`, a Megatest area's `megatest.config`, or records.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn area_dir(&self) -> Result<PathBuf, anyhow::Error> {
        // A run directory of a Megatest test has something of that name too.
        let has_records = |dir: &Path| {
            let records = dir.join(RECORDS);
            records.is_dir() && !records.join(ATTEMPT).exists()
        };
        let has = |dir: &Path| {
            [FILE, OTHER_FILE, MAIN_FILE].iter().any(|f| dir.join(f).is_file()) || has_records(dir)
        };
        let found = self.dir.ancestors().find(|dir| has(dir)).map(Path::to_path_buf);
        // Run directories may be on disks that are nowhere near their area, which tells its tests where it is.
        let of_test = || std::env::var_os("MT_RUN_AREA_HOME").map(PathBuf::from);
        found.or_else(|| of_test().filter(|dir| dir.join(MAIN_FILE).is_file())).ok_or_else(|| {
            Complaint::usage(format!("there is no `{FILE}` in `{}` or above it", self.dir.display()))
                .hint("write one (see docs/reference/muster-toml.md), or name the area's directory with `-C DIR`")
                .into()
        })
    }
}

/// The configuration file of the area in this directory.
///
/// # Errors
/// There is none.
pub(crate) fn area_file(dir: &Path) -> Result<PathBuf, anyhow::Error> {
    [FILE, OTHER_FILE].iter().map(|f| dir.join(f)).find(|f| f.is_file()).ok_or_else(|| {
        Complaint::new(ExitCode::Usage, format!("`{}` has records but no `{FILE}`", dir.display()))
            .hint(format!("bring `{FILE}` back, or name another directory with `-C DIR`"))
            .into()
    })
}

/// The file that makes a directory an area.
pub(crate) const FILE: &str = "muster.toml";

/// Where it may be instead.
pub(crate) const OTHER_FILE: &str = ".config/muster.toml";

/// In the `.muster` of a run directory of a Megatest test: the number of the attempt that set it up.
pub(crate) const ATTEMPT: &str = "attempt";

/// Where the records are, beside it.
pub(crate) const RECORDS: &str = ".muster";
