//! refdb: a spreadsheet as text files in a directory, so that parameter tables can be kept with the tests.
//!
//! ```text
//! refdb/
//! ├── sheet-names.cfg     the sheets, a name on each line
//! ├── boards.dat          a sheet: [row], and in it lines of COLUMN VALUE
//! └── sxml/               what the spreadsheet program knows beyond that; none of it is data
//! ```
//!
//! Read and written here: the two kinds of text files; CSV of a sheet; the whole as S-expression and as JSON. Nothing in
//! a sheet is expanded: what looks like `#{…}` is text.

use super::sexpr::{self, Datum, Value};
use super::test_data::csv_record;
use muster_core::judge::split_csv;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use std::fmt::Write as _;
use thiserror::Error;

/// The name of the file that lists the sheets.
pub const SHEET_NAMES: &str = "sheet-names.cfg";

/// All sheets, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefDb {
    /// The sheets; names are unique.
    pub sheets: Vec<Sheet>,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// Its name, and that of its file without `.dat`.
    pub name: String,
    /// Its rows, in their order; names are unique.
    pub rows: Vec<Row>,
}

/// A row of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Columns and values, in their order; columns are unique. What is not here is empty.
    pub cells: Vec<(String, String)>,
}

/// Text that is no refdb, or a table that cannot be written as one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {problem}")]
pub struct RefDbError {
    /// Where: a file and its line, or a sheet, row and column.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

fn error(place: impl Into<String>, problem: impl Into<String>) -> RefDbError {
    RefDbError { place: place.into(), problem: problem.into() }
}

impl RefDb {
    /// Reads a refdb: the text of `sheet-names.cfg`, and a function that gives the text of a file beside it.
    ///
    /// # Errors
    /// A sheet's name is no plain file name, its file cannot be had, or is none.
    pub fn read(
        sheet_names: &str,
        mut file: impl FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, RefDbError> {
        let mut sheets: Vec<Sheet> = Vec::new();
        for (line, name) in (1..).zip(sheet_names.lines().map(str::trim)) {
            if name.is_empty() || name.starts_with('#') || sheets.iter().any(|s| s.name == name) {
                continue;
            }
            let place = format!("{SHEET_NAMES}:{line}");
            check_file_name(name).map_err(|why| error(&place, why))?;
            let path = format!("{name}.dat");
            let text = file(&path).map_err(|why| error(&place, format!("`{path}` cannot be read: {why}")))?;
            sheets.push(Sheet::read(name, &text)?);
        }
        Ok(Self { sheets })
    }

    /// Its files, with their names.
    ///
    /// # Errors
    /// A name or value cannot be written in this format.
    pub fn files(&self) -> Result<Vec<(String, String)>, RefDbError> {
        let names: String = self.sheets.iter().map(|s| format!("{}\n", s.name)).collect();
        let mut files = vec![(SHEET_NAMES.to_owned(), names)];
        for sheet in &self.sheets {
            check_file_name(&sheet.name).map_err(|why| error(format!("sheet `{}`", sheet.name), why))?;
            files.push((format!("{}.dat", sheet.name), sheet.write()?));
        }
        Ok(files)
    }

    /// As S-expression: `(("sheet" ("row" ("column" "value") …) …) …)`.
    pub fn to_sexpr(&self) -> String {
        let mut text = String::from("(");
        for sheet in &self.sheets {
            text.extend(["(", &quoted(&sheet.name)]);
            for row in &sheet.rows {
                text.extend(["\n  (", &quoted(&row.name)]);
                for (column, value) in &row.cells {
                    text.extend(["\n    (", &quoted(column), " ", &quoted(value), ")"]);
                }
                text.push(')');
            }
            text.push_str(")\n");
        }
        text.push_str(")\n");
        text
    }

    /// Reads what [`to_sexpr`](Self::to_sexpr) writes.
    ///
    /// # Errors
    /// It is no S-expression, or one of another shape.
    pub fn from_sexpr(text: &str) -> Result<Self, RefDbError> {
        let data = sexpr::read(text).map_err(|e| error(format!("line {}", e.line), e.problem))?;
        let [Datum { value: Value::List(sheets), .. }] = data.as_slice() else {
            return Err(error("line 1", "this is not one list of sheets"));
        };
        let sheets = sheets.iter().map(|sheet| {
            let (name, rows) = named(sheet, "a sheet")?;
            let rows = rows.iter().map(|row| {
                let (name, cells) = named(row, "a row")?;
                let cells = cells.iter().map(|cell| match named(cell, "a cell")? {
                    (column, [Datum { value: Value::Text(value), .. }]) => Ok((column, value.clone())),
                    _ => Err(error(format!("line {}", cell.line), "a cell is `(\"column\" \"value\")`")),
                });
                Ok(Row { name, cells: cells.collect::<Result<_, _>>()? })
            });
            Ok(Sheet { name, rows: rows.collect::<Result<_, _>>()? })
        });
        Ok(Self { sheets: sheets.collect::<Result<_, _>>()? })
    }
}

/// A list whose first is its name.
fn named<'d>(datum: &'d Datum, what: &str) -> Result<(String, &'d [Datum]), RefDbError> {
    match &datum.value {
        Value::List(list) => match list.split_first() {
            Some((Datum { value: Value::Text(name), .. }, rest)) => Ok((name.clone(), rest)),
            _ => Err(error(format!("line {}", datum.line), format!("{what} begins with its name in quotes"))),
        },
        _ => Err(error(format!("line {}", datum.line), format!("{what} is a list"))),
    }
}

/// A text as S-expressions have it.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn check_file_name(name: &str) -> Result<(), String> {
    if name.contains(['/', '\0', '\n']) || name.starts_with('.') || name.is_empty() {
        return Err(format!("`{}` cannot be the name of a sheet: it is that of a file", name.escape_debug()));
    }
    Ok(())
}

