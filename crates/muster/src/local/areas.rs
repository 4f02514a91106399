//! The areas a person knows by name: those of the user's configuration, those that `[areas]` of the Megatest area
//! at hand names, and the one at hand.

use super::megatest;
use crate::context::{Context, RECORDS};
use crate::error::Complaint;
use muster_formats::megatest::ShownSection;
use std::path::{Path, PathBuf};

/// An area with the name it is known by, which is its tag in lists of several areas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownArea {
    pub(crate) tag: String,
    /// Its directory, absolute.
    pub(crate) dir: PathBuf,
}

/// All of them, by name; each directory once.
///
/// # Errors
/// There is none.
pub(crate) fn known(context: &Context) -> Result<Vec<KnownArea>, anyhow::Error> {
    let mut all: Vec<KnownArea> = Vec::new();
    let of_user = context.settings.areas.iter().map(|(tag, dir)| (tag.clone(), dir.clone()));
    let here = context.area_dir().ok();
    let of_hub = here.as_deref().map(of_megatest).unwrap_or_default();
    let own = here.into_iter().filter(|dir| dir.join(RECORDS).is_dir()).map(|dir| {
        let name = dir.file_name().map_or_else(|| "area".to_owned(), |n| n.to_string_lossy().into_owned());
        (name, dir)
    });
    for (tag, dir) in of_user.chain(of_hub).chain(own) {
        // One that is gone keeps its path: it is told when it is looked at.
        let dir = dir.canonicalize().unwrap_or(dir);
        if !all.iter().any(|area| area.dir == dir) {
            all.push(KnownArea { tag, dir });
        }
    }
    all.sort_by(|a, b| a.tag.cmp(&b.tag));
    if all.is_empty() {
        return Err(Complaint::usage("no areas are known")
            .hint("`[areas]` of the user's config.toml names them: `nightly = \"/work/nightly\"`")
            .into());
    }
    Ok(all)
}

/// What `[areas]` of a Megatest area names: `NAME path=DIR; …`.
pub(crate) fn of_megatest(dir: &Path) -> Vec<(String, PathBuf)> {
    let sections = megatest::main_sections(dir).unwrap_or_default();
    let areas = sections.iter().filter(|s: &&ShownSection| s.name == "areas").flat_map(|s| &s.values);
    areas.filter_map(|v| Some((v.path.clone(), dir.join(param(&v.value, "path")?)))).collect()
}

/// A parameter of a value of the form `NAME=VALUE; NAME=VALUE`.
pub(crate) fn param<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    let mut params = value.split(';').filter_map(|p| p.trim().split_once('='));
    params.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()).filter(|v| !v.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_in_any_order() {
        let value = "path=/a/b ; targtrans=f; x=";
        assert_eq!(param(value, "path"), Some("/a/b"));
        assert_eq!(param(value, "targtrans"), Some("f"));
        assert_eq!((param(value, "x"), param(value, "y"), param("", "path")), (None, None, None));
    }
}
