//! A spreadsheet as OpenDocument has it (ISO 26300): three small members of a zip archive, of which one has all tables.
//!
//! The archive is the `zip` library's and escaping `quick-xml`'s. What is left is the dozen elements that a plain table
//! is made of; libraries for whole spreadsheets bring a hundred crates for that. Text stays text: nothing in it becomes
//! a formula.

use super::{Cell, Sink};
use crate::report::text::clean;
use crate::report::words;
use quick_xml::escape::escape;
use std::borrow::Cow;
use std::io::{self, Seek, Write};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Most rows of a table.
// Limit: what spreadsheet programs open.
pub const ROWS_MAX: u32 = 1_048_576;

const TYPE: &str = "application/vnd.oasis.opendocument.spreadsheet";

const MANIFEST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" manifest:version="1.3">
<manifest:file-entry manifest:full-path="/" manifest:version="1.3" manifest:media-type="application/vnd.oasis.opendocument.spreadsheet"/>
<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>
</manifest:manifest>
"#;

/// Up to the first table. The style makes moments look like those.
const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0" xmlns:number="urn:oasis:names:tc:opendocument:xmlns:datastyle:1.0" office:version="1.3">
<office:automatic-styles><number:date-style style:name="N1"><number:year number:style="long"/><number:text>-</number:text><number:month number:style="long"/><number:text>-</number:text><number:day number:style="long"/><number:text> </number:text><number:hours number:style="long"/><number:text>:</number:text><number:minutes number:style="long"/><number:text>:</number:text><number:seconds number:style="long"/></number:date-style><style:style style:name="moment" style:family="table-cell" style:data-style-name="N1"/></office:automatic-styles>
<office:body><office:spreadsheet>
"#;

const END: &str = "</office:spreadsheet></office:body></office:document-content>\n";

/// Writes a spreadsheet.
pub struct Ods<W: Write + Seek> {
    /// `None` once it is finished.
    zip: Option<ZipWriter<W>>,
    rows: u32,
}

impl<W: Write + Seek> Ods<W> {
    /// Writes here.
    ///
    /// # Errors
    /// What is below cannot be written.
    pub fn new(out: W) -> io::Result<Self> {
        let mut zip = ZipWriter::new(out);
        // Not packed, and first: so what the file is can be told from its first bytes.
        let plain = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file("mimetype", plain)?;
        zip.write_all(TYPE.as_bytes())?;
        let packed = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        zip.start_file("META-INF/manifest.xml", packed)?;
        zip.write_all(MANIFEST.as_bytes())?;
        // Beyond 4 GiB too.
        zip.start_file("content.xml", packed.large_file(true))?;
        zip.write_all(HEAD.as_bytes())?;
        Ok(Self { zip: Some(zip), rows: 0 })
    }

    fn write(&mut self, xml: &str) -> io::Result<()> {
        match &mut self.zip {
            Some(zip) => zip.write_all(xml.as_bytes()),
            None => Err(io::Error::other("the spreadsheet is finished")),
        }
    }
}

impl<W: Write + Seek> Sink for Ods<W> {
    fn begin(&mut self, table: &str, columns: &[Cow<'static, str>]) -> io::Result<()> {
        self.rows = 1;
        let mut xml = format!(
            "<table:table table:name=\"{}\"><table:table-column table:number-columns-repeated=\"{}\"/><table:table-header-rows><table:table-row>",
            escape(clean(table)),
            columns.len().max(1)
        );
        columns.iter().for_each(|column| text_cell(column, &mut xml));
        xml.push_str("</table:table-row></table:table-header-rows>\n");
        self.write(&xml)
    }

    fn row(&mut self, row: &[Cell]) -> io::Result<()> {
        if self.rows == ROWS_MAX {
            let said = format!(
                "a table of a spreadsheet has at most {ROWS_MAX} rows; csv and json have no such limit"
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, said));
        }
        self.rows += 1;
        let mut xml = String::from("<table:table-row>");
        for cell in row {
            match cell {
                Cell::Empty => xml.push_str("<table:table-cell/>"),
                Cell::Text(text) => text_cell(text, &mut xml),
                Cell::Whole(n) => number_cell(&n.to_string(), &mut xml),
                Cell::Number(n) if n.is_finite() => number_cell(&n.to_string(), &mut xml),
                Cell::Number(n) => text_cell(&n.to_string(), &mut xml),
                Cell::Time(time) => {
                    let at = words::timestamp(*time);
                    let at = at.trim_end_matches('Z');
                    xml.extend([
                        "<table:table-cell table:style-name=\"moment\" office:value-type=\"date\" office:date-value=\"",
                        at,
                        "\"><text:p>",
                        at,
                        "</text:p></table:table-cell>",
                    ]);
                }
            }
        }
        xml.push_str("</table:table-row>\n");
        self.write(&xml)
    }

    fn end(&mut self) -> io::Result<()> {
        self.write("</table:table>\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write(END)?;
        // The archive's directory is written last.
        match self.zip.take() {
            Some(zip) => zip.finish()?.flush(),
            None => Ok(()),
        }
    }
}

fn number_cell(number: &str, xml: &mut String) {
    xml.extend([
        "<table:table-cell office:value-type=\"float\" office:value=\"",
        number,
        "\"><text:p>",
        number,
    ]);
    xml.push_str("</text:p></table:table-cell>");
}

/// A paragraph for each line. Of blanks side by side readers keep one, but for those that are counted.
fn text_cell(text: &str, xml: &mut String) {
    xml.push_str("<table:table-cell office:value-type=\"string\">");
    for line in clean(text).lines() {
        xml.push_str("<text:p>");
        let mut rest = line;
        let mut at_begin = true;
        while !rest.is_empty() {
            let word = rest.len() - rest.trim_start_matches([' ', '\t']).len();
            let (blanks, after) = rest.split_at(word);
            for (n, blank) in blanks.chars().enumerate() {
                match blank {
                    '\t' => xml.push_str("<text:tab/>"),
                    _ if n == 0 && !at_begin && !after.is_empty() => xml.push(' '),
                    _ => xml.push_str("<text:s/>"),
                }
            }
            let end = after.find([' ', '\t']).unwrap_or(after.len());
            xml.push_str(&escape(&after[..end]));
            rest = &after[end..];
            at_begin = false;
        }
        xml.push_str("</text:p>");
    }
    xml.push_str("</table:table-cell>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_lines_of_a_text_are_kept() {
        let mut xml = String::new();
        text_cell(" a  b\t<c>\n\n=SUM(A1) ", &mut xml);
        assert_eq!(
            xml,
            "<table:table-cell office:value-type=\"string\"><text:p><text:s/>a <text:s/>b<text:tab/>&lt;c&gt;</text:p><text:p></text:p><text:p>=SUM(A1)<text:s/></text:p></table:table-cell>"
        );
    }

    #[test]
    fn more_rows_than_programs_open_are_refused() {
        let mut ods = Ods::new(io::Cursor::new(Vec::new())).unwrap();
        ods.begin("t", &["a".into()]).unwrap();
        ods.rows = ROWS_MAX;
        let error = ods.row(&[Cell::Whole(1)]).unwrap_err();
        assert!(error.to_string().contains("1048576 rows"), "{error}");
    }
}