impl Sheet {
    /// Reads the text of a sheet's file.
    ///
    /// # Errors
    /// A value stands before the first row.
    pub fn read(name: &str, text: &str) -> Result<Self, RefDbError> {
        let mut sheet = Self { name: name.to_owned(), rows: Vec::new() };
        // The row and cell that lines belong to, and the indent of the lines that go on with the cell.
        let (mut row, mut open, mut indent): (Option<usize>, Option<usize>, Option<usize>) =
            (None, None, None);
        for (number, line) in (1..).zip(text.lines()) {
            let blank = line.starts_with([' ', '\t']);
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                open = None;
            } else if blank && let (Some(row), Some(cell)) = (row, open) {
                let own = line.len() - line.trim_start().len();
                let strip = *indent.get_or_insert(own);
                let cell = &mut sheet.rows[row].cells[cell];
                cell.1.push('\n');
                cell.1.push_str(&line[strip.min(own)..]);
            } else if let Some(name) = trimmed.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
                row = Some(place(
                    &mut sheet.rows,
                    |r| r.name == name,
                    || Row { name: name.to_owned(), cells: Vec::new() },
                ));
                open = None;
            } else {
                let row = row.ok_or_else(|| {
                    error(
                        format!("{}.dat:{number}", sheet.name),
                        "this value belongs to no row: `[ROW]` comes first",
                    )
                })?;
                let (column, value) = trimmed.split_once([' ', '\t']).unwrap_or((trimmed, ""));
                let cells = &mut sheet.rows[row].cells;
                // The last value of a column wins, and the column moves to the end, as in all of Megatest's files.
                cells.retain(|(known, _)| known != column);
                cells.push((column.to_owned(), value.trim_start().to_owned()));
                (open, indent) = (Some(cells.len() - 1), None);
            }
        }
        Ok(sheet)
    }

    /// The text of its file.
    ///
    /// # Errors
    /// A name or value would be read back as something else.
    pub fn write(&self) -> Result<String, RefDbError> {
        let mut text = String::new();
        for row in &self.rows {
            writeln!(text, "[{}]", row.name).ok();
            for (column, value) in &row.cells {
                let blank = if value.is_empty() { "" } else { " " };
                writeln!(text, "{column}{blank}{}", value.replace('\n', "\n ")).ok();
            }
            text.push('\n');
        }
        let back = Self::read(&self.name, &text)?;
        if back == *self {
            return Ok(text);
        }
        // What is not as it was is told by its place.
        let rows = self.rows.iter().map(Some).zip(back.rows.iter().map(Some).chain(std::iter::repeat(None)));
        let row = rows.into_iter().find(|(row, back)| row != back).and_then(|(row, _)| row);
        let place = format!("sheet `{}`, row `{}`", self.name, row.map_or("", |r| r.name.as_str()));
        Err(error(
            place,
            "it cannot be written: columns are words, rows and columns are unique, and no line of a value is blank or begins or ends with a blank",
        ))
    }

    /// The columns of all rows, in the order in which they first appear.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for (column, _) in self.rows.iter().flat_map(|r| &r.cells) {
            if seen.insert(column.as_str()) {
                columns.push(column);
            }
        }
        columns
    }

    /// As CSV: a line of columns behind an empty field, then a line for each row, its name first.
    pub fn to_csv(&self) -> String {
        let columns = self.columns();
        let mut text = csv_record([""].into_iter().chain(columns.iter().copied()));
        for row in &self.rows {
            let cell =
                |column: &&str| row.cells.iter().find(|(c, _)| c == column).map_or("", |(_, v)| v.as_str());
            text.push_str(&csv_record([row.name.as_str()].into_iter().chain(columns.iter().map(cell))));
        }
        text
    }

    /// Reads what [`to_csv`](Self::to_csv) writes, and what spreadsheets do. Empty fields are no cells.
    ///
    /// # Errors
    /// A quote is not closed, or a line has more fields than the first.
    pub fn from_csv(name: &str, text: &str) -> Result<Self, RefDbError> {
        let mut columns: Option<Vec<String>> = None;
        let mut sheet = Self { name: name.to_owned(), rows: Vec::new() };
        for (line, record) in records(text) {
            let place = format!("{name}.csv:{line}");
            let fields = split_csv(&record).map_err(|why| error(&place, why))?;
            let Some(columns) = &columns else {
                columns = Some(fields);
                continue;
            };
            if fields.len() > columns.len() {
                let problem = format!("{} fields, and the first line has {}", fields.len(), columns.len());
                return Err(error(place, problem));
            }
            let cells = columns.iter().zip(&fields).skip(1).filter(|(_, value)| !value.is_empty());
            let cells = cells.map(|(column, value)| (column.clone(), value.clone())).collect();
            sheet.rows.push(Row { name: fields[0].clone(), cells });
        }
        Ok(sheet)
    }
}

