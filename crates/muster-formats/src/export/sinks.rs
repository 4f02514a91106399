//! The formats that are text.

use super::{Cell, Sink};
use crate::megatest::refdb::{RefDb, Row, Sheet, quoted};
use crate::megatest::test_data::csv_record;
use serde_json::Value;
use std::borrow::Cow;
use std::io::{self, Write};

/// CSV with a line of headings. Several tables follow each other, with an empty line between.
pub struct Csv<W> {
    out: W,
    tables: u32,
}

impl<W: Write> Csv<W> {
    /// Writes here.
    pub fn new(out: W) -> Self {
        Self { out, tables: 0 }
    }
}

impl<W: Write> Sink for Csv<W> {
    fn begin(&mut self, _: &str, columns: &[Cow<'static, str>]) -> io::Result<()> {
        if self.tables > 0 {
            self.out.write_all(b"\n")?;
        }
        self.tables += 1;
        self.out.write_all(csv_record(columns.iter().map(|c| &**c)).as_bytes())
    }

    fn row(&mut self, row: &[Cell]) -> io::Result<()> {
        let texts: Vec<Cow<'_, str>> = row.iter().map(Cell::text).collect();
        self.out.write_all(csv_record(texts.iter().map(|t| &**t)).as_bytes())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A list of objects; of several tables, an object with a list for each.
pub struct Json<W> {
    out: W,
    several: bool,
    columns: Vec<Cow<'static, str>>,
    tables: u32,
    rows: u32,
}

impl<W: Write> Json<W> {
    /// Writes here; `several` tables.
    pub fn new(out: W, several: bool) -> Self {
        Self { out, several, columns: Vec::new(), tables: 0, rows: 0 }
    }
}

impl<W: Write> Sink for Json<W> {
    fn begin(&mut self, table: &str, columns: &[Cow<'static, str>]) -> io::Result<()> {
        if self.several {
            let before = if self.tables == 0 { "{" } else { ",\n" };
            write!(self.out, "{before}{}:", Value::from(table))?;
        }
        self.tables += 1;
        self.rows = 0;
        self.columns = columns.to_vec();
        self.out.write_all(b"[")
    }

    fn row(&mut self, row: &[Cell]) -> io::Result<()> {
        self.out.write_all(if self.rows == 0 { b"\n" } else { b",\n" })?;
        self.rows = self.rows.saturating_add(1);
        let value = |cell: &Cell| match cell {
            Cell::Empty => Value::Null,
            Cell::Whole(n) => Value::from(*n),
            Cell::Number(n) => Value::from(*n),
            Cell::Text(_) | Cell::Time(_) => Value::from(cell.text()),
        };
        self.out.write_all(b"{")?;
        for (n, (column, cell)) in self.columns.iter().zip(row).enumerate() {
            let before = if n == 0 { "" } else { "," };
            write!(self.out, "{before}{}:{}", Value::from(&**column), value(cell))?;
        }
        self.out.write_all(b"}")
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.write_all(if self.rows == 0 { b"]" } else { b"\n]" })
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.several {
            self.out.write_all(if self.tables == 0 { b"{}" } else { b"}" })?;
        }
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

/// S-expressions in refdb's layout: `(("table" ("row" ("column" "value") …) …) …)`. What is empty is not there.
pub struct Sexpr<W> {
    out: W,
    columns: Vec<Cow<'static, str>>,
    begun: bool,
}

impl<W: Write> Sexpr<W> {
    /// Writes here.
    pub fn new(out: W) -> Self {
        Self { out, columns: Vec::new(), begun: false }
    }
}

impl<W: Write> Sink for Sexpr<W> {
    fn begin(&mut self, table: &str, columns: &[Cow<'static, str>]) -> io::Result<()> {
        if !self.begun {
            self.out.write_all(b"(")?;
        }
        self.begun = true;
        self.columns = columns.to_vec();
        write!(self.out, "({}", quoted(table))
    }

    fn row(&mut self, row: &[Cell]) -> io::Result<()> {
        let Some((name, cells)) = row.split_first() else { return Ok(()) };
        write!(self.out, "\n  ({}", quoted(&name.text()))?;
        for (column, cell) in self.columns.iter().skip(1).zip(cells).filter(|(_, c)| **c != Cell::Empty) {
            write!(self.out, "\n    ({} {})", quoted(column), quoted(&cell.text()))?;
        }
        self.out.write_all(b")")
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.write_all(b")\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.write_all(if self.begun { b")\n" } else { b"()\n" })?;
        self.out.flush()
    }
}

/// A refdb, in memory. Its values are one line each: line ends and the blanks around become single blanks.
#[derive(Debug, Default)]
pub struct Refdb {
    /// What has come in.
    pub db: RefDb,
    columns: Vec<Cow<'static, str>>,
}

impl Sink for Refdb {
    fn begin(&mut self, table: &str, columns: &[Cow<'static, str>]) -> io::Result<()> {
        self.columns = columns.to_vec();
        self.db.sheets.push(Sheet { name: table.to_owned(), rows: Vec::new() });
        Ok(())
    }

    fn row(&mut self, row: &[Cell]) -> io::Result<()> {
        let (Some((name, cells)), Some(sheet)) = (row.split_first(), self.db.sheets.last_mut()) else {
            return Ok(());
        };
        let line = |cell: &Cell| cell.text().split_whitespace().collect::<Vec<_>>().join(" ");
        let cells = self.columns.iter().skip(1).zip(cells).filter(|(_, c)| **c != Cell::Empty);
        let cells = cells.map(|(column, cell)| (column.to_string(), line(cell))).collect();
        sheet.rows.push(Row { name: line(name), cells });
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use muster_core::time::Time;

    fn fill(sink: &mut dyn Sink) {
        let columns = ["name", "text", "n", "at"].map(Cow::Borrowed);
        sink.begin("things", &columns).unwrap();
        let text = Cell::from("a \"b\", (c)\nd\\");
        sink.row(&["one".into(), text, Cell::Number(1.5), Cell::Time(Time(1_000_000))]).unwrap();
        sink.row(&["two".into(), Cell::Empty, Cell::Whole(7), Cell::Empty]).unwrap();
        sink.end().unwrap();
        sink.begin("none", &columns).unwrap();
        sink.end().unwrap();
        sink.finish().unwrap();
    }

    fn check(make: impl FnOnce(&mut Vec<u8>), expected: Expect) {
        let mut out = Vec::new();
        make(&mut out);
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn csv_quotes_what_must_be() {
        check(
            |out| fill(&mut Csv::new(out)),
            expect![[r#"
                name,text,n,at
                one,"a ""b"", (c)
                d\",1.5,1970-01-01T00:00:01Z
                two,,7,

                name,text,n,at
            "#]],
        );
    }

    #[test]
    fn json_keeps_numbers_as_numbers() {
        check(
            |out| fill(&mut Json::new(out, true)),
            expect![[r#"
                {"things":[
                {"name":"one","text":"a \"b\", (c)\nd\\","n":1.5,"at":"1970-01-01T00:00:01Z"},
                {"name":"two","text":null,"n":7,"at":null}
                ],
                "none":[]}
            "#]],
        );
    }

    #[test]
    fn s_expressions_are_read_back_as_a_refdb() {
        let mut out = Vec::new();
        fill(&mut Sexpr::new(&mut out));
        let db = RefDb::from_sexpr(std::str::from_utf8(&out).unwrap()).unwrap();
        assert_eq!(db.sheets.len(), 2);
        assert_eq!(db.sheets[0].rows[0].cells[0], ("text".to_owned(), "a \"b\", (c)\nd\\".to_owned()));
        assert_eq!(db.sheets[0].rows[1].cells, [("n".to_owned(), "7".to_owned())]);
        let mut none = Vec::new();
        Sexpr::new(&mut none).finish().unwrap();
        assert_eq!(RefDb::from_sexpr(std::str::from_utf8(&none).unwrap()), Ok(RefDb::default()));
    }

    #[test]
    fn a_refdb_can_be_written_whatever_the_texts_are() {
        let mut sink = Refdb::default();
        fill(&mut sink);
        let files = sink.db.files().unwrap();
        assert_eq!(files[0].1, "things\nnone\n");
        assert!(files[1].1.contains("text a \"b\", (c) d\\\n"), "{}", files[1].1);
    }
}
