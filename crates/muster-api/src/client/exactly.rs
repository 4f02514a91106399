//! The body of a request that was announced with its length.

use std::fs::File;
use std::io::{self, Read};

/// So many bytes of a file: no more where it has grown, and an error where it has become shorter, for which a request
/// would wait without end.
pub(super) struct Exactly<'a> {
    file: &'a File,
    left: u64,
}

impl<'a> Exactly<'a> {
    pub(super) fn of(file: &'a File, bytes: u64) -> Self {
        Self { file, left: bytes }
    }
}

impl Read for Exactly<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(to.len());
        let read = self.file.read(&mut to[..most])?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_has_grown_is_read_as_far_as_it_was_and_one_that_is_shorter_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "12345").unwrap();
        let file = File::open(&path).unwrap();
        let mut text = String::new();
        Exactly::of(&file, 3).read_to_string(&mut text).unwrap();
        assert_eq!(text, "123");
        let file = File::open(&path).unwrap();
        let short = Exactly::of(&file, 9).read_to_string(&mut text).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }
}
