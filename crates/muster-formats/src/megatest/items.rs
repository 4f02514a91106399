//! Items: `[items]` is every combination of its lines' values, `[itemstable]` goes column by column; where
//! both are there, one list follows the other.

use super::ticket::{Items, Values};
use crate::area::items::wrong_path;
use muster_core::definition::ItemDef;
use std::collections::{HashMap, HashSet};

/// Items of one test.
// Limit: ten lines with ten values each would be ten thousand million items.
const ITEMS_MAX: usize = 1_000_000;

/// Tells an item's directory below that of its test, where that is not its path.
pub const ITEM_DIR_VARIABLE: &str = "MT_ITEM_DIR";

/// The directories of items whose paths are above those of others, as `a` is above `a/b`: a run directory inside of
/// another would be emptied and copied over with it. All others are where their path says.
pub fn item_dirs<'p>(paths: impl Iterator<Item = &'p str> + Clone) -> HashMap<&'p str, String> {
    let mut above = HashSet::new();
    for path in paths.clone() {
        above.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
    }
    if above.is_empty() {
        return HashMap::new();
    }
    let all: HashSet<&str> = paths.collect();
    let mut dirs = HashMap::new();
    for path in all.iter().filter(|p| above.contains(*p)) {
        let mut dir = format!("{path}.item");
        while all.contains(dir.as_str()) || above.contains(dir.as_str()) {
            dir.push_str(".item");
        }
        dirs.insert(*path, dir);
    }
    dirs
}

/// What item sections come to.
#[derive(Clone, Debug, PartialEq)]
pub enum Expanded {
    /// These, and what was left out, for people.
    Items {
        /// In their order.
        items: Vec<ItemDef>,
        /// Paths that cannot be items, and why.
        left_out: Vec<String>,
    },
    /// More than there may be.
    TooMany,
}

/// Expands items. `values` gives the values of a line, for which a command may have to be run.
///
/// # Errors
/// What `values` says.
pub fn expand_items<E>(
    sections: &Items,
    values: &mut dyn FnMut(&str, &Values) -> Result<String, E>,
) -> Result<Expanded, E> {
    let mut lists = |section: &[(String, Values)]| -> Result<Vec<(String, Vec<String>)>, E> {
        section
            .iter()
            .map(|(name, written)| {
                let text = values(name, written)?;
                Ok((name.clone(), text.split_whitespace().map(str::to_owned).collect()))
            })
            .collect()
    };
    let (product, table) = (lists(&sections.product)?, lists(&sections.table)?);
    let combinations = match product.is_empty() {
        true => 0,
        false => product.iter().fold(1usize, |n, (_, values)| n.saturating_mul(values.len())),
    };
    let columns = table.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    if combinations.saturating_add(columns) > ITEMS_MAX {
        return Ok(Expanded::TooMany);
    }
    let mut found = Found::default();
    for n in 0..combinations {
        // The first line varies slowest, as the first part of the path.
        let mut rest = n;
        let mut picked: Vec<usize> = product
            .iter()
            .rev()
            .map(|(_, values)| {
                let at = rest % values.len();
                rest /= values.len();
                at
            })
            .collect();
        picked.reverse();
        found.add(product.iter().zip(&picked).map(|((name, values), at)| (name, values[*at].as_str())));
    }
    for n in 0..columns {
        found.add(table.iter().map(|(name, values)| (name, values.get(n).map_or("-", String::as_str))));
    }
    let dirs: Vec<(String, String)> = item_dirs(found.items.iter().map(|i| i.path.as_str()))
        .into_iter()
        .map(|(path, dir)| (path.to_owned(), dir))
        .collect();
    for (path, dir) in dirs {
        if let Some(item) = found.items.iter_mut().find(|i| i.path == path) {
            item.vars.push((ITEM_DIR_VARIABLE.to_owned(), dir));
        }
    }
    Ok(Expanded::Items { items: found.items, left_out: found.left_out })
}

#[derive(Default)]
struct Found {
    items: Vec<ItemDef>,
    seen: HashSet<String>,
    left_out: Vec<String>,
}

impl Found {
    fn add<'v>(&mut self, vars: impl Iterator<Item = (&'v String, &'v str)>) {
        let vars: Vec<(String, String)> = vars.map(|(n, v)| (n.clone(), v.to_owned())).collect();
        let path = vars.iter().map(|(_, v)| v.as_str()).collect::<Vec<_>>().join("/");
        if let Some(why) = wrong_path(&path) {
            self.left_out.push(format!("`{path}` cannot be an item: {why}"));
        } else if self.seen.insert(path.clone()) {
            self.items.push(ItemDef { path, vars });
        } else {
            self.left_out.push(format!("the item `{path}` is there twice"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paths(product: &[(&str, &str)], table: &[(&str, &str)]) -> Vec<String> {
        let section = |lines: &[(&str, &str)]| {
            lines.iter().map(|(k, v)| ((*k).to_owned(), Values::Text((*v).to_owned()))).collect()
        };
        let sections = Items { product: section(product), table: section(table) };
        let expanded = expand_items::<()>(&sections, &mut |_, v| match v {
            Values::Text(text) => Ok(text.clone()),
            Values::Command(_) => Err(()),
        });
        match expanded.unwrap() {
            Expanded::Items { items, .. } => items.into_iter().map(|i| i.path).collect(),
            Expanded::TooMany => vec!["too many".to_owned()],
        }
    }

    #[test]
    fn items_are_combinations_and_tables_are_columns() {
        assert_eq!(paths(&[("A", "1 2"), ("B", "x  y")], &[]), ["1/x", "1/y", "2/x", "2/y"]);
        assert_eq!(paths(&[], &[("A", "1 2 3"), ("B", "x")]), ["1/x", "2/-", "3/-"]);
        assert_eq!(paths(&[("A", "1")], &[("B", "x y")]), ["1", "x", "y"]);
        assert_eq!(paths(&[("A", "a/b c")], &[]), ["a/b", "c"]);
        assert_eq!(paths(&[("A", "1"), ("B", "")], &[]), Vec::<String>::new());
        assert_eq!(paths(&[("A", "1 1")], &[]), ["1"]);
        let many = "x ".repeat(2000);
        assert_eq!(paths(&[("A", &many), ("B", &many)], &[]), ["too many"]);
    }

    #[test]
    fn an_item_above_others_has_a_directory_of_its_own() {
        let dirs = |paths: &[&'static str]| {
            let mut dirs: Vec<_> = item_dirs(paths.iter().copied()).into_iter().collect();
            dirs.sort();
            dirs
        };
        assert_eq!(dirs(&["a", "b", "ab", "c/d"]), []);
        assert_eq!(dirs(&["a", "a/b"]), [("a", "a.item".to_owned())]);
        assert_eq!(
            dirs(&["a", "a/b", "a/b/c"]),
            [("a", "a.item".to_owned()), ("a/b", "a/b.item".to_owned())]
        );
        assert_eq!(dirs(&["a", "a.item", "a/b"]), [("a", "a.item.item".to_owned())]);
        assert_eq!(dirs(&["a", "a.item/x", "a/b"]), [("a", "a.item.item".to_owned())]);
    }

    proptest! {
        #[test]
        fn there_are_as_many_items_as_combinations_and_columns(
            a in 0usize..6, b in 0usize..6, c in 0usize..6, d in 0usize..6
        ) {
            let list = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i} ")).collect::<String>();
            let all = paths(&[("A", &list("a", a)), ("B", &list("b", b))], &[("C", &list("c", c)), ("D", &list("d", d))]);
            prop_assert_eq!(all.len(), a * b + c.max(d));
        }
    }
}