/// The place of the one that fits, which is added where there is none.
fn place(rows: &mut Vec<Row>, fits: impl Fn(&Row) -> bool, new: impl FnOnce() -> Row) -> usize {
    rows.iter().position(fits).unwrap_or_else(|| {
        rows.push(new());
        rows.len() - 1
    })
}

/// The records of a CSV text with the lines they begin at: within quotes a line end ends none. Blank lines are none.
fn records(text: &str) -> Vec<(usize, String)> {
    let mut records: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(text.lines()) {
        match records.last_mut().filter(|_| open) {
            Some((_, record)) => record.extend(["\n", line]),
            None if line.trim().is_empty() => continue,
            None => records.push((number, line.to_owned())),
        }
        open ^= line.matches('"').count() % 2 == 1;
    }
    records
}

/// As JSON: `{"sheet": {"row": {"column": "value"}}}`, in order.
impl Serialize for RefDb {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.sheets.len()))?;
        for sheet in &self.sheets {
            map.serialize_entry(&sheet.name, &Rows(&sheet.rows))?;
        }
        map.end()
    }
}

struct Rows<'a>(&'a [Row]);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|row| (&row.name, Cells(&row.cells))))
    }
}

struct Cells<'a>(&'a [(String, String)]);

impl Serialize for Cells<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(column, value)| (column, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOARDS: &str = "# boards of the lab\n[pixel]\nport 7\nnote two\n  lines,\n    indented\n\n[\"odd\" one]\nport 9\nempty\nport 8\n[pixel]\nram 8 GiB\n";

    fn boards() -> RefDb {
        let file = |name: &str| {
            if name == "boards.dat" { Ok(BOARDS.to_owned()) } else { Err("not there".to_owned()) }
        };
        RefDb::read("boards\n\n# more\nboards\n", file).unwrap()
    }

    #[test]
    fn a_refdb_is_read_row_by_row() {
        let db = boards();
        assert_eq!(db.sheets.len(), 1);
        let cells = |row: usize| &db.sheets[0].rows[row].cells[..];
        let cell = |column: &str, value: &str| (column.to_owned(), value.to_owned());
        assert_eq!(
            cells(0),
            [cell("port", "7"), cell("note", "two\nlines,\n  indented"), cell("ram", "8 GiB")]
        );
        assert_eq!(cells(1), [cell("empty", ""), cell("port", "8")], "the last value wins");
        assert_eq!(db.sheets[0].columns(), ["port", "note", "ram", "empty"]);
    }

    #[test]
    fn all_forms_hold_the_same() {
        let db = boards();
        let files = db.files().unwrap();
        assert_eq!(files[0], (SHEET_NAMES.to_owned(), "boards\n".to_owned()));
        assert_eq!(Sheet::read("boards", &files[1].1).unwrap(), db.sheets[0]);
        assert_eq!(RefDb::from_sexpr(&db.to_sexpr()).unwrap(), db);
        let csv = db.sheets[0].to_csv();
        assert_eq!(
            csv,
            ",port,note,ram,empty\npixel,7,\"two\nlines,\n  indented\",8 GiB,\n\"\"\"odd\"\" one\",8,,,\n"
        );
        let mut from_csv = Sheet::from_csv("boards", &csv).unwrap();
        from_csv.rows[1].cells.insert(0, ("empty".into(), String::new()));
        assert_eq!(from_csv, db.sheets[0], "but for cells that are there and empty");
        assert_eq!(
            serde_json::to_string(&db).unwrap(),
            r#"{"boards":{"pixel":{"port":"7","note":"two\nlines,\n  indented","ram":"8 GiB"},"\"odd\" one":{"empty":"","port":"8"}}}"#
        );
    }

    #[test]
    fn what_is_none_is_told_with_its_place() {
        let none = |_: &str| Err("not there".to_owned());
        let read = |names: &str| RefDb::read(names, none).unwrap_err().to_string();
        assert_eq!(read("\nboards"), "sheet-names.cfg:2: `boards.dat` cannot be read: not there");
        assert!(read("../../etc/passwd").contains("cannot be the name of a sheet"));
        assert_eq!(
            Sheet::read("b", "\nport 7\n").unwrap_err().to_string(),
            "b.dat:2: this value belongs to no row: `[ROW]` comes first"
        );
        assert_eq!(
            Sheet::from_csv("b", ",a\nr,1,2\n").unwrap_err().to_string(),
            "b.csv:2: 3 fields, and the first line has 2"
        );
        assert!(RefDb::from_sexpr("((\"s\" (\"r\" (\"c\" 1))))").is_err());
        let cell = |column: &str, value: &str| Sheet {
            name: "s".into(),
            rows: vec![Row { name: "r".into(), cells: vec![(column.into(), value.into())] }],
        };
        for (column, value) in
            [("a b", ""), ("#a", "x"), ("a", "x\n\ny"), ("a", " x"), ("", "x"), ("[a]", "")]
        {
            let written = cell(column, value).write();
            assert!(written.is_err(), "{column:?} {value:?}: {written:?}");
        }
        assert!(cell("a", "x y").write().is_ok());
    }

    proptest! {
        #[test]
        fn what_can_be_written_is_read_back(
            rows in proptest::collection::vec(("[a-c]{1,2}", proptest::collection::vec(("[x-z #]{1,2}", "[a\" ,\n\\\\é]{0,5}"), 0..4)), 0..4),
        ) {
            let rows = rows.into_iter().map(|(name, cells)| Row { name, cells }).collect();
            let sheet = Sheet { name: "s".into(), rows };
            if let Ok(text) = sheet.write() {
                prop_assert_eq!(&Sheet::read("s", &text).unwrap(), &sheet);
            }
            let db = RefDb { sheets: vec![sheet] };
            prop_assert_eq!(RefDb::from_sexpr(&db.to_sexpr()).unwrap(), db);
        }

        #[test]
        fn no_text_takes_the_readers_down(text in "[a\\[\\]\", \n\t#()]{0,60}") {
            let _any = Sheet::read("s", &text);
            let _any = Sheet::from_csv("s", &text);
            let _any = RefDb::from_sexpr(&text);
        }
    }
}
