//! The areas a person knows by name, and by tags that several have: those of the user's configuration, those that `[areas]` of the Megatest area
//! at hand names, and the one at hand.

use super::megatest;
use crate::context::{Context, RECORDS};
use crate::error::Complaint;
use muster_core::select::wildcard;
use muster_formats::megatest::ShownSection;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// An area with the name it is known by, which is its tag in lists of several areas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownArea {
    pub(crate) tag: String,
    /// Its directory, absolute.
    pub(crate) dir: PathBuf,
    /// Words that several areas may have, to look at these alone.
    pub(crate) tags: Vec<String>,
}

impl KnownArea {
    /// Whether it is meant by one of these words: its name, or one of its tags. `*` is for any text.
    fn is_one_of(&self, words: &[String]) -> bool {
        let mut own = std::iter::once(&self.tag).chain(&self.tags);
        own.any(|tag| words.iter().any(|word| wildcard(word, tag)))
    }
}

/// All of them, by name; each directory once.
///
/// # Errors
/// There is none.
pub(crate) fn known(context: &Context) -> Result<Vec<KnownArea>, anyhow::Error> {
    let mut all: Vec<KnownArea> = Vec::new();
    let of_user = context.settings.areas.iter().map(|(name, place)| {
        let (dir, tags) = place.parts();
        (name.clone(), dir.to_owned(), tags.to_vec())
    });
    let here = context.area_dir().ok();
    let of_hub = here.as_deref().map(of_megatest_tagged).unwrap_or_default();
    let own = here.into_iter().filter(|dir| dir.join(RECORDS).is_dir()).map(|dir| {
        let name = dir.file_name().map_or_else(|| "area".to_owned(), |n| n.to_string_lossy().into_owned());
        (name, dir, Vec::new())
    });
    for (tag, dir, tags) in of_user.chain(of_hub).chain(own) {
        // One that is gone keeps its path: it is told when it is looked at.
        let dir = dir.canonicalize().unwrap_or(dir);
        if !all.iter().any(|area| area.dir == dir) {
            all.push(KnownArea { tag, dir, tags });
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

/// Those of them that are meant by one of these words; without any, all.
///
/// # Errors
/// There is none.
pub(crate) fn tagged(words: &[String], context: &Context) -> Result<Vec<KnownArea>, anyhow::Error> {
    let all = known(context)?;
    if words.is_empty() {
        return Ok(all);
    }
    let (meant, others): (Vec<KnownArea>, Vec<KnownArea>) = all.into_iter().partition(|a| a.is_one_of(words));
    if meant.is_empty() {
        let names = others.iter().flat_map(|a| std::iter::once(&a.tag).chain(&a.tags));
        let known: BTreeSet<String> = names.map(|name| format!("`{name}`")).collect();
        let known: Vec<String> = known.into_iter().collect();
        return Err(Complaint::usage(format!("no area has the tag `{}`", words.join("`, `")))
            .hint(format!("there are {}", known.join(", ")))
            .into());
    }
    Ok(meant)
}

/// What `[areas]` of a Megatest area names: `NAME path=DIR; …`.
pub(crate) fn of_megatest(dir: &Path) -> Vec<(String, PathBuf)> {
    of_megatest_tagged(dir).into_iter().map(|(name, dir, _)| (name, dir)).collect()
}

/// The same, with the tags of each: `NAME path=DIR; tags=a,b`.
fn of_megatest_tagged(dir: &Path) -> Vec<(String, PathBuf, Vec<String>)> {
    let sections = megatest::main_sections(dir).unwrap_or_default();
    let areas = sections.iter().filter(|s: &&ShownSection| s.name == "areas").flat_map(|s| &s.values);
    let tags = |value: &str| -> Vec<String> {
        param(value, "tags").into_iter().flat_map(|t| t.split(',')).map(|t| t.trim().to_owned()).collect()
    };
    areas.filter_map(|v| Some((v.path.clone(), dir.join(param(&v.value, "path")?), tags(&v.value)))).collect()
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
