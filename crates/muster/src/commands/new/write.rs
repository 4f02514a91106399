//! New files where there are none, and a table at the end of a `muster.toml` that stays good.

use crate::error::Complaint;
use crate::local::area::facts;
use crate::whole_file::beside;
use muster_formats::area::{Layer, LayerKind, LoadContext};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes files that are not there yet; if one is, none is written.
pub(super) fn all(dir: &Path, files: &[(String, String)]) -> Result<(), anyhow::Error> {
    if let Some((path, _)) = files.iter().find(|(path, _)| fs::symlink_metadata(dir.join(path)).is_ok()) {
        return Err(Complaint::usage(format!("`{}` is there already", dir.join(path).display()))
            .hint("nothing was written; choose another name, or edit that file")
            .into());
    }
    for (path, text) in files {
        let path = dir.join(path);
        self::dir(path.parent().unwrap_or(dir))?;
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let written = file.and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_all()));
        written.map_err(|e| cannot(&path, e))?;
    }
    Ok(())
}

pub(super) fn dir(path: &Path) -> Result<(), anyhow::Error> {
    fs::create_dir_all(path).map_err(|e| cannot(path, e))
}

fn cannot(path: &Path, error: io::Error) -> anyhow::Error {
    Complaint::usage(format!("`{}` cannot be written", path.display())).because(error).into()
}

/// Puts a test at the end of this file, if the area is as good as before with it.
pub(super) fn append(dir: &Path, file: &Path, test: &str, target: Option<&str>) -> Result<(), anyhow::Error> {
    let old = fs::read_to_string(file)
        .map_err(|e| Complaint::usage(format!("`{}` cannot be read", file.display())).because(e))?;
    if let Err(said) = check(dir, &old, target) {
        return Err(Complaint::usage(format!("`{}` has to be mended first: {said}", file.display()))
            .hint("`muster config check` tells all; `--target` names what it is looked at for")
            .into());
    }
    let end = if old.is_empty() || old.ends_with('\n') { "" } else { "\n" };
    let new = format!("{old}{end}{test}");
    check(dir, &new, target).map_err(|said| bad(&said))?;
    let write = || -> io::Result<()> {
        let place = fs::canonicalize(file)?;
        let mut whole = beside(&place)?;
        whole.write_all(new.as_bytes())?;
        let mode: Permissions = fs::metadata(&place)?.permissions();
        whole.as_file().set_permissions(mode)?;
        whole.as_file().sync_all()?;
        whole.persist(&place).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e| cannot(file, e))
}

pub(super) fn bad(said: &str) -> Complaint {
    Complaint::usage(format!("nothing was written: {said}"))
}

/// Whether this text is a good `muster.toml`; else what is wrong with it first.
pub(super) fn check(dir: &Path, text: &str, target: Option<&str>) -> Result<(), String> {
    let target: Vec<String> = target.map(|t| t.split('/').map(str::to_owned).collect()).unwrap_or_default();
    let env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let files = |path: &str| fs::read_to_string(dir.join(path));
    let name = dir.file_name().map_or_else(|| "area".to_owned(), |n| n.to_string_lossy().into_owned());
    let context =
        LoadContext { area_name: &name, target: &target, process_env: &env, facts: &facts(), files: &files };
    let layer = Layer { name: "muster.toml", text, kind: LayerKind::Project };
    match muster_formats::area::load(&[layer], &context) {
        Ok(_) => Ok(()),
        Err(errors) => Err(errors.first().map(ToString::to_string).unwrap_or_default()),
    }
}
