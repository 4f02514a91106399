//! Autotest's packages and repositories, as its packager and its clients read and write them.

pub mod checksums;
pub mod exclude;
mod files;
mod name;
mod pack;
pub mod tree;
mod unpack;

pub use checksums::{Checksums, Md5};
pub use exclude::Exclude;
pub use name::{BadName, Kind, PackageName, SUFFIX, UrlTest, is_publishable};
pub use pack::{Built, PackError, Source, build};
pub use unpack::{BYTES_MAX, UnpackError, Unpacked, unpack};
