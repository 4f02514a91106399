//! The items a test lists: matrix, table, names.

use super::decode::{Table, printable};
use super::error::Complaints;
use super::file::{List, TableValue, TestKeys};
use super::names::{Interpolation, Use, is_variable};
use super::scalar::Scalar;
use super::source::{At, Pos};
use muster_core::definition::{ItemDef, Items};
use std::collections::HashSet;

/// Items of one test.
// Limit: a matrix of ten variables with ten values each would be ten thousand million items.
const ITEMS_MAX: usize = 1_000_000;

/// The variables that the items of a test have.
pub(super) fn variables(test: &TestKeys) -> Vec<String> {
    let mut names = Vec::new();
    let mut add = |key: &At<String>| {
        if !names.contains(&key.value) {
            names.push(key.value.clone());
        }
    };
    if let Some(matrix) = &test.matrix {
        matrix.0.iter().for_each(|(k, _)| add(k));
    }
    match test.table.as_ref().map(|t| &t.value) {
        Some(TableValue::Columns(columns)) => columns.0.iter().for_each(|(k, _)| add(k)),
        Some(TableValue::Rows(rows)) => {
            rows.iter().take(1).flat_map(|r| &r.value.0).for_each(|(k, _)| add(k));
        }
        None => {}
    }
    names
}

/// The items that a test lists; `None` where it lists none and is run once, as itself.
pub(super) fn listed(
    test: &TestKeys,
    names: &mut Interpolation<'_>,
    complaints: &mut Complaints,
) -> Option<Items> {
    let mut list = Builder { names, complaints, items: Vec::new(), seen: HashSet::new(), full: false };
    let mut any = false;
    if let Some(matrix) = &test.matrix {
        any = true;
        list.matrix(matrix, test);
    } else if let Some(stray) = test.exclude.as_ref().or(test.include.as_ref()) {
        list.complaints.error(stray.pos, "`exclude` and `include` are for `matrix`, which is not there");
    }
    if let Some(table) = &test.table {
        any = true;
        match &table.value {
            TableValue::Rows(rows) => list.rows(rows),
            TableValue::Columns(columns) => list.columns(columns, table.pos),
        }
    }
    if let Some(items) = &test.items {
        any = true;
        for item in &items.value {
            let value = list.value(item);
            list.push(Vec::new(), value, item.pos);
        }
    }
    let items = list.items;
    any.then_some(Items::Listed(items))
}

struct Builder<'a, 'n> {
    names: &'a mut Interpolation<'n>,
    complaints: &'a mut Complaints,
    items: Vec<ItemDef>,
    seen: HashSet<u64>,
    full: bool,
}

impl Builder<'_, '_> {
    fn value(&mut self, written: &At<Scalar>) -> String {
        if !written.value.0.contains("${") {
            return written.value.0.clone();
        }
        let text = At { value: written.value.0.clone(), pos: written.pos };
        self.names.expand(&text, Use::Value, self.complaints)
    }

    fn key(&mut self, key: &At<String>) -> bool {
        if is_variable(key) && !key.starts_with("MUSTER_") {
            return true;
        }
        let message = format!("`{}` cannot be the name of a variable", printable(key));
        let hint = "letters, digits and `_`, not beginning with a digit nor with `MUSTER_`: it is exported";
        self.complaints.error(key.pos, message).hint(hint);
        false
    }

    fn matrix(&mut self, matrix: &At<Table<List<Scalar>>>, test: &TestKeys) {
        let none = Vec::new();
        let mut axes = Vec::new();
        let mut count = 1usize;
        for (key, values) in &matrix.value.0 {
            if !self.key(key) {
                return;
            }
            if values.value.is_empty() {
                let message = format!("`{}` has no values, so the test has no items", key.value);
                self.complaints.warning(values.pos, message);
            }
            count = count.saturating_mul(values.value.len());
            let values: Vec<(String, Pos)> = values.value.iter().map(|v| (self.value(v), v.pos)).collect();
            axes.push((key.value.as_str(), values));
        }
        if axes.is_empty() {
            self.complaints.error(matrix.pos, "the matrix has no variables");
            return;
        }
        if count > ITEMS_MAX {
            let message = format!("the matrix has {count} items, more than the {ITEMS_MAX} allowed");
            self.complaints.error(matrix.pos, message);
            return;
        }
        let excluded = self.combinations(test.exclude.as_ref().map_or(&none, |e| &e.value), &axes, true);
        self.items.reserve(count);
        let mut places = vec![0usize; axes.len()];
        for _ in 0..count {
            let at = |axis: usize| axes[axis].1[places[axis]].0.as_str();
            let out = excluded.iter().any(|e| e.iter().all(|(axis, value)| at(*axis) == value));
            if !out {
                let vars =
                    axes.iter().enumerate().map(|(i, (k, _))| ((*k).to_owned(), at(i).to_owned())).collect();
                // The place of the value that varies fastest.
                let pos = axes.last().map_or(matrix.pos, |(_, v)| v[places[axes.len() - 1]].1);
                self.push_vars(vars, pos);
            }
            // Count up like an odometer: the last variable varies fastest.
            for axis in (0..axes.len()).rev() {
                places[axis] += 1;
                if places[axis] < axes[axis].1.len() {
                    break;
                }
                places[axis] = 0;
            }
        }
        let further = test.include.as_ref().map_or(&none, |i| &i.value);
        for (row, written) in self.combinations(further, &axes, false).into_iter().zip(further) {
            let vars = row.into_iter().map(|(axis, value)| (axes[axis].0.to_owned(), value)).collect();
            self.push_vars(vars, written.pos);
        }
    }

