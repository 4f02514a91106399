//! Files, by what a shell and the usual small programs can do with them.

use super::device::Ssh;
use super::script;
use super::session::Input;
use crate::device::{Captured, Device as _, Entry, Files, Kind, Sink, Stat};
use crate::error::DeviceError;
use crate::sut::agent::hex;
use crate::sut::words::shell_quote;
use crate::tree::{self, Moved};
use crate::until::Until;
use md5::{Digest as _, Md5};
use muster_core::output::Stream;
use std::io::{self, Read, Write};
use std::path::Path;

/// With this the lines here say that a path leads to nothing.
const NOT_FOUND: i32 = 44;

/// With this, that the device has no `tar`.
pub(super) const NO_TAR: i32 = 45;

/// Whether the device can say what is in a file.
pub(super) const HAS_SUMS: &str = "command -v md5sum >/dev/null";

/// What `stat` is asked for: mode, bytes, seconds, and the time as text for what is less than a second.
const FORMAT: &str = "%f %s %Y %y";

impl Ssh {
    /// Lines about a path: `$p` is the path. What they print, if they end well.
    pub(super) fn about(
        &self,
        path: &str,
        lines: &str,
        input: Option<Input<'_>>,
        doing: &str,
        until: &Until,
    ) -> Result<Vec<u8>, DeviceError> {
        let mut said = Captured::default();
        self.about_to(path, lines, input, &mut said, doing, until)?;
        Ok(said.stdout)
    }

    /// The same with what they print going elsewhere. Returns once they have ended well.
    pub(super) fn about_to(
        &self,
        path: &str,
        lines: &str,
        input: Option<Input<'_>>,
        sink: &mut dyn Sink,
        doing: &str,
        until: &Until,
    ) -> Result<(), DeviceError> {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(DeviceError::Senseless {
                what: format!("{path:?}: paths on a device begin with `/` and have no zero byte"),
            });
        }
        let mut errors = Captured::default();
        let mut apart = |stream: Stream, bytes: &[u8]| match stream {
            Stream::Stdout => sink.take(stream, bytes),
            Stream::Stderr | Stream::Muster => errors.take(stream, bytes),
        };
        let lines = format!("LC_ALL=C\nexport LC_ALL\np={}\n{lines}", shell_quote(path));
        let code = self.lines_to(&lines, input, &mut apart, doing, until)?;
        let (device, path) = (|| self.address().to_owned(), || path.to_owned());
        let said = String::from_utf8_lossy(&errors.stderr);
        match code {
            0 => Ok(()),
            NOT_FOUND => Err(DeviceError::NotFound { device: device(), path: path() }),
            NO_TAR => Err(DeviceError::Unsupported {
                driver: "ssh",
                device: device(),
                what: "move whole directories".to_owned(),
                why: "there is no program `tar`".to_owned(),
            }),
            _ if said.contains("No space left") || said.contains("quota exceeded") => {
                Err(DeviceError::Full { device: device(), path: path() })
            }
            _ => Err(self.refused(doing, &errors)),
        }
    }

    pub(super) fn damaged(&self, path: &str, what: String) -> DeviceError {
        DeviceError::Damaged { device: self.address().to_owned(), path: path.to_owned(), what }
    }

    fn strange(&self, doing: String, what: &[u8]) -> DeviceError {
        let what = format!("`stat` there printed {:?}", String::from_utf8_lossy(what));
        DeviceError::Protocol { device: self.address().to_owned(), doing, what }
    }
}

