//! What a run is given from outside: the build that is tested, the tests, the change they are of.
//!
//! Fetching is somebody else's: here is only what was fetched, by its digest, and where it lies on the host
//! of a device.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};

/// What a run is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// What is tested.
    pub build: Option<Package>,
    /// The area, where it was fetched rather than found in a directory.
    pub tests: Option<Package>,
    /// The change that build and tests are of, as whoever asked calls it; empty where nobody said.
    pub changeset: String,
    /// Packages that its tests find installed, in the order in which they were asked for.
    #[serde(default)]
    pub packages: Vec<Needed>,
    /// What watches each attempt on its host: by name what Muster has built in, as `profiler:NAME` a package.
    #[serde(default)]
    pub profilers: Vec<String>,
}

/// The profilers that are built in.
pub const PROFILERS: [&str; 4] = ["iostat", "perf", "proc-sampler", "strace"];

/// A package that is installed before anything of a run starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    /// What it is for, as it is written: `dep`.
    pub kind: String,
    /// Its name: letters, digits and `._+-`.
    pub name: String,
    /// Its version; empty where it has none.
    pub version: String,
    /// What it is.
    pub digest: Digest,
    /// The folder it was made of for this run, where it is not a published one.
    #[serde(default)]
    pub local: String,
    /// The repositories it can be had from: their URLs, and [`Needed::LAB`].
    #[serde(default)]
    pub from: Vec<String>,
    /// The tests that need it; empty: all of the run.
    #[serde(default)]
    pub tests: Vec<String>,
}

impl Needed {
    /// As it was asked for, with its version: `dep:chrome_test@1.2`.
    pub fn title(&self) -> String {
        let Self { kind, name, version, .. } = self;
        if version.is_empty() { format!("{kind}:{name}") } else { format!("{kind}:{name}@{version}") }
    }

    /// The directory where tests find it, in the directory of its run.
    pub fn dir(&self) -> String {
        format!("{}/{}/{}", Self::DIR, self.kind, self.name)
    }

    /// How the store of a lab's own server is called among repositories.
    pub const LAB: &str = "lab";

    /// Whether the store of the lab's own server is the only one it can be had from.
    pub fn is_of_lab_alone(&self) -> bool {
        !self.from.is_empty() && self.from.iter().all(|from| from == Self::LAB)
    }

    /// Whether the store of the lab's own server is one of those it can be had from.
    pub fn may_be_of_lab(&self) -> bool {
        self.from.iter().any(|from| from == Self::LAB)
    }

    /// The directory of all packages, in the directory of a run.
    pub const DIR: &str = "packages";

    /// The variable that says so to tests: `MUSTER_PACKAGE_DEP_CHROME_TEST`.
    pub fn variable(&self) -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        format!("MUSTER_PACKAGE_{}_{}", self.kind, self.name).chars().map(word).collect()
    }
}

/// Bytes that were fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Where they came from, without what may be secret: user, password, query.
    pub url: String,
    /// The last part of that, a plain file name. What it ends with says how it is packed.
    pub name: String,
    /// What they are.
    pub digest: Digest,
    /// How many there are.
    pub bytes: u64,
    /// The directory in it that all of it is in, where that is not its own root; else empty.
    #[serde(default)]
    pub root: String,
}

/// How a package is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all: it is what it is.
    Plain,
    /// tar.
    Tar,
    /// tar, compressed by gzip.
    TarGz,
    /// tar, compressed by Zstandard.
    TarZst,
    /// ZIP.
    Zip,
}

impl Packing {
    /// By the end of the name. What is packed in the same way and is meant to stay so (`.apk`, `.jar`,
    /// `.whl`) has another.
    pub fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let ends = |ends: &[&str]| ends.iter().any(|e| name.ends_with(e));
        match () {
            () if ends(&[".tar.gz", ".tgz"]) => Self::TarGz,
            () if ends(&[".tar.zst", ".tzst"]) => Self::TarZst,
            () if ends(&[".tar"]) => Self::Tar,
            () if ends(&[".zip"]) => Self::Zip,
            () => Self::Plain,
        }
    }
}

