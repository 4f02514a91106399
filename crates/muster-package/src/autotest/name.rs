//! Names: `<type>-<name>.tar.bz2`, files beside them, and tests that are named by a URL.
//!
//! What Muster writes is stricter than what is out there: no character that a shell, the push protocol (whose
//! fields are separated by colons) or a file system could take for something else.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// What every package's file ends with.
pub const SUFFIX: &str = ".tar.bz2";
/// Longest name of a package, in bytes.
// Limit: with type, ending, and what is put before it while it is written, it must fit into 255.
const NAME_BYTES_MAX: usize = 200;

/// What a package is for, and where it is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The client itself: all but tests, dependencies and profilers.
    Client,
    /// One test.
    Test,
    /// What tests depend on.
    Dep,
    /// What measures while a test runs.
    Profiler,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Client, Self::Test, Self::Dep, Self::Profiler];

    /// The word of it, as in file names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Test => "test",
            Self::Dep => "dep",
            Self::Profiler => "profiler",
        }
    }
}

/// A package by its type and name. Written `test:sleeptest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName {
    kind: Kind,
    name: String,
}

/// What cannot be the name of a package, and why.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadName {
    /// Another type than the four.
    #[error("`{0}` is no type of package: there are `client`, `test`, `dep` and `profiler`")]
    Kind(String),
    /// A name with what is not allowed in it.
    #[error(
        "`{0}` cannot be the name of a package: letters, digits, `.`, `_`, `+` and `-`, at most {NAME_BYTES_MAX}, \
         and neither `.` nor `-` at its beginning"
    )]
    Name(String),
    /// Not the file of a package.
    #[error("`{0}` is not the file of a package, which is called `TYPE-NAME.tar.bz2`")]
    File(String),
    /// Not written as a package is.
    #[error("`{0}` is not a package: write `TYPE:NAME`, as in `test:sleeptest`")]
    Text(String),
    /// There is one client.
    #[error("the client is called `client:autotest`, not `client:{0}`")]
    Client(String),
}

impl PackageName {
    /// The package of this type and name.
    ///
    /// # Errors
    /// The name is none.
    pub fn new(kind: Kind, name: &str) -> Result<Self, BadName> {
        if !is_plain(name) {
            return Err(BadName::Name(name.to_owned()));
        }
        if kind == Kind::Client && name != "autotest" {
            return Err(BadName::Client(name.to_owned()));
        }
        Ok(Self { kind, name: name.to_owned() })
    }

    /// The one package that is the client.
    pub fn client() -> Self {
        Self { kind: Kind::Client, name: "autotest".to_owned() }
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file in a repository. The type ends at the first `-`, so a name may have more of them.
    pub fn file(&self) -> String {
        format!("{}-{}{SUFFIX}", self.kind.word(), self.name)
    }

    /// The package that a file of this name is.
    ///
    /// # Errors
    /// It is none.
    pub fn of_file(file: &str) -> Result<Self, BadName> {
        let bad = || BadName::File(file.to_owned());
        let (kind, name) = file.strip_suffix(SUFFIX).and_then(|f| f.split_once('-')).ok_or_else(bad)?;
        Self::new(kind_of(kind)?, name)
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.word(), self.name)
    }
}

impl FromStr for PackageName {
    type Err = BadName;

    /// `TYPE:NAME`.
    fn from_str(text: &str) -> Result<Self, BadName> {
        let (kind, name) = text.split_once(':').ok_or_else(|| BadName::Text(text.to_owned()))?;
        Self::new(kind_of(kind)?, name)
    }
}

fn kind_of(word: &str) -> Result<Kind, BadName> {
    Kind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| BadName::Kind(word.to_owned()))
}

fn is_plain(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._+-".contains(&c))
}

/// Whether a file of this name may be published: that of a package, or any other, as kernels and rpms are,
/// whose names may have `~` and `^` as well.
pub fn is_publishable(file: &str) -> bool {
    is_plain(&file.replace(['~', '^'], "_")) && file != super::checksums::FILE
}

/// A test that is named by where its package is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTest {
    /// Where it is.
    pub url: String,
    /// The directory for what comes from the same place.
    pub group: String,
    /// What it is called.
    pub name: String,
}

