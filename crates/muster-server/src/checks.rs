//! How devices are checked: the kinds that the server was given, and the files that checks find on the host.
//!
//! ```text
//! DATA/kinds.toml   kinds of devices; without it, those of muster_formats::area::kinds::DEFAULT
//! DATA/checks/      packed when the server starts; the directory that verifiers and repairs are run in
//! ```

use crate::blobs::{BlobError, Blobs};
use muster_core::change::{Placement, RunRecord, RunSpec};
use muster_core::definition::{AreaLimits, UnexpectedPass};
use muster_core::digest::Digest;
use muster_core::id::RunId;
use muster_core::kind::{DeviceKind, HEALTH_AREA};
use muster_core::lab::{THE_LAB, WantedCheck};
use muster_core::plan::{PlanError, plan};
use muster_core::select::Selection;
use muster_core::time::Time;
use muster_formats::area::{ConfigError, kinds};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tar::{Builder, Header};
use thiserror::Error;
use uuid::Uuid;

/// Largest packed directory of checks.
// Limit: it is in memory once, when the server starts.
const CHECKS_BYTES_MAX: u64 = 64 << 20;

/// Why checks cannot be made of what the server was given.
#[derive(Debug, Error)]
pub enum ChecksError {
    /// The file of the kinds is wrong.
    #[error("`{}` cannot be used", path.display())]
    Kinds {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        errors: Vec<ConfigError>,
    },
    /// A file cannot be read.
    #[error("`{}` cannot be read: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The packed directory cannot be kept.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// How devices are checked.
#[derive(Clone, Debug)]
pub(crate) struct Checks {
    pub(crate) kinds: Arc<[DeviceKind]>,
    /// The packed directory.
    source: Digest,
}

impl Checks {
    /// Reads what is in the server's directory.
    ///
    /// # Errors
    /// [`ChecksError`].
    pub(crate) fn load(data_dir: &Path, blobs: &Blobs) -> Result<Self, ChecksError> {
        let path = data_dir.join("kinds.toml");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => kinds::DEFAULT.to_owned(),
            Err(source) => return Err(ChecksError::Io { path, source }),
        };
        let kinds = kinds::load(&path.to_string_lossy(), &text)
            .map_err(|errors| ChecksError::Kinds { path: path.clone(), errors })?;
        let dir = data_dir.join("checks");
        let packed = pack(&dir).map_err(|source| ChecksError::Io { path: dir, source })?;
        let source = Digest(*blake3::hash(&packed).as_bytes());
        if blobs.find(source)?.is_none() {
            let mut incoming = blobs.begin(source, CHECKS_BYTES_MAX)?;
            incoming.push(&packed)?;
            incoming.finish()?;
        }
        Ok(Self { kinds: kinds.into(), source })
    }

    /// A check as a run.
    ///
    /// # Errors
    /// Its verifiers cannot be put in an order.
    pub(crate) fn record(&self, at: Time, number: u32, wanted: WantedCheck) -> Result<RunRecord, PlanError> {
        let WantedCheck { device: _, name, area, selector } = wanted;
        let selection = Selection::default();
        let plan = plan(&area, &selection, &(), &|_| Ok(false))?;
        let id = Uuid::now_v7();
        let spec = RunSpec {
            name,
            area: HEALTH_AREA.to_owned(),
            target: Vec::new(),
            area_dir: String::new(),
            host: String::new(),
            env: Vec::new(),
            limits: AreaLimits::default(),
            unexpected_pass: UnexpectedPass::default(),
            selection,
            failures_max: None,
            trace_id: format!("{:032x}", Uuid::now_v7().as_u128()),
            placement: Placement {
                user: THE_LAB.to_owned(),
                selector,
                source: Some(self.source),
                ..Placement::default()
            },
            inputs: muster_core::inputs::Inputs::default(),
            zone: muster_core::hours::Zone::default(),
            parts: Vec::new(),
        };
        let (spec, plan) = (Arc::new(spec), Arc::new(plan));
        Ok(RunRecord { id: RunId(id.as_u128()), number, created: at, spec, plan })
    }
}

/// The files of a directory, the same bytes for the same files; an empty archive where it is not there.
fn pack(dir: &Path) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(zstd::Encoder::new(Vec::new(), 3)?);
    if dir.is_dir() {
        add(&mut tar, dir, Path::new(""))?;
    }
    tar.into_inner()?.finish()
}

fn add<W: io::Write>(tar: &mut Builder<W>, dir: &Path, inside: &Path) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), inside.join(entry.file_name()));
        let meta = fs::metadata(&path)?;
        let mut header = Header::new_gnu();
        header.set_metadata_in_mode(&meta, tar::HeaderMode::Deterministic);
        if meta.is_dir() {
            header.set_size(0);
            tar.append_data(&mut header, &name, io::empty())?;
            add(tar, &path, &name)?;
        } else if meta.is_file() {
            let bytes = fs::read(&path)?;
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, &name, &bytes[..])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_files_are_found_in_the_server_s_directory_and_errors_say_where() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path().join("blobs")).unwrap();
        let without = Checks::load(dir.path(), &blobs).unwrap();
        assert_eq!(without.kinds[0].name, "device");
        fs::create_dir_all(dir.path().join("checks/sub")).unwrap();
        fs::write(dir.path().join("checks/sub/link.sh"), "exit 0").unwrap();
        fs::write(dir.path().join("kinds.toml"), "[kind.board]\nmatch = 'true'\n").unwrap();
        let with = Checks::load(dir.path(), &blobs).unwrap();
        assert_eq!(with.kinds[0].name, "board");
        assert_ne!(with.source, without.source);
        assert_eq!(with.source, Checks::load(dir.path(), &blobs).unwrap().source, "the same files");
        assert!(blobs.find(with.source).unwrap().is_some());
        fs::write(dir.path().join("kinds.toml"), "[kind.board]\nmtach = 'true'\n").unwrap();
        let Err(ChecksError::Kinds { errors, .. }) = Checks::load(dir.path(), &blobs) else { panic!() };
        let all: String = errors.iter().map(ToString::to_string).collect();
        assert!(all.contains("did you mean `match`?"), "{all}");
    }
}
