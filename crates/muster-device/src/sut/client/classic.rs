//! Files and processes by the commands that every agent has.

use super::extended::send;
use super::link::{Link, warning};
use super::variant::Variant;
use super::{Client, Wrong};
use crate::device::{Captured, Command, Entry, Exit, Kind, Process, Stat};
use crate::error::DeviceError;
use crate::sut::agent::hex;
use crate::sut::extension::{No, Why};
use crate::sut::words;
use crate::until::Until;
use md5::{Digest as _, Md5};
use std::io::{Read, Write};

fn stat_of(kind: Kind) -> Stat {
    Stat { kind, size: None, mode: None, modified_millis: None }
}

fn not_found(path: &str) -> Wrong {
    Wrong::No(No { why: Why::NotFound, said: path.to_owned() })
}

fn refused(said: impl Into<String>) -> Wrong {
    Wrong::No(No { why: Why::Refused, said: said.into() })
}

fn is_dir(link: &mut Link, word: &str, until: &Until) -> Result<bool, Wrong> {
    match link.text(&format!("isdir {word}"), until) {
        Ok(text) => Ok(text.trim() == "TRUE"),
        // The first agents warn of what is not there.
        Err(Wrong::Warning(_)) => Ok(false),
        Err(other) => Err(other),
    }
}

/// The directory of a path, and the last name in it.
fn parts(path: &str) -> (&str, &str) {
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((dir, name)) => (dir, name),
        None => (".", path),
    }
}

fn names(link: &mut Link, word: &str, until: &Until) -> Result<Vec<String>, Wrong> {
    let text = link.text(&format!("ls {word}"), until)?;
    if text == "<empty>" {
        return Ok(Vec::new());
    }
    let names = text.lines().map(|l| l.trim_end_matches('\r')).filter(|l| !l.is_empty());
    Ok(names.filter(|l| *l != "." && *l != "..").map(str::to_owned).collect())
}

pub(super) fn processes(link: &mut Link, until: &Until) -> Result<Vec<Process>, Wrong> {
    let text = link.text("ps", until)?;
    let mut list: Vec<Process> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            process(line, link.variant()).ok_or_else(|| Wrong::Nonsense(format!("a process: {line:?}")))
        })
        .collect::<Result<_, _>>()?;
    list.sort_by_key(|p| p.pid);
    Ok(list)
}

/// `uid pid name`, or `pid name`; one agent has the first two the other way round. Names may have blanks.
fn process(line: &str, variant: &Variant) -> Option<Process> {
    let line = line.trim();
    let (first, rest) = line.split_once(char::is_whitespace)?;
    let first = first.parse().ok()?;
    let rest = rest.trim_start();
    let second = rest.split_once(char::is_whitespace).and_then(|(n, name)| Some((n.parse().ok()?, name)));
    let (uid, pid, name) = match (second, variant) {
        (None, _) => (None, first, rest),
        (Some((second, name)), Variant::Negatus) => (Some(second), first, name),
        (Some((second, name)), _) => (Some(first), second, name),
    };
    let command = name.trim().to_owned();
    let name = command.split_whitespace().next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or(name).to_owned();
    Some(Process { pid, uid, name, command: Some(command) })
}

impl Client {
    /// A path as this agent takes it.
    fn word(&self, link: &Link, path: &str) -> Result<String, Wrong> {
        let bare = !path.is_empty() && !path.contains([' ', '\t', '\r', '\n', '\0', '\\']);
        if bare && !path.starts_with(['\'', '"']) {
            return Ok(path.to_owned());
        }
        if link.variant().knows_quotes()
            && !path.contains('\\')
            && let Some(word) = words::quote(path)
        {
            return Ok(word);
        }
        let why = "its agent takes no path with blanks, quotes or backslashes";
        Err(self.unsupported(format!("take the path `{path}`"), why).into())
    }

    pub(super) fn push_classic(
        &self,
        link: &mut Link,
        from: &mut dyn Read,
        size: u64,
        to: &str,
        until: &Until,
    ) -> Result<(), Wrong> {
        let word = self.word(link, to)?;
        let above = self.word(link, parts(to).0)?;
        // Asked first, because these agents take what they refuse for commands.
        if !is_dir(link, &above, until)? {
            return Err(not_found(to));
        }
        if is_dir(link, &word, until)? {
            return Err(refused("it is a directory"));
        }
        link.say(&format!("push {word} {size}"), until)?;
        link.begin();
        let sent = send(link, from, size, true, until)?;
        let answer = match link.answer(until) {
            Err(Wrong::Warning(said)) => {
                // Some of it may have been taken for commands, and their answers are still to come.
                link.begin();
                return Err(Wrong::Warning(said));
            }
            other => other?,
        };
        self.same(to, &sent, answer.lines().last().unwrap_or_default().trim())
    }

