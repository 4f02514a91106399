//! `-fields runs:a,b+tests:c,d`: only these columns of a table, and in this order.

use super::args::Args;
use crate::error::Complaint;
use muster_formats::export::{Cell, Sink};
use std::borrow::Cow;
use std::io;

/// What is wanted of tables; nothing said of a table: all of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, Vec<String>)>);

impl Fields {
    /// As it is typed.
    pub(super) fn of(args: &Args) -> Self {
        args.get("fields").map(Self::parse).unwrap_or_default()
    }

    fn parse(text: &str) -> Self {
        let tables = text.split('+').filter_map(|table| table.split_once(':'));
        let tables = tables.map(|(name, list)| {
            let fields = list.split(',').map(str::trim).filter(|f| !f.is_empty());
            (name.trim().to_owned(), fields.map(str::to_owned).collect())
        });
        Self(tables.collect())
    }

    /// The fields of a table; `None`: all.
    pub(super) fn of_table(&self, table: &str) -> Option<&[String]> {
        let found = self.0.iter().find(|(name, _)| name == table);
        found.map(|(_, fields)| fields.as_slice())
    }

    /// Refuses fields that a table has not.
    pub(super) fn check(&self, table: &str, known: &[&str]) -> Result<(), Complaint> {
        let wrong = self.of_table(table).and_then(|f| f.iter().find(|f| !known.contains(&f.as_str())));
        wrong.map_or(Ok(()), |field| {
            let said = format!("{table} have no field `{field}` here");
            Err(Complaint::usage(said).hint(format!("they have {}", known.join(" "))))
        })
    }

    /// A sink that passes on what is wanted.
    pub(super) fn only<'a>(&'a self, sink: &'a mut dyn Sink) -> Only<'a> {
        Only { fields: self, sink, keep: Vec::new() }
    }
}

/// Passes on the columns that are wanted. The first stays, which names the row.
pub(super) struct Only<'a> {
    fields: &'a Fields,
    sink: &'a mut dyn Sink,
    keep: Vec<usize>,
}

impl Sink for Only<'_> {
    fn begin(&mut self, table: &str, columns: &[Cow<'static, str>]) -> io::Result<()> {
        self.keep = match self.fields.of_table(table) {
            None => (0..columns.len()).collect(),
            Some(fields) => {
                let place =
                    |field: &String| columns.iter().skip(1).position(|c| *c == **field).map(|n| n + 1);
                std::iter::once(0).chain(fields.iter().filter_map(place)).collect()
            }
        };
        let columns: Vec<Cow<'static, str>> = self.keep.iter().map(|n| columns[*n].clone()).collect();
        self.sink.begin(table, &columns)
    }

    fn row(&mut self, row: &[Cell]) -> io::Result<()> {
        let row: Vec<Cell> = self.keep.iter().map(|n| row[*n].clone()).collect();
        self.sink.row(&row)
    }

    fn end(&mut self) -> io::Result<()> {
        self.sink.end()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sink.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_said_by_table() {
        let fields = Fields::parse("runs:id, status+tests:testname+steps");
        assert_eq!(fields.of_table("runs"), Some(&["id".to_owned(), "status".to_owned()][..]));
        assert_eq!(fields.of_table("steps"), None);
        assert!(fields.check("tests", &["testname"]).is_ok());
        assert!(fields.check("runs", &["id"]).is_err());
    }
}
