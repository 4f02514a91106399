//! What can be wrong with packages, told so that people can do something about it.

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why something cannot be done with a package.
#[derive(Debug, Error)]
pub enum PackageError {
    /// The system says no about a path.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// What was used.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A folder holds what cannot be in a package.
    #[error("`{path}` cannot be in a package: {why}")]
    Unpackable {
        /// Relative to the folder.
        path: String,
        /// What is the matter with it.
        why: &'static str,
    },
    /// What was asked for is not there.
    #[error("{what} is not in {place}")]
    Missing {
        /// A package or an object.
        what: String,
        /// A repository or a directory.
        place: String,
    },
    /// What is there is not what it should be.
    #[error("{what} in {place} is damaged: {why}")]
    Damaged {
        /// The object.
        what: String,
        /// Where it is.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// A repository does not answer, or no longer.
    #[error("{place} cannot be reached: {why}")]
    Unreachable {
        /// The repository.
        place: String,
        /// What happened.
        why: String,
    },
    /// Bytes are missing that no repository has whole.
    #[error("{package} cannot be had whole: {chunks} of its chunks are missing or damaged everywhere")]
    Incomplete {
        /// Which package.
        package: String,
        /// How many chunks.
        chunks: usize,
        /// What was found wrong on the way.
        #[source]
        last: Option<Box<PackageError>>,
    },
    /// What is to be kept has not all of its bytes there.
    #[error("`{package}` needs {chunks} chunks that are not there")]
    Lacking {
        /// Which package.
        package: String,
        /// How many chunks.
        chunks: usize,
    },
    /// It does not fit.
    #[error("`{}` has {free} bytes free, and {needed} are needed", dir.display())]
    NoRoom {
        /// Where to.
        dir: PathBuf,
        /// How many bytes are needed.
        needed: u64,
        /// How many there are.
        free: u64,
    },
    /// This version is another package already.
    #[error("{package} is published already, as {digest}")]
    Published {
        /// Kind, name and version.
        package: String,
        /// What it is.
        digest: String,
    },
    /// A hook of the package failed.
    #[error("the {hook} hook of {package} failed: {why}")]
    Hook {
        /// `install` or `check`.
        hook: &'static str,
        /// Whose.
        package: String,
        /// How it ended, with the last it printed.
        why: String,
    },
    /// A device, or the way to it.
    #[error("device `{device}` could not {doing}")]
    Device {
        /// Its address.
        device: String,
        /// What was to be done, as in "look at its files".
        doing: String,
        /// What happened.
        source: crate::own::FarError,
    },
    /// It was asked for in a way that means nothing.
    #[error("{0}")]
    Asked(String),
}

impl PackageError {
    pub(super) fn damaged(what: impl Into<String>, place: impl Into<String>, why: impl ToString) -> Self {
        Self::Damaged { what: what.into(), place: place.into(), why: why.to_string() }
    }

    /// Whether somebody asked for what cannot be, rather than that something failed.
    pub fn is_askers_fault(&self) -> bool {
        match self {
            Self::Unpackable { .. } | Self::Missing { .. } | Self::Published { .. } | Self::Asked(_) => true,
            Self::Io { .. }
            | Self::Damaged { .. }
            | Self::Unreachable { .. }
            | Self::Incomplete { .. }
            | Self::Lacking { .. }
            | Self::NoRoom { .. }
            | Self::Device { .. }
            | Self::Hook { .. } => false,
        }
    }
}

/// Says which path an error is about.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> Result<T, PackageError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, path: &Path) -> Result<T, PackageError> {
        self.map_err(|e| PackageError::Io { path: path.to_owned(), source: e.into() })
    }
}