impl Package {
    /// Longest name, in bytes.
    // Limit: what file systems take, with room for what is put behind it.
    pub const NAME_BYTES_MAX: usize = 200;

    /// Whether this can be the name of a file and nothing else.
    pub fn is_name(name: &str) -> bool {
        !matches!(name, "" | "." | "..")
            && name.len() <= Self::NAME_BYTES_MAX
            && !name.starts_with('-')
            && !name.contains(|c: char| c == '/' || c.is_control())
    }

    /// The file, in the directory of its run.
    pub fn file(&self) -> String {
        format!("build/{}", self.name)
    }

    /// The directory it is unpacked to, in the directory of its run; that of the file where it is not packed.
    pub fn dir(&self) -> String {
        match Packing::of(&self.name) {
            Packing::Plain => "build".to_owned(),
            Packing::Tar | Packing::TarGz | Packing::TarZst | Packing::Zip => join("build.d", &self.root),
        }
    }
}

impl Inputs {
    /// The packages that a test finds installed.
    pub fn packages_of<'a>(&'a self, test: &'a str) -> impl Iterator<Item = &'a Needed> {
        self.packages.iter().filter(move |n| n.tests.is_empty() || n.tests.iter().any(|t| t == test))
    }

    /// What watches the attempts of a test that itself asks for these: each once.
    pub fn profilers_of<'a>(&'a self, own: &'a [String]) -> Vec<&'a str> {
        let mut all: Vec<&str> = Vec::new();
        for name in self.profilers.iter().chain(own) {
            if !all.contains(&name.as_str()) {
                all.push(name);
            }
        }
        all
    }

    /// Where an area that was fetched lies, in the directory of its run.
    pub fn area_dir(&self) -> Option<String> {
        self.tests.as_ref().map(|tests| join("tests", &tests.root))
    }
}

fn join(dir: &str, root: &str) -> String {
    if root.is_empty() { dir.to_owned() } else { format!("{dir}/{root}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_where_a_package_is() {
        let needed = Needed {
            kind: "dep".to_owned(),
            name: "chrome-test.x".to_owned(),
            version: "1".to_owned(),
            digest: Digest([0; 32]),
            local: String::new(),
            from: Vec::new(),
            tests: vec!["login".to_owned()],
        };
        assert_eq!(needed.title(), "dep:chrome-test.x@1");
        assert_eq!(needed.dir(), "packages/dep/chrome-test.x");
        assert_eq!(needed.variable(), "MUSTER_PACKAGE_DEP_CHROME_TEST_X");
        let inputs = Inputs { packages: vec![needed], ..Inputs::default() };
        assert_eq!(inputs.packages_of("login").count(), 1);
        assert_eq!(inputs.packages_of("logout").count(), 0);
    }

    #[test]
    fn what_is_meant_to_stay_packed_does() {
        for (name, packing) in [
            ("fennec.apk", Packing::Plain),
            ("vmlinux.gz", Packing::Plain),
            ("build.tar", Packing::Tar),
            ("build-1.2.TAR.GZ", Packing::TarGz),
            ("b.tgz", Packing::TarGz),
            ("b.tar.zst", Packing::TarZst),
            ("tests.zip", Packing::Zip),
        ] {
            assert_eq!(Packing::of(name), packing, "{name}");
        }
    }

    #[test]
    fn a_name_is_a_file_in_its_directory_and_nothing_else() {
        for good in ["a", "fennec-4.0b2.apk", "a b", ".hidden", "ü.zip"] {
            assert!(Package::is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "/etc", "a\0", "a\nb", "-rf", &"x".repeat(201)] {
            assert!(!Package::is_name(bad), "{bad:?}");
        }
    }
}