impl Files for Ssh {
    fn push(&self, from: &mut dyn Read, size: u64, to: &str, until: &Until) -> Result<(), DeviceError> {
        let doing = format!("writing `{to}`");
        let (above, name) = to.rsplit_once('/').unwrap_or(("", to));
        if name.is_empty() || name == "." || name == ".." {
            return Err(DeviceError::Senseless { what: format!("`{to}` is no path of a file") });
        }
        let part = format!("{above}/.{}.part", script::nonce());
        // A connection that is cut ends the input too soon: the bytes are counted before they count. Whether they are
        // the right ones is known here, when all are on their way.
        let lines = format!(
            "t={}; d={}
             if ! [ -d \"$d\" ]; then exit {NOT_FOUND}; fi
             if [ -d \"$p\" ]; then echo 'it is a directory' >&2; exit 1; fi
             mu_sum() {{ ! {HAS_SUMS} || md5sum; }}
             if cat >\"$t\" && [ \"$(wc -c <\"$t\")\" -eq {size} ] && mu_sum <\"$t\" && mv -f \"$t\" \"$p\"
             then exit 0; fi
             rm -f \"$t\"
             echo 'it did not arrive whole' >&2
             exit 1",
            shell_quote(&part),
            shell_quote(if above.is_empty() { "/" } else { above }),
        );
        let mut summed = Summed { from, md5: Md5::new() };
        let said = self.about(to, &lines, Some((&mut summed, size)), &doing, until)?;
        let (sent, found) = (hex(&summed.md5.finalize()), sums(&said));
        // A device without `md5sum` is believed.
        if found.first().is_none_or(|found| *found == sent) {
            return Ok(());
        }
        // Nobody is to take it for what it should be. That it is damaged says more than that it stays.
        let _stays = self.remove(to, until);
        Err(self.damaged(to, format!("its MD5 is {sent} here and {} there", found[0])))
    }

    fn pull(&self, from: &str, offset: u64, to: &mut dyn Write, until: &Until) -> Result<u64, DeviceError> {
        let doing = format!("reading `{from}`");
        let read = match offset {
            0 => "cat \"$p\"".to_owned(),
            _ => format!("tail -c +{} \"$p\"", offset + 1),
        };
        let lines = format!(
            "if ! [ -e \"$p\" ]; then exit {NOT_FOUND}; fi
             if [ -d \"$p\" ]; then echo 'it is a directory' >&2; exit 1; fi
             {read}"
        );
        let mut moved = 0;
        let mut sink = |_: Stream, bytes: &[u8]| -> io::Result<()> {
            moved += bytes.len() as u64;
            to.write_all(bytes)
        };
        self.about_to(from, &lines, None, &mut sink, &doing, until)?;
        Ok(moved)
    }

    fn push_path(&self, from: &Path, to: &str, until: &Until) -> Result<Moved, DeviceError> {
        if from.is_dir() {
            match self.push_dir(from, to, until) {
                Err(DeviceError::Unsupported { .. }) => {}
                other => return other,
            }
        }
        tree::push_path(self, from, to, until)
    }

    fn pull_path(&self, from: &str, to: &Path, until: &Until) -> Result<Moved, DeviceError> {
        let stat = self.stat(from, until)?;
        if stat.as_ref().is_none_or(|s| s.kind != Kind::Dir) {
            return tree::pull_one(self, from, stat.as_ref(), to, until);
        }
        match self.pull_dir(from, to, until) {
            Err(DeviceError::Unsupported { .. }) => tree::pull_path(self, from, to, until),
            other => other,
        }
    }

    fn list(&self, dir: &str, until: &Until) -> Result<Vec<Entry>, DeviceError> {
        let doing = format!("listing `{dir}`");
        // Names may have line breaks, but they do not have this.
        let mark = script::nonce();
        let lines = format!(
            "if ! [ -e \"$p\" ]; then exit {NOT_FOUND}; fi
             cd -- \"$p\" || exit 1
             find . ! -name . -prune -exec stat -c '{mark} {FORMAT} /%n' {{}} +
             exit 0"
        );
        let text = self.about(dir, &lines, None, &doing, until)?;
        let mut entries = Vec::new();
        for record in split(&text, format!("{mark} ").as_bytes()).into_iter().skip(1) {
            let at = find(record, b" /").ok_or_else(|| self.strange(doing.clone(), record))?;
            let name = record[at + 2..].strip_suffix(b"\n").unwrap_or(&record[at + 2..]);
            let name = name.strip_prefix(b"./").unwrap_or(name);
            let stat = read_stat(&record[..at]).ok_or_else(|| self.strange(doing.clone(), record))?;
            entries.push(Entry { name: String::from_utf8_lossy(name).into_owned(), stat });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn stat(&self, path: &str, until: &Until) -> Result<Option<Stat>, DeviceError> {
        let doing = format!("looking at `{path}`");
        let lines = format!("[ -e \"$p\" ] || exit {NOT_FOUND}\nstat -L -c '{FORMAT}' \"$p\"");
        match self.about(path, &lines, None, &doing, until) {
            Ok(text) => read_stat(&text).map(Some).ok_or_else(|| self.strange(doing, &text)),
            Err(DeviceError::NotFound { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn make_dir(&self, dir: &str, until: &Until) -> Result<(), DeviceError> {
        self.about(dir, "mkdir -p \"$p\"", None, &format!("making `{dir}`"), until).map(drop)
    }

    fn remove(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        let lines = format!("[ -e \"$p\" ] || [ -L \"$p\" ] || exit {NOT_FOUND}\nrm -rf \"$p\"");
        self.about(path, &lines, None, &format!("removing `{path}`"), until).map(drop)
    }

    fn make_executable(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        let lines = format!("[ -e \"$p\" ] || exit {NOT_FOUND}\nchmod +x \"$p\"");
        self.about(path, &lines, None, &format!("making `{path}` a program"), until).map(drop)
    }

    fn test_root(&self, until: &Until) -> Result<String, DeviceError> {
        if let Some(root) = self.target.test_root.as_ref().or(self.test_root.get()) {
            return Ok(root.clone());
        }
        let doing = "asking for its test root";
        let lines = "for d in \"$TMPDIR\" /tmp /data/local/tmp; do
               if [ -d \"$d\" ] && [ -w \"$d\" ]; then printf '%s' \"$d\"; exit 0; fi
             done
             echo 'there is no directory for temporary files; name one with ?test-root=DIR' >&2; exit 1";
        let (code, said) = self.lines(lines, None, doing, until)?;
        if code != 0 {
            return Err(self.refused(doing, &said));
        }
        let root = String::from_utf8_lossy(&said.stdout).into_owned();
        let root = if root == "/" { root } else { root.trim_end_matches('/').to_owned() };
        Ok(self.test_root.get_or_init(|| root).clone())
    }
}

/// What passes through it has a digest.
struct Summed<'a> {
    from: &'a mut dyn Read,
    md5: Md5,
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.md5.update(&buffer[..n]);
        Ok(n)
    }
}

/// The digests that `md5sum` has printed, in small letters.
pub(super) fn sums(text: &[u8]) -> Vec<String> {
    let sum = |line: &[u8]| {
        // So begin those of odd names.
        let line = line.strip_prefix(b"\\").unwrap_or(line);
        let (sum, name) = line.split_at_checked(32)?;
        let is_sum = sum.iter().all(u8::is_ascii_hexdigit) && name.starts_with(b" ");
        is_sum.then(|| String::from_utf8_lossy(sum).to_ascii_lowercase())
    };
    text.split(|b| *b == b'\n').filter_map(sum).collect()
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|w| w == wanted)
}

fn split<'a>(text: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = find(rest, mark) {
        parts.push(&rest[..at]);
        rest = &rest[at + mark.len()..];
    }
    parts.push(rest);
    parts
}

/// What `stat` prints for [`FORMAT`].
fn read_stat(text: &[u8]) -> Option<Stat> {
    let mut fields = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let mode = u32::from_str_radix(fields.next()?, 16).ok()?;
    let size = fields.next()?.parse().ok()?;
    let secs: i64 = fields.next()?.parse().ok()?;
    // `2026-01-31 12:00:00.123456789 +0000`, in some places without the fraction.
    let fraction = fields.nth(1).and_then(|time| time.split_once('.')).map_or("", |(_, f)| f);
    let millis: i64 = fraction.get(..3).and_then(|f| f.parse().ok()).unwrap_or(0);
    let kind = match mode & 0o170_000 {
        0o100_000 => Kind::File,
        0o040_000 => Kind::Dir,
        0o120_000 => Kind::Link,
        _ => Kind::Other,
    };
    Some(Stat {
        kind,
        size: (kind == Kind::File).then_some(size),
        mode: Some(mode & 0o7777),
        modified_millis: Some(secs * 1000 + millis),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_md5sum_is_read_also_where_names_are_odd() {
        let (one, two) = ("d41d8cd98f00b204e9800998ecf8427e", "0CC175B9C0F1B6A831C399E269772661");
        let text = format!("{one}  -\n\\{two}  ./a\\nb\nrest of a name\n{one}\n");
        assert_eq!(sums(text.as_bytes()), [one, &two.to_ascii_lowercase()]);
        assert!(sums(b"").is_empty());
    }

    #[test]
    fn the_answer_of_stat_is_read() {
        let check = |text: &str, kind, size, mode, millis| {
            let stat = read_stat(text.as_bytes()).unwrap();
            let expected = Stat { kind, size, mode: Some(mode), modified_millis: Some(millis) };
            assert_eq!(stat, expected, "{text}");
        };
        check(
            "81a4 5 1700000000 2023-11-14 22:13:20.123456789 +0000\n",
            Kind::File,
            Some(5),
            0o644,
            1_700_000_000_123,
        );
        check("41ed 4096 1700000000 2023-11-14 22:13:20", Kind::Dir, None, 0o755, 1_700_000_000_000);
        check("a1ff 3 -1 1969-12-31 23:59:59.000 +0000", Kind::Link, None, 0o777, -1000);
        assert_eq!(read_stat(b"stat: nonsense"), None);
    }
}