impl UrlTest {
    /// `None`: this is a plain name, or no package.
    ///
    /// Between `://` and the last `/` is the group, with `_` for what belongs in no word. Of the file's name
    /// a dot and digits at its end are taken away: a version, as in `foo.1234.tar.bz2`.
    pub fn of(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        if !matches!(scheme, "http" | "https" | "file") {
            return None;
        }
        let (place, file) = rest.rsplit_once('/')?;
        let stem = file.strip_suffix(SUFFIX)?;
        let name = match stem.rsplit_once('.') {
            Some((name, version)) if !version.is_empty() && version.bytes().all(|c| c.is_ascii_digit()) => {
                name
            }
            _ => stem,
        };
        let word = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
        let group: String = place.chars().map(word).collect();
        (is_plain(name) && !group.is_empty()).then(|| Self {
            url: text.to_owned(),
            group,
            name: name.to_owned(),
        })
    }

    /// Where it is installed, below the directory of tests.
    pub fn dir(&self) -> String {
        format!("download/{}/{}", self.group, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_split_at_the_first_dash() {
        let name = PackageName::of_file("test-a-b.tar.bz2").unwrap();
        assert_eq!((name.kind(), name.name()), (Kind::Test, "a-b"));
        assert_eq!(name.file(), "test-a-b.tar.bz2");
        assert_eq!(name.to_string(), "test:a-b");
        assert_eq!("test:a-b".parse(), Ok(name));
        assert_eq!(PackageName::client().file(), "client-autotest.tar.bz2");
    }

    #[test]
    fn what_crashes_others_is_an_error_here() {
        let kind = |word: &str| BadName::Kind(word.to_owned());
        let file = |file: &str| BadName::File(file.to_owned());
        for (text, why) in [
            ("-x.tar.bz2", kind("")),
            ("suite-x.tar.bz2", kind("suite")),
            ("test.tar.bz2", file("test.tar.bz2")),
            ("test-x.tar.gz", file("test-x.tar.gz")),
            ("packages.checksum", file("packages.checksum")),
            ("test-.tar.bz2", BadName::Name(String::new())),
            ("client-other.tar.bz2", BadName::Client("other".to_owned())),
        ] {
            assert_eq!(PackageName::of_file(text), Err(why), "{text}");
        }
    }

    /// Row 27: a name with `:`, `/`, `$` or a blank in it breaks shells and the push protocol.
    #[test]
    fn row_27_names_that_break_shells_and_protocols_are_refused() {
        let long = "x".repeat(201);
        for name in [
            "", "a:b", "a/b", "a$b", "a b", "a`b", "a\"b", "a\nb", "..", ".", ".x", "-x", "\u{fc}", "a\0",
            &long,
        ] {
            assert_eq!(PackageName::new(Kind::Test, name), Err(BadName::Name(name.to_owned())), "{name:?}");
        }
        for name in ["sleeptest", "a.b_c+d-e", "0", &"x".repeat(200)] {
            assert!(PackageName::new(Kind::Test, name).is_ok(), "{name}");
        }
        assert!(is_publishable("kernel-6.1~rc1-1.x86_64.rpm"));
        for file in ["packages.checksum", "a b", "../x", "", ".hidden"] {
            assert!(!is_publishable(file), "{file}");
        }
    }

    #[test]
    fn a_test_may_be_named_by_its_url() {
        let test = UrlTest::of("http://h:80/a/b-c/foo.1234.tar.bz2").unwrap();
        assert_eq!((test.group.as_str(), test.name.as_str()), ("h_80_a_b_c", "foo"));
        assert_eq!(test.dir(), "download/h_80_a_b_c/foo");
        assert_eq!(UrlTest::of("https://h/x.y.tar.bz2").unwrap().name, "x.y");
        for text in [
            "sleeptest",
            "http://h/a.tar.gz",
            "http://foo.tar.bz2",
            "ssh://h/a.tar.bz2",
            "http://h/...tar.bz2",
        ] {
            assert_eq!(UrlTest::of(text), None, "{text}");
        }
    }
}
