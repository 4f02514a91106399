//! `packages.checksum`: for each file of a repository the MD5 of its bytes.
//!
//! It has had two writers: one blank in hash order, and `md5sum *` with two blanks, sorted. Both are read, and
//! the first is written, sorted. Where its first readers die of a blank line, this one goes on and says which
//! line is none. The sums say whether what is cached is fresh, and here also whether what was fetched is what
//! was published; whoever can write to a repository can write both, so they prove nothing more.

use md5::{Digest as _, Md5 as Hasher};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, Read};
use std::str::FromStr;
use thiserror::Error;

/// Its name, at the root of a repository.
pub const FILE: &str = "packages.checksum";
/// Longest file that is read.
// Limit: some 400,000 packages; an error page or a tarball under this name may have no end.
pub const BYTES_MAX: u64 = 32 << 20;

/// The MD5 of bytes, by which Autotest names a version of a package.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Md5(pub [u8; 16]);

impl Md5 {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Hasher::digest(bytes).into())
    }

    /// Of all that comes.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of_reader(mut from: impl Read) -> io::Result<Self> {
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(Self(hasher.finalize().into())),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl fmt::Display for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no MD5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an MD5 is 32 hexadecimal digits")]
pub struct NoMd5;

impl FromStr for Md5 {
    type Err = NoMd5;

    fn from_str(text: &str) -> Result<Self, NoMd5> {
        let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
        let digits = digits.filter(|d| d.len() == 32).ok_or(NoMd5)?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::try_from(pair[0] << 4 | pair[1]).map_err(|_| NoMd5)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Md5 {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Md5 {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// What is published in a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checksums(BTreeMap<String, Md5>);

/// A line that is not as it should be, and what was made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Its number, from 1.
    pub line: usize,
    /// What is strange about it.
    pub strange: Strange,
}

/// What is strange about a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strange {
    /// Nothing is on it, between others that have something.
    Blank,
    /// It is not a sum and a name; it was left out.
    NoEntry,
    /// The name stands in an earlier line too, with another sum; this one holds.
    Again(String),
    /// `md5sum -b` wrote a `*` before the name, which is not part of it.
    Starred(String),
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FILE}:{}: ", self.line)?;
        match &self.strange {
            Strange::Blank => f.write_str("the line is blank"),
            Strange::NoEntry => f.write_str("this is not a sum and a name; the line is left out"),
            Strange::Again(name) => write!(f, "`{name}` has another sum above; this one holds"),
            Strange::Starred(name) => write!(f, "the `*` before `{name}` is taken for that of `md5sum -b`"),
        }
    }
}

/// What is not such a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotChecksums {
    /// A web server's error page, most likely.
    #[error("what lies under the name `{FILE}` is a page in HTML, not a list of sums")]
    Html,
    /// It has lines, and none of them is an entry.
    #[error("what lies under the name `{FILE}` has no line of the form `MD5 NAME`")]
    NoEntries,
    /// It is longer than such a file can be.
    #[error("what lies under the name `{FILE}` is longer than {BYTES_MAX} bytes")]
    TooLong,
}

