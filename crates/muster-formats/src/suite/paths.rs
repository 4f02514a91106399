//! Item paths out of frameworks' names.

use muster_core::exchange::FoundItem;
use std::collections::HashSet;

/// A name fit for an item path: control characters, which would break a line of output, are shown as
/// escapes; everything else stays.
pub(super) fn clean(name: &str) -> String {
    if !name.chars().any(char::is_control) {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Makes paths unique: the second of the same path becomes `path~2`.
pub(super) fn make_unique(items: &mut [FoundItem]) {
    let mut seen: HashSet<String> = HashSet::with_capacity(items.len());
    for item in items {
        if !seen.insert(item.path.clone()) {
            let free = (2u32..).map(|n| format!("{}~{n}", item.path)).find(|p| !seen.contains(p));
            item.path = free.unwrap_or_default();
            seen.insert(item.path.clone());
        }
    }
}

/// The parts of a file's path that templates name.
pub(super) struct FileParts<'a> {
    /// The whole path.
    pub(super) file: &'a str,
    /// The directory; `.` where there is none.
    pub(super) dir: &'a str,
    /// The whole path without its extension.
    pub(super) name: &'a str,
    /// The file's own name without its extension.
    pub(super) stem: &'a str,
}

impl<'a> FileParts<'a> {
    /// Takes a path with `/` apart. A leading dot is no extension.
    pub(super) fn of(file: &'a str) -> Self {
        let base_at = file.rfind('/').map_or(0, |i| i + 1);
        let base = &file[base_at..];
        let stem = base.rfind('.').filter(|i| *i > 0).map_or(base, |i| &base[..i]);
        let dir = match base_at {
            0 => ".",
            1 => "/",
            n => &file[..n - 1],
        };
        Self { file, dir, name: &file[..base_at + stem.len()], stem }
    }

    /// The values for [`fill`](super::template::fill).
    pub(super) fn values(&self) -> [(&'static str, &'a str); 4] {
        [("file", self.file), ("dir", self.dir), ("name", self.name), ("stem", self.stem)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_parts_know_dots_and_roots() {
        let parts = |f| {
            let p = FileParts::of(f);
            (p.dir.to_owned(), p.name.to_owned(), p.stem.to_owned())
        };
        let own = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(parts("a/b.c/x.tar.gz"), own("a/b.c", "a/b.c/x.tar", "x.tar"));
        assert_eq!(parts("x"), own(".", "x", "x"));
        assert_eq!(parts("a/.hidden"), own("a", "a/.hidden", ".hidden"));
        assert_eq!(parts("/x.js"), own("/", "/x", "x"));
    }

    #[test]
    fn the_second_of_a_path_gets_a_number_that_no_other_has() {
        let item = |p: &str| FoundItem { path: p.into(), ..FoundItem::default() };
        let mut items = [item("a"), item("a~2"), item("a"), item("a")];
        make_unique(&mut items);
        let paths: Vec<_> = items.iter().map(|i| i.path.as_str()).collect();
        assert_eq!(paths, ["a", "a~2", "a~3", "a~4"]);
    }

    #[test]
    fn control_characters_become_escapes() {
        assert_eq!(clean("a\n\u{1b}[x é"), "a\\n\\u{1b}[x é");
    }
}
