//! What a package is called, and how one is asked for.

use super::error::PackageError;
use muster_core::digest::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a package is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The program that runs tests on a device.
    Client,
    /// A test.
    Test,
    /// What tests need: tools, libraries, data.
    Dep,
    /// What watches a device while a test runs.
    Profiler,
    /// What is tested.
    Build,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Client, Self::Test, Self::Dep, Self::Profiler, Self::Build];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Test => "test",
            Self::Dep => "dep",
            Self::Profiler => "profiler",
            Self::Build => "build",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|k| k.word() == text).ok_or_else(|| {
            format!("`{text}` is no kind of package; there are client, test, dep, profiler and build")
        })
    }
}

/// What a manifest says of the whole package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// What it is for.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its version; empty where it has none.
    pub version: String,
    /// The packages it needs, sorted.
    pub deps: Vec<Reference>,
    /// For which devices it is: CEL over the facts of one; empty for all.
    pub platform: String,
    /// A line for the shell that is run in the package after it was unpacked; empty for none.
    pub install: String,
    /// A line for the shell that says by its exit code whether the package works here; empty for none.
    pub check: String,
}

impl About {
    /// A package of which nothing else is said.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            version: String::new(),
            deps: Vec::new(),
            platform: String::new(),
            install: String::new(),
            check: String::new(),
        }
    }

    /// Whether this can be what it says.
    ///
    /// # Errors
    /// A name, version or line that cannot be.
    pub fn check(&self) -> Result<(), String> {
        name(&self.name)?;
        version(&self.version)?;
        if !self.deps.is_sorted_by(|a, b| a < b) {
            return Err("the packages that it needs are not sorted, or one is there twice".to_owned());
        }
        for line in [&self.platform, &self.install, &self.check] {
            if line.len() > LINE_BYTES_MAX || line.contains('\0') {
                return Err(format!("a line is longer than {LINE_BYTES_MAX} bytes, or holds NUL"));
            }
        }
        Ok(())
    }

    /// How exactly this one is asked for.
    pub fn reference(&self) -> Reference {
        let wanted =
            if self.version.is_empty() { Wanted::Newest } else { Wanted::Version(self.version.clone()) };
        Reference { kind: self.kind, name: self.name.clone(), wanted }
    }
}

/// Longest name or version, in bytes.
// Limit: they are names of files, with something put in front and behind.
const NAME_BYTES_MAX: usize = 120;
/// Longest condition or hook, in bytes.
// Limit: what is longer is a script, and scripts are files.
const LINE_BYTES_MAX: usize = 8_192;

fn name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
        return Err(format!("`{}` is no name of a package: letters, digits and `._+-`", name.escape_debug()));
    }
    if name.starts_with(['.', '-', '+']) {
        return Err(format!("`{name}` is no name of a package: it begins with a letter or digit"));
    }
    Ok(())
}

fn version(version: &str) -> Result<(), String> {
    if version.is_empty() {
        return Ok(());
    }
    name(version).map_err(|_| {
        format!(
            "`{}` is no version: letters, digits and `._+-`, a letter or digit first",
            version.escape_debug()
        )
    })?;
    // It would be taken for a digest.
    if version.parse::<Digest>().is_ok() {
        return Err("a version does not look like a digest".to_owned());
    }
    Ok(())
}

/// A package that is asked for: `KIND:NAME`, with `@VERSION` or `@DIGEST` where one is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Which of those of this name.
    pub wanted: Wanted,
}

/// Which of the packages of one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wanted {
    /// The one that was published last.
    Newest,
    /// The one with this version.
    Version(String),
    /// Exactly this one.
    Exactly(Digest),
}

impl Reference {
    /// `KIND:NAME`, without the version.
    pub fn title(&self) -> String {
        format!("{}:{}", self.kind, self.name)
    }

    /// The directory that the installed package is found at, below that of all packages: `KIND/NAME`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)?;
        match &self.wanted {
            Wanted::Newest => Ok(()),
            Wanted::Version(version) => write!(f, "@{version}"),
            Wanted::Exactly(digest) => write!(f, "@{digest}"),
        }
    }
}

impl FromStr for Reference {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, PackageError> {
        let wrong = |why: String| PackageError::Asked(why);
        let (kind, rest) = text.split_once(':').ok_or_else(|| {
            wrong(format!("`{text}` is not a package: write KIND:NAME, such as `dep:{text}`"))
        })?;
        let kind = kind.parse().map_err(wrong)?;
        let (title, wanted) = match rest.split_once('@') {
            None => (rest, Wanted::Newest),
            Some((title, which)) => match which.parse() {
                Ok(digest) => (title, Wanted::Exactly(digest)),
                Err(_) if which.is_empty() => {
                    return Err(wrong(format!("`{text}` says no version behind `@`")));
                }
                Err(_) => {
                    version(which).map_err(wrong)?;
                    (title, Wanted::Version(which.to_owned()))
                }
            },
        };
        name(title).map_err(wrong)?;
        Ok(Self { kind, name: title.to_owned(), wanted })
    }
}

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_its_text() {
        let digest = "ab".repeat(32);
        for text in ["dep:chrome_test", "test:login@1.2-3+b", &format!("build:x@{digest}")] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        for bad in
            ["login", "tests:a", "dep:", "dep:a/b", "dep:..", "dep:-a", "dep:a@", "dep:a@b/c", "dep:a b"]
        {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
