//! Autotest's packages and repositories, as its packager and its clients read and write them.

mod autodir;
mod cache;
pub mod checksums;
mod dav;
mod elsewhere;
mod files;
mod get;
pub mod harness;
mod http;
mod location;
mod name;
mod pack;
mod publish;
pub mod revoked;
mod sources;
mod ssh;
mod staging;
pub mod tree;
mod unpack;

pub use autodir::{Autodir, How, InstallError, Installed, Options, forbids_programs};
pub use cache::{Cache, Measured};
pub use checksums::{Checksums, Md5};
pub use get::{GetError, Limits};
pub use location::{Location, NoLocation};
pub use name::{BadName, Kind, PackageName, SUFFIX, UrlTest, is_publishable};
pub use pack::{Built, PackError, Source, build};
pub use publish::{Damage, PublishError, Put, Removed, prune, remove, upload, verify};
pub use sources::{Candidate, Fetched, NotFetched, Sources, Tried};
pub use staging::{NoBuild, PACKAGES, StageError, StagedBuild};
pub use unpack::{BYTES_MAX, UnpackError, Unpacked, unpack};