impl Checksums {
    /// Reads such a file. A blank one has no entries.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(bytes: &[u8]) -> Result<(Self, Vec<Remark>), NotChecksums> {
        if bytes.len() as u64 > BYTES_MAX {
            return Err(NotChecksums::TooLong);
        }
        if bytes.trim_ascii_start().starts_with(b"<") {
            return Err(NotChecksums::Html);
        }
        let (mut sums, mut remarks) = (Self::default(), Vec::new());
        let is_blank = bytes.trim_ascii().is_empty();
        let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|c| *c == b'\n');
        for (number, line) in (1..).zip(lines) {
            if is_blank {
                break;
            }
            let mut remark = |strange| remarks.push(Remark { line: number, strange });
            if line.trim_ascii().is_empty() {
                remark(Strange::Blank);
                continue;
            }
            let Some((name, sum)) = entry(line) else {
                remark(Strange::NoEntry);
                continue;
            };
            let starred = name.starts_with('*');
            let name = name.trim_start_matches(['*', ' ', '\t']);
            if starred {
                remark(Strange::Starred(name.to_owned()));
            }
            if sums.0.insert(name.to_owned(), sum).is_some_and(|old| old != sum) {
                remark(Strange::Again(name.to_owned()));
            }
        }
        if sums.0.is_empty() && !is_blank { Err(NotChecksums::NoEntries) } else { Ok((sums, remarks)) }
    }

    /// As it is written: sorted, one blank, a line feed behind each; of nothing, one line feed.
    pub fn write(&self) -> String {
        let mut text = String::with_capacity(self.0.len() * 64);
        for (name, sum) in &self.0 {
            writeln!(text, "{sum} {name}").expect("writing to a string does not fail");
        }
        if text.is_empty() { "\n".to_owned() } else { text }
    }

    /// What is published of this file.
    pub fn get(&self, file: &str) -> Option<Md5> {
        self.0.get(file).copied()
    }

    /// Publishes this of it.
    pub fn insert(&mut self, file: &str, sum: Md5) -> Option<Md5> {
        self.0.insert(file.to_owned(), sum)
    }

    /// Publishes it no more.
    pub fn remove(&mut self, file: &str) -> Option<Md5> {
        self.0.remove(file)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Md5)> {
        self.0.iter().map(|(name, sum)| (name.as_str(), *sum))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A sum, blanks, and the rest of the line as it is.
fn entry(line: &[u8]) -> Option<(&str, Md5)> {
    let line = std::str::from_utf8(line).ok()?.trim_start_matches([' ', '\t']).trim_end_matches('\r');
    let (sum, rest) = line.split_once([' ', '\t'])?;
    let name = rest.trim_start_matches([' ', '\t']);
    (!name.trim_start_matches(['*', ' ', '\t']).is_empty() && !name.contains('\0'))
        .then_some((name, sum.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0cc175b9c0f1b6a831c399e269772661";
    const B: &str = "92eb5ffee6ae2fec3ad71c777531578f";

    fn read(text: &str) -> (Checksums, Vec<Remark>) {
        Checksums::read(text.as_bytes()).unwrap()
    }

    fn both() -> Checksums {
        let mut sums = Checksums::default();
        sums.insert("test-a.tar.bz2", Md5::of(b"a"));
        sums.insert("test-b.tar.bz2", Md5::of(b"b"));
        sums
    }

    #[test]
    fn both_spacings_and_any_order_are_read_and_one_is_written() {
        for text in [
            format!("{B} test-b.tar.bz2\n{A} test-a.tar.bz2\n"),
            format!("{A}  test-a.tar.bz2\n{B}  test-b.tar.bz2\n"),
            format!("{A}\ttest-a.tar.bz2\n{B} test-b.tar.bz2"),
            format!("{A}  test-a.tar.bz2\r\n{B}  test-b.tar.bz2\r\n"),
            format!("{}  test-a.tar.bz2\n{B}  test-b.tar.bz2\n", A.to_uppercase()),
        ] {
            assert_eq!(read(&text), (both(), vec![]), "{text:?}");
        }
        assert_eq!(both().write(), format!("{A} test-a.tar.bz2\n{B} test-b.tar.bz2\n"));
        assert_eq!(read(&both().write()), (both(), vec![]));
    }

    #[test]
    fn an_emptied_file_is_one_line_feed() {
        assert_eq!(Checksums::default().write(), "\n");
        for blank in ["", "\n", "\n\n", " \n\t\n"] {
            assert_eq!(read(blank), (Checksums::default(), vec![]), "{blank:?}");
        }
    }

    /// Row 10: a blank line or junk kills the usual reader.
    #[test]
    fn row_10_a_line_that_is_none_is_told_by_its_number_and_costs_no_other() {
        let text = format!("{A} test-a.tar.bz2\n\n{A}\nnot-a-sum x\n{B}  test-b.tar.bz2\n");
        let (sums, remarks) = read(&text);
        assert_eq!(sums, both());
        let told: Vec<_> = remarks.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "packages.checksum:2: the line is blank",
                "packages.checksum:3: this is not a sum and a name; the line is left out",
                "packages.checksum:4: this is not a sum and a name; the line is left out",
            ]
        );
    }

    #[test]
    fn the_last_of_two_entries_holds_and_names_are_taken_as_they_are() {
        let (sums, remarks) = read(&format!("{A} x\n{B} x\n{B} x\n{A} two words \n"));
        assert_eq!(sums.get("x"), Some(Md5::of(b"b")));
        assert_eq!(sums.get("two words "), Some(Md5::of(b"a")));
        assert_eq!(remarks, [Remark { line: 2, strange: Strange::Again("x".to_owned()) }]);
    }

    #[test]
    fn what_md5sum_writes_of_binary_files_is_understood() {
        let (sums, remarks) = read(&format!("{A} *test-a.tar.bz2\n{B} *test-b.tar.bz2\n"));
        assert_eq!(sums, both());
        assert_eq!(remarks.len(), 2);
    }

    /// Row 4: an error page that was saved as content.
    #[test]
    fn row_4_a_page_in_html_is_not_taken_for_sums() {
        for page in ["<html>404</html>", "\n <!DOCTYPE html>\n<title>Not Found</title>"] {
            assert_eq!(Checksums::read(page.as_bytes()), Err(NotChecksums::Html));
        }
        for junk in ["Not Found\n", "{\"error\": 404}\n", "\u{0}\u{1}\n", "* *\n"] {
            assert_eq!(Checksums::read(junk.as_bytes()), Err(NotChecksums::NoEntries), "{junk:?}");
        }
        assert_eq!(Checksums::read(b"\xff\xfe\n"), Err(NotChecksums::NoEntries));
    }

    /// Row 11: where the file is written by a shell, it ends at 1,600 packages.
    #[test]
    fn row_11_there_may_be_any_number_of_packages() {
        let mut sums = Checksums::default();
        for number in 0..20_000 {
            sums.insert(&format!("test-{number}.tar.bz2"), Md5::of(&u32::to_be_bytes(number)));
        }
        let text = sums.write();
        assert!(text.len() > 128 << 10);
        assert_eq!(read(&text), (sums, vec![]));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_end_the_reader(bytes: Vec<u8>) {
            if let Ok((sums, _)) = Checksums::read(&bytes) {
                let (again, remarks) = Checksums::read(sums.write().as_bytes()).expect("its own writing is read");
                proptest::prop_assert_eq!(sums.len(), again.len());
                proptest::prop_assert!(remarks.is_empty(), "{:?}", remarks);
            }
        }
    }
}
