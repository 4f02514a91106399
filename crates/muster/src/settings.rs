//! The user's own settings: `$XDG_CONFIG_HOME/muster/config.toml`.
//!
//! They are about the person and the machine (how to print, how many jobs), not about tests: those are
//! the area's. Flags and the environment come before them, and so does what the area says.

use crate::context::OutputMode;
use crate::error::Complaint;
use crate::terminal::Progress;
use anstream::ColorChoice;
use clap::ValueEnum;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ColorWhen {
    /// On a terminal, unless the environment says otherwise
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColorWhen {
    /// What the stream is told.
    pub(crate) fn choice(self) -> ColorChoice {
        match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        }
    }
}

/// The user's settings; each may be absent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    /// How results are printed.
    pub(crate) output: Option<OutputMode>,
    /// When colours are used.
    pub(crate) color: Option<ColorWhen>,
    /// What is shown of a run under way.
    pub(crate) progress: Option<Progress>,
    /// Attempts at once, where the area says nothing.
    pub(crate) jobs: Option<NonZeroU32>,
    /// What servers are asked with, by their address.
    pub(crate) servers: BTreeMap<String, ServerTrust>,
    /// Areas by the names they are known by in lists of several.
    pub(crate) areas: BTreeMap<String, AreaPlace>,
    /// The certificate of the authority of servers that builds and tests are fetched from.
    pub(crate) fetch_ca_file: Option<PathBuf>,
    /// Limits for every area; read with the area's own.
    limits: IgnoredAny,
    /// Defaults for every area's tests; read with the area's own.
    defaults: IgnoredAny,
    /// Where they were read from.
    #[serde(skip)]
    pub(crate) origin: Option<PathBuf>,
}

/// Where an area is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum AreaPlace {
    /// Its directory.
    Dir(PathBuf),
    /// Its directory, and words that several areas may have.
    Tagged(TaggedArea),
}

/// An area with tags.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaggedArea {
    path: PathBuf,
    #[serde(default)]
    tags: Vec<String>,
}

impl AreaPlace {
    /// Its directory and its tags.
    pub(crate) fn parts(&self) -> (&Path, &[String]) {
        match self {
            Self::Dir(path) => (path, &[]),
            Self::Tagged(area) => (&area.path, &area.tags),
        }
    }
}

/// What a server is asked with.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ServerTrust {
    /// The file with the token.
    pub(crate) token_file: Option<PathBuf>,
    /// The certificate of its authority.
    pub(crate) ca_file: Option<PathBuf>,
}

impl Settings {
    /// Reads the user's settings; no file means none.
    ///
    /// # Errors
    /// The file is there and cannot be read or understood.
    pub(crate) fn load() -> Result<Self, anyhow::Error> {
        let Some(path) = Self::path() else { return Ok(Self::default()) };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => {
                return Err(Complaint::usage(format!("cannot read `{}`", path.display()))
                    .because(e)
                    .hint("`--no-config` goes without it")
                    .into());
            }
        };
        let mut settings: Self = toml::from_str(&text).map_err(|e| {
            Complaint::usage(format!("`{}` is not understood", path.display()))
                .because(OneLine(e.to_string()))
                .hint("known keys are `output`, `color`, `progress`, `jobs`, `fetch-ca-file`, `[areas]`, `[servers]`, `[limits]` and `[defaults]`; `--no-config` goes without the file")
        })?;
        settings.origin = Some(path);
        Ok(settings)
    }

    /// Where they are: `$XDG_CONFIG_HOME/muster/config.toml`, by default below `~/.config`.
    pub(crate) fn path() -> Option<PathBuf> {
        let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|h| h.join(".config")))?;
        Some(base.join("muster").join("config.toml"))
    }
}

/// Where a part of Muster that runs for long keeps its state: `$XDG_STATE_HOME/muster/NAME`, by default
/// below `~/.local/state`.
///
/// # Errors
/// There is no home directory.
pub(crate) fn state_dir(name: &str) -> Result<PathBuf, anyhow::Error> {
    let base = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|h| h.join(".local/state")));
    let none = || {
        Complaint::usage("there is no home directory to keep state in")
            .hint("name a directory: `--data` or `--state`")
    };
    Ok(base.ok_or_else(none)?.join("muster").join(name))
}

/// Where Muster keeps what can be had again: `$XDG_CACHE_HOME/muster/NAME`, by default below `~/.cache`.
///
/// # Errors
/// There is no home directory.
pub(crate) fn cache_dir(name: &str) -> Result<PathBuf, anyhow::Error> {
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|h| h.join(".cache")));
    let none = || {
        Complaint::usage("there is no home directory to install packages in")
            .hint("name a directory: `--into`, or XDG_CACHE_HOME")
    };
    Ok(base.ok_or_else(none)?.join("muster").join(name))
}

fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute())
}

/// A message of several lines, as one.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.trim())]
struct OneLine(String);