    pub(super) fn pull_classic(
        &self,
        link: &mut Link,
        from: &str,
        offset: u64,
        to: &mut dyn Write,
        until: &Until,
    ) -> Result<u64, Wrong> {
        let word = self.word(link, from)?;
        let line = if offset == 0 { format!("pull {word}") } else { format!("pull {word} {offset}") };
        link.say(&line, until)?;
        let header = link.line(until)?;
        let no = warning(&header);
        let bytes = header.rsplit_once(',').and_then(|(_, n)| n.trim().parse::<i64>().ok());
        let bytes = match (no, bytes) {
            (Some(why), None) => {
                link.answer(until)?;
                return Err(Wrong::Warning(why));
            }
            (Some(_), Some(_)) | (None, Some(..0)) => {
                let why = link.answer(until)?;
                return Err(Wrong::Warning(why));
            }
            (None, Some(bytes)) => bytes.cast_unsigned(),
            (None, None) => return Err(Wrong::Nonsense(format!("the header {header:?}"))),
        };
        let mut digest = Md5::new();
        let mut left = bytes;
        while left > 0 {
            if link.stream.input().is_empty() {
                link.more(until)?;
            }
            let input = link.stream.input();
            let n = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            digest.update(&input[..n]);
            let written = to.write_all(&input[..n]);
            link.stream.consume(n);
            written.map_err(|source| DeviceError::Output { device: self.address.clone(), source })?;
            left -= n as u64;
        }
        link.prompt(until)?;
        if offset == 0 {
            match link.text(&format!("hash {word}"), until) {
                Ok(there) => self.same(from, &hex(&digest.finalize()), there.trim())?,
                // An agent that has no digests cannot be asked for one.
                Err(Wrong::Warning(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(bytes)
    }

    pub(super) fn list_classic(
        &self,
        link: &mut Link,
        dir: &str,
        until: &Until,
    ) -> Result<Vec<Entry>, Wrong> {
        let word = self.word(link, dir)?;
        if !is_dir(link, &word, until)? {
            return match self.stat_classic(link, dir, until)? {
                None => Err(not_found(dir)),
                Some(_) => Err(refused("it is no directory")),
            };
        }
        let mut entries = Vec::new();
        for name in names(link, &word, until)? {
            let path = format!("{}/{name}", dir.trim_end_matches('/'));
            let kind = match self.word(link, &path) {
                Ok(word) if is_dir(link, &word, until)? => Kind::Dir,
                // What cannot be asked for is most likely a file.
                _ => Kind::File,
            };
            entries.push(Entry { name, stat: stat_of(kind) });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    pub(super) fn stat_classic(
        &self,
        link: &mut Link,
        path: &str,
        until: &Until,
    ) -> Result<Option<Stat>, Wrong> {
        if is_dir(link, &self.word(link, path)?, until)? {
            return Ok(Some(stat_of(Kind::Dir)));
        }
        let (above, name) = parts(path);
        let above = self.word(link, above)?;
        if name.is_empty() || !is_dir(link, &above, until)? {
            return Ok(None);
        }
        let there = names(link, &above, until)?.iter().any(|n| n == name);
        Ok(there.then(|| stat_of(Kind::File)))
    }

    pub(super) fn make_dir_classic(&self, link: &mut Link, dir: &str, until: &Until) -> Result<(), Wrong> {
        if is_dir(link, &self.word(link, dir)?, until)? {
            return Ok(());
        }
        // Some agents make one level at a time.
        let ends = dir.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        for end in ends.chain([dir.len()]) {
            let word = self.word(link, &dir[..end])?;
            if is_dir(link, &word, until)? {
                continue;
            }
            match link.text(&format!("mkdr {word}"), until) {
                // Somebody else may have made it meanwhile.
                Err(Wrong::Warning(said)) if !is_dir(link, &word, until)? => {
                    return Err(Wrong::Warning(said));
                }
                Err(Wrong::Warning(_)) | Ok(_) => {}
                Err(other) => return Err(other),
            }
        }
        if is_dir(link, &self.word(link, dir)?, until)? { Ok(()) } else { Err(refused("it was not made")) }
    }

    pub(super) fn remove_classic(&self, link: &mut Link, path: &str, until: &Until) -> Result<(), Wrong> {
        let word = self.word(link, path)?;
        let said = match self.stat_classic(link, path, until)? {
            None => return Err(not_found(path)),
            Some(stat) if stat.kind == Kind::Dir => link.text(&format!("rmdr {word}"), until)?,
            Some(_) => link.text(&format!("rm {word}"), until)?,
        };
        // What it says of success is a story.
        match self.stat_classic(link, path, until)? {
            None => Ok(()),
            Some(_) => Err(refused(said)),
        }
    }

    pub(super) fn signal_classic(
        &self,
        link: &mut Link,
        pid: u32,
        signal: i32,
        until: &Until,
    ) -> Result<(), Wrong> {
        if pid == 0 || i32::try_from(pid).is_err() {
            return Err(refused("there is no process of this number"));
        }
        let mut said = Captured::default();
        let command = Command::new(["kill".to_owned(), format!("-{signal}"), pid.to_string()]);
        match self.run_line(link, &command, false, &mut said, until)? {
            Exit::Code(0) => Ok(()),
            _ => Err(refused(String::from_utf8_lossy(&said.stdout).trim())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_processes_are_read_as_each_agent_writes_them() {
        let check = |line: &str, variant: &Variant, expected: (u32, Option<u32>, &str)| {
            let found = process(line, variant).unwrap();
            assert_eq!((found.pid, found.uid, &*found.name), expected, "{line}");
        };
        let java = Variant::Java(1, 18);
        check("10012\t417\torg.mozilla.fennec", &java, (417, Some(10012), "org.mozilla.fennec"));
        check("0\t1\t/sbin/init splash", &java, (1, Some(0), "init"));
        check("417 init", &java, (417, None, "init"));
        check("417\t10012\tb2g", &Variant::Negatus, (417, Some(10012), "b2g"));
        assert_eq!(process("no process", &java), None);
    }
}