    /// Rows of `exclude` or `include` as (variable's place, value), in the matrix's order.
    fn combinations(
        &mut self,
        rows: &List<Table<Scalar>>,
        axes: &[(&str, Vec<(String, Pos)>)],
        partial: bool,
    ) -> Vec<Vec<(usize, String)>> {
        let mut combinations = Vec::new();
        for row in rows {
            let mut combination = Vec::new();
            for (key, value) in &row.value.0 {
                let Some(axis) = axes.iter().position(|(k, _)| *k == key.value) else {
                    let hint = self.complaints.nearest(key, axes.iter().map(|(k, _)| *k));
                    let message = format!("`{}` is no variable of the matrix", printable(key));
                    self.complaints.error(key.pos, message).maybe_hint(hint);
                    continue;
                };
                let text = self.value(value);
                if partial && !axes[axis].1.iter().any(|(v, _)| *v == text) {
                    let hint = self.complaints.nearest(&text, axes[axis].1.iter().map(|(v, _)| v.as_str()));
                    let message = format!("`{}` is no value of `{}`", printable(&text), key.value);
                    self.complaints.error(value.pos, message).maybe_hint(hint);
                }
                combination.push((axis, text));
            }
            combination.sort_by_key(|(axis, _)| *axis);
            if combination.is_empty() || (!partial && combination.len() < axes.len()) {
                let names: Vec<_> = axes.iter().map(|(k, _)| format!("`{k}`")).collect();
                let message =
                    if partial { "this excludes everything" } else { "this combination is not complete" };
                self.complaints
                    .error(row.pos, message)
                    .hint(format!("the variables are {}", names.join(", ")));
            }
            combinations.push(combination);
        }
        combinations
    }

    fn rows(&mut self, rows: &List<Table<Scalar>>) {
        let Some(first) = rows.first() else { return };
        if !first.value.0.iter().all(|(key, _)| self.key(key)) {
            return;
        }
        for row in rows {
            let mut vars = Vec::with_capacity(first.value.0.len());
            for (key, _) in &first.value.0 {
                match row.value.0.iter().find(|(k, _)| k.value == key.value) {
                    Some((_, value)) => vars.push((key.value.clone(), self.value(value))),
                    None => {
                        self.complaints.error(row.pos, format!("this row has no `{}`", printable(key)));
                        return;
                    }
                }
            }
            if let Some((key, _)) = row.value.0.iter().find(|(k, _)| !vars.iter().any(|(v, _)| *v == k.value))
            {
                self.complaints.error(key.pos, format!("the first row has no `{}`", printable(key)));
            }
            self.push_vars(vars, row.pos);
        }
    }

    fn columns(&mut self, columns: &Table<List<Scalar>>, pos: Pos) {
        let Some((first, values)) = columns.0.first() else {
            self.complaints.error(pos, "the table has no variables");
            return;
        };
        let len = values.value.len();
        for (key, values) in &columns.0 {
            if !self.key(key) {
                return;
            }
            if values.value.len() != len {
                let found = values.value.len();
                let message = format!("`{}` has {found} values, `{}` has {len}", key.value, first.value);
                self.complaints
                    .error(values.pos, message)
                    .hint("every variable of a table has one value per item");
                return;
            }
        }
        for i in 0..len {
            let vars = columns.0.iter().map(|(k, v)| (k.value.clone(), self.value(&v.value[i]))).collect();
            self.push_vars(vars, values.value[i].pos);
        }
    }

    fn push_vars(&mut self, vars: Vec<(String, String)>, pos: Pos) {
        let mut path = String::with_capacity(vars.iter().map(|(_, v)| v.len() + 1).sum());
        for (i, (_, value)) in vars.iter().enumerate() {
            if i > 0 {
                path.push('/');
            }
            path.push_str(value);
        }
        let empty = vars.iter().any(|(_, v)| v.is_empty());
        self.push(vars, if empty { String::new() } else { path }, pos);
    }

    fn push(&mut self, vars: Vec<(String, String)>, path: String, pos: Pos) {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
        if self.full {
            return;
        }
        if let Some(why) = wrong_path(&path) {
            self.complaints.error(pos, format!("`{}` cannot be an item: {why}", printable(&path)));
            return;
        }
        // Remembering hashes is half the memory; what looks equal is compared before complaining.
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&path);
        if !self.seen.insert(hash) && self.items.iter().any(|i| i.path == path) {
            self.complaints.error(pos, format!("the item `{}` is there twice", printable(&path)));
            // One such complaint is enough, and each costs a search.
            self.full = true;
            return;
        }
        if self.items.len() >= ITEMS_MAX {
            self.complaints.error(pos, format!("the test has more than the {ITEMS_MAX} items allowed"));
            self.full = true;
            return;
        }
        self.items.push(ItemDef { path, vars });
    }
}

/// Why a text cannot be an item path.
pub(crate) fn wrong_path(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("a value is empty");
    }
    if path.len() > 1000 {
        return Some("it is longer than 1000 bytes");
    }
    if path.chars().any(char::is_control) {
        return Some("it has control characters");
    }
    if path.contains('#') {
        return Some("`#` begins the attempt's number in addresses");
    }
    if path.starts_with('/') || path.ends_with('/') || path.contains("//") {
        return Some("a part between slashes is empty");
    }
    path.split('/').any(|p| p == "." || p == "..").then_some("`.` and `..` are no parts")
}
