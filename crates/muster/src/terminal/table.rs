//! Columns that line up. The one that may shrink gives way when the terminal is narrow.

use super::text::{cut, cut_middle, pad, pad_left, width};
use anstyle::Style;

/// A cell: plain text and how it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Text in a style.
    pub(crate) fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: super::text::visible(&text.into()).into_owned(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Style::new())
    }
}

/// How a column is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// To the left.
    Left,
    /// To the right, for numbers.
    Right,
    /// Names: to the left, the middle left out where there is no room.
    Shrink,
    /// Sentences: to the left, the end left out where there is no room.
    Cut,
}

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(String, Column)>,
    rows: Vec<Vec<Cell>>,
}

/// Between columns.
const GAP: &str = "  ";

/// No column is shortened below this.
const SHRINK_MIN: usize = 12;

impl Table {
    /// A table with these headings; without any heading line where all are empty.
    pub(crate) fn new(columns: &[(&str, Column)]) -> Self {
        Self { columns: columns.iter().map(|(h, c)| ((*h).to_owned(), *c)).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the columns are a bug.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.columns.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// The lines, each at most `width_max` columns wide if the shrinking columns allow. Columns in which
    /// nothing stands are left out.
    pub(crate) fn lines(&self, width_max: usize) -> Vec<String> {
        let used: Vec<usize> =
            (0..self.columns.len()).filter(|c| self.rows.iter().any(|r| !r[*c].text.is_empty())).collect();
        let mut widths: Vec<usize> = used
            .iter()
            .map(|&c| {
                self.rows.iter().map(|r| width(&r[c].text)).max().unwrap_or(0).max(width(&self.columns[c].0))
            })
            .collect();
        let mut over = (widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1))
            .saturating_sub(width_max);
        // The last shrinking column first: it is the most talkative one.
        for (i, &c) in used.iter().enumerate().rev() {
            if over > 0 && matches!(self.columns[c].1, Column::Shrink | Column::Cut) {
                let less = widths[i].saturating_sub(SHRINK_MIN).min(over);
                widths[i] -= less;
                over -= less;
            }
        }
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        if used.iter().any(|&c| !self.columns[c].0.is_empty()) {
            let head: Vec<Cell> =
                self.columns.iter().map(|(h, _)| Cell::new(h.clone(), super::style::HEAD)).collect();
            lines.push(self.line(&head, &used, &widths));
        }
        lines.extend(self.rows.iter().map(|row| self.line(row, &used, &widths)));
        lines
    }

    fn line(&self, row: &[Cell], used: &[usize], widths: &[usize]) -> String {
        let mut line = String::new();
        let mut gap = 0;
        for (&c, &columns) in used.iter().zip(widths) {
            let cell = &row[c];
            let text = match self.columns[c].1 {
                Column::Cut => cut(&cell.text, columns),
                Column::Left | Column::Right | Column::Shrink => cut_middle(&cell.text, columns),
            };
            let free = columns - width(&text);
            let painted = if text.is_empty() || cell.style == Style::new() {
                text.into_owned()
            } else {
                super::style::paint(cell.style, text)
            };
            // Blanks are written only in front of something, so no line ends in them.
            let (before, after) = if self.columns[c].1 == Column::Right { (free, 0) } else { (0, free) };
            if painted.is_empty() {
                gap += columns + GAP.len();
                continue;
            }
            line.push_str(&pad("", gap));
            line.push_str(&pad_left("", before));
            line.push_str(&painted);
            gap = after + GAP.len();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn table() -> Table {
        let mut t = Table::new(&[
            ("run", Column::Right),
            ("nothing", Column::Left),
            ("name", Column::Shrink),
            ("took", Column::Right),
        ]);
        t.row(vec!["7".into(), "".into(), "試験 of a rather long name".into(), "1.25s".into()]);
        t.row(vec!["128".into(), "".into(), "".into(), "12m05s".into()]);
        t
    }

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let lines: Vec<String> =
            table().lines(80).iter().map(|l| anstream::adapter::strip_str(l).to_string()).collect();
        expect![[r#"
            run  name                          took
              7  試験 of a rather long name   1.25s
            128                              12m05s"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[test]
    fn the_talkative_column_gives_way() {
        for line in table().lines(30) {
            assert!(width(&line) <= 30, "{line}");
        }
    }
}
