//! The packages that a server keeps: what is said of them. Their bytes go as the files of a repository.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A package of the server's store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageName {
    /// `KIND:NAME@VERSION`, or with the digest where it has no version.
    pub package: String,
    /// What it is.
    pub digest: String,
}

/// What publishing came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackagePublished {
    /// The package.
    #[serde(flatten)]
    pub name: PackageName,
    /// Whether it was published before.
    pub known: bool,
}

/// All but the newest of each name and platform are to be taken off the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrunePackages {
    /// How many of each stay.
    #[schemars(range(min = 1))]
    pub keep: u32,
}

/// What was taken off the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackagesRemoved {
    /// The packages.
    pub removed: Vec<PackageName>,
}

/// What was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackagesCollected {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packs of these that had something in them that is needed; it is in new ones now.
    pub repacked: u64,
    /// The bytes of those new ones.
    pub bytes_repacked: u64,
}
