//! Commands about files.

use super::replies::{Reply, why};
use super::session::{Over, Session};
use super::system;
use crate::device::Kind;
use crate::host::facts;
use crate::host::space::Coming;
use crate::sut::{CALL_BACK_FILE, PROMPT, WARNING};
use md5::{Digest as _, Md5};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// How much is read of a file at once.
const CHUNK_BYTES: usize = 128 << 10;
// Limit: longest text about whom to call after a reboot.
const CALL_BACK_BYTES_MAX: u64 = 4096;

/// `push PATH BYTES` and the bytes.
pub(super) fn push(session: &mut Session<'_>, path: &[u8], bytes: &[u8]) -> Result<Reply, Over> {
    let Some(bytes) = number(bytes) else {
        // What follows may be the file, and must not be taken for commands.
        return Ok(Reply::Lost("push: the size is no number".to_owned()));
    };
    if path == CALL_BACK_FILE.as_bytes() {
        return push_call_back(session, bytes);
    }
    let path = session.path(path);
    Ok(match store(session, &path, bytes)? {
        Ok(digest) => Reply::text(digest),
        Err(e) => Reply::about(&path.to_string_lossy(), &e),
    })
}

/// Reads a payload to its end in any case, and writes it to a file; its digest.
pub(super) fn store(session: &mut Session<'_>, path: &Path, bytes: u64) -> Result<io::Result<String>, Over> {
    let mut coming = session.shared.space.create(path);
    let mut digest = Md5::new();
    let mut left = bytes;
    while left > 0 {
        let some = session.payload(left)?;
        let n = some.len();
        digest.update(some);
        let written = coming.as_mut().map(|c| c.file.write_all(some));
        if let Ok(Err(e)) = written {
            coming = Err(e);
        }
        session.stream.consume(n);
        left -= n as u64;
    }
    let done = coming.and_then(Coming::finish);
    Ok(done.map(|()| hex(&digest.finalize())))
}

/// Whom to call after a reboot is kept where a reboot leaves it, whatever the path says.
fn push_call_back(session: &mut Session<'_>, bytes: u64) -> Result<Reply, Over> {
    if bytes > CALL_BACK_BYTES_MAX {
        return Ok(Reply::Lost(format!("{CALL_BACK_FILE}: at most {CALL_BACK_BYTES_MAX} bytes")));
    }
    let text = session.whole_payload(bytes)?;
    Ok(match std::fs::write(system::call_back_file(session.shared), &text) {
        Ok(()) => Reply::text(hex(&Md5::digest(&text))),
        Err(e) => Reply::about(CALL_BACK_FILE, &e),
    })
}

/// `pull PATH [OFFSET [LENGTH]]`: a header line, the bytes, the prompt.
pub(super) fn pull(session: &mut Session<'_>, word: &[u8], range: &[&[u8]]) -> Result<Reply, Over> {
    let path = session.path(word);
    let name = String::from_utf8_lossy(word).into_owned();
    let signed =
        |n: Option<&&[u8]>| n.map_or(Some(None), |n| std::str::from_utf8(n).ok()?.parse().ok().map(Some));
    let (Some(offset), Some(length)) = (signed(range.first()), signed(range.get(1))) else {
        return pull_failed(session, &name, "offset and length are numbers");
    };
    let offset: i64 = offset.unwrap_or(0);
    let length: Option<i64> = length.filter(|n| *n >= 0);
    let offset = u64::try_from(offset).unwrap_or(0);
    let mut source = match open(session, &path, offset) {
        Ok(source) => source,
        Err(e) => return pull_failed(session, &name, &why(&e)),
    };
    let bytes = length.map_or(source.bytes, |n| source.bytes.min(n.cast_unsigned()));
    session.say(format!("{name},{bytes}\n").as_bytes())?;
    source.send(bytes, |some| session.say(some))?;
    session.say(PROMPT)?;
    Ok(Reply::Said)
}

fn pull_failed(session: &mut Session<'_>, name: &str, why: &str) -> Result<Reply, Over> {
    let mut text = format!("{WARNING}{name},-1\n{why}\n").into_bytes();
    text.extend_from_slice(PROMPT);
    session.say(&text)?;
    Ok(Reply::Said)
}

/// A file from some place on.
pub(super) struct Source {
    file: File,
    /// Read already: a file without a size.
    read: Option<Vec<u8>>,
    pub(super) bytes: u64,
}

// Limit: what is read of a file that does not know its size, as those of /proc.
const UNSIZED_BYTES_MAX: u64 = 16 << 20;

/// Opens a file to be sent.
pub(super) fn open(session: &Session<'_>, path: &Path, offset: u64) -> io::Result<Source> {
    let mut file = session.shared.space.read(path)?;
    let size = file.metadata()?.len();
    if size == 0 {
        let mut all = Vec::new();
        Read::by_ref(&mut file).take(UNSIZED_BYTES_MAX).read_to_end(&mut all)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all.len());
        all.drain(..start);
        return Ok(Source { file, bytes: all.len() as u64, read: Some(all) });
    }
    file.seek(SeekFrom::Start(offset.min(size)))?;
    Ok(Source { file, read: None, bytes: size.saturating_sub(offset) })
}

impl Source {
    /// Sends exactly so many bytes. The connection is over if there are fewer: they were promised.
    pub(super) fn send(
        &mut self,
        bytes: u64,
        mut say: impl FnMut(&[u8]) -> Result<(), Over>,
    ) -> Result<(), Over> {
        if let Some(read) = &self.read {
            return say(&read[..usize::try_from(bytes).unwrap_or(usize::MAX).min(read.len())]);
        }
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut left = bytes;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let n = match self.file.read(&mut buffer[..want]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => return Err(Over),
                Ok(n) => n,
            };
            say(&buffer[..n])?;
            left -= n as u64;
        }
        Ok(())
    }
}

/// `cat PATH`: the bytes, prompts in them spoilt, and the prompt.
pub(super) fn cat(session: &mut Session<'_>, word: &[u8]) -> Result<Reply, Over> {
    let path = session.path(word);
    let mut source = match open(session, &path, 0) {
        Ok(source) => source,
        Err(e) => return Ok(Reply::about(&path.to_string_lossy(), &e)),
    };
    let mut spoiler = super::replies::Spoiler::default();
    let bytes = source.bytes;
    source.send(bytes, |some| session.say(&spoiler.take(some)))?;
    session.say(spoiler.rest())?;
    session.say(PROMPT)?;
    Ok(Reply::Said)
}

/// Commands whose answer is a text.
pub(super) fn simple(session: &mut Session<'_>, word: &str, args: &[&[u8]]) -> Option<Reply> {
    let space = &session.shared.space;
    let shown = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    let done = |path: &[u8], done: io::Result<()>, text: String| match done {
        Ok(()) => Reply::text(text),
        Err(e) => Reply::about(&shown(path), &e),
    };
    Some(match (word, args) {
        ("testroot", _) => Reply::text(session.shared.config.test_root.as_os_str().as_bytes()),
        ("tmpd", _) => tmpd(session),
        ("cwd", _) => Reply::text(session.cwd.as_os_str().as_bytes()),
        ("cd", [path]) => {
            let to = session.path(path);
            match space.stat(&to) {
                Ok(Some(stat)) if stat.kind == Kind::Dir => {
                    session.cwd = crate::host::space::plain(&to);
                    Reply::text("")
                }
                _ => Reply::warning(format!("{}: it is no directory that can be entered", shown(path))),
            }
        }
        ("isdir", [path]) => isdir(session, path),
        ("ls", []) => ls(session, b"."),
        ("ls", [path]) => ls(session, path),
        ("mkdr", [path]) => {
            let to = session.path(path);
            match space.stat(&to) {
                Ok(Some(_)) => {
                    Reply::warning(format!("Could not create the directory {}: it exists", shown(path)))
                }
                _ => done(path, space.make_dir(&to), format!("{} successfully created", shown(path))),
            }
        }
        ("rm", [path]) => {
            done(path, space.remove_file(&session.path(path)), format!("deleted {}", shown(path)))
        }
        ("rmdr", [path]) => {
            let to = session.path(path);
            let is_dir = space.list(&to).map(drop);
            done(path, is_dir.and_then(|()| space.remove(&to)), format!("deleted {}", shown(path)))
        }
        ("mv", [from, to]) => {
            let moved = space.rename(&session.path(from), &session.path(to));
            done(from, moved, format!("{} moved to {}", shown(from), shown(to)))
        }
        ("cp", [from, to]) => {
            let copied = copy(session, &session.path(from), &session.path(to), 0);
            done(from, copied, format!("{} copied to {}", shown(from), shown(to)))
        }
        ("dd", [a, b]) => {
            let (Some(from), Some(to)) = (a.strip_prefix(b"if="), b.strip_prefix(b"of=")) else {
                return Some(Reply::warning("dd: write dd if=FROM of=TO"));
            };
            let copied = copy(session, &session.path(from), &session.path(to), 0);
            done(from, copied, format!("{} copied to {}", shown(from), shown(to)))
        }
        ("hash", [path]) => match hash(session, &session.path(path)) {
            Ok(digest) => Reply::text(digest),
            Err(e) => Reply::about(&shown(path), &e),
        },
        ("chmod", [path]) => {
            let mut text = String::new();
            match open_up(session, &session.path(path), &mut text, 0) {
                Ok(()) => Reply::text(text),
                Err(e) => Reply::about(&shown(path), &e),
            }
        }
        ("dirw", [path]) => dirw(session, path),
        ("time", [path]) => time(session, path),
        ("disk", []) => {
            let root = &session.shared.config.test_root;
            Reply::text([Path::new("/"), root].map(|p| facts::disk(p).unwrap_or_default()).join("\n"))
        }
        ("disk", [path]) => match facts::disk(&session.path(path)) {
            Some(line) => Reply::text(line),
            None => Reply::warning(format!("{}: it has no disk", shown(path))),
        },
        _ => return None,
    })
}

fn isdir(session: &Session<'_>, word: &[u8]) -> Reply {
    let path = session.path(word);
    // Clients make directories one by one from the root on; those above must be seen to be there.
    if session.shared.space.is_above_root(&path) {
        return Reply::text("TRUE");
    }
    match session.shared.space.stat(&path) {
        Ok(Some(stat)) if stat.kind == Kind::Dir => Reply::text("TRUE"),
        Ok(Some(_)) => Reply::text("FALSE"),
        // Not a warning: that would end the client.
        Ok(None) => Reply::text(format!("{}: No such file or directory", String::from_utf8_lossy(word))),
        Err(_) => Reply::text("FALSE"),
    }
}

fn ls(session: &Session<'_>, word: &[u8]) -> Reply {
    match session.shared.space.list(&session.path(word)) {
        Ok(list) if list.is_empty() => Reply::text("<empty>"),
        Ok(list) => {
            let names: Vec<&[u8]> = list.iter().map(|(name, _)| name.as_bytes()).collect();
            Reply::text(names.join(&b'\n'))
        }
        Err(e) => Reply::about(&String::from_utf8_lossy(word), &e),
    }
}

fn tmpd(session: &Session<'_>) -> Reply {
    let dir = session.shared.config.test_root.join("tmp");
    match session.shared.space.make_dir(&dir) {
        Ok(()) => Reply::text(dir.as_os_str().as_bytes()),
        Err(e) => Reply::about(&dir.to_string_lossy(), &e),
    }
}

fn dirw(session: &Session<'_>, word: &[u8]) -> Reply {
    let path = session.path(word);
    let name = String::from_utf8_lossy(word);
    match session.shared.space.stat(&path) {
        Ok(Some(stat)) if stat.kind == Kind::Dir => {
            // Tried, not guessed from permissions. It is gone as soon as it has been made.
            let can = session.shared.space.create(&path.join(".muster-dirw")).is_ok();
            Reply::text(format!("[{name}] is {}writable", if can { "" } else { "not " }))
        }
        _ => Reply::warning(format!("{name}: it is no directory")),
    }
}

fn time(session: &Session<'_>, word: &[u8]) -> Reply {
    let name = String::from_utf8_lossy(word);
    let stat = session.shared.space.stat(&session.path(word));
    let millis = stat.ok().flatten().and_then(|s| s.modified_millis);
    let when = millis.and_then(|m| jiff::Timestamp::from_millisecond(m).ok());
    match when {
        Some(when) => {
            let when = when.to_zoned(jiff::tz::TimeZone::system());
            Reply::text(format!("Last modified: {}", when.strftime("%Y/%m/%d %H:%M:%S:%3f")))
        }
        None => Reply::warning(format!("{name}: No such file or directory")),
    }
}

fn hash(session: &Session<'_>, path: &Path) -> io::Result<String> {
    let mut file = session.shared.space.read(path)?;
    let mut digest = Md5::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&digest.finalize())),
            Ok(n) => digest.update(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

// Limit: deepest tree that is copied or opened up.
const DEPTH_MAX: u32 = 64;

/// Copies a file or a whole directory, links left out.
fn copy(session: &Session<'_>, from: &Path, to: &Path, depth: u32) -> io::Result<()> {
    let space = &session.shared.space;
    let stat = space.stat(from)?.ok_or(Errno::NOENT)?;
    if stat.kind != Kind::Dir {
        return space.copy(from, to);
    }
    if depth == DEPTH_MAX || to.starts_with(from) {
        return Err(Errno::LOOP.into());
    }
    space.make_dir(to)?;
    for (name, stat) in space.list(from)? {
        if matches!(stat.kind, Kind::Dir | Kind::File) {
            copy(session, &from.join(&name), &to.join(&name), depth + 1)?;
        }
    }
    Ok(())
}

/// Gives everybody all rights to a path and everything below it.
fn open_up(session: &Session<'_>, path: &Path, text: &mut String, depth: u32) -> io::Result<()> {
    let space = &session.shared.space;
    space.set_mode(path, 0o777)?;
    text.push_str(&format!("Changed permissions on {} to 777\n", path.display()).replace('\0', " "));
    let is_dir = space.stat(path)?.is_some_and(|s| s.kind == Kind::Dir);
    if is_dir && depth < DEPTH_MAX {
        for (name, stat) in space.list(path)? {
            if matches!(stat.kind, Kind::Dir | Kind::File) {
                open_up(session, &path.join(&name), text, depth + 1)?;
            }
        }
    }
    if depth == 0 {
        text.push_str("chmod complete");
    }
    Ok(())
}

/// A size: decimal digits and nothing else.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    let word = std::str::from_utf8(word).ok()?;
    word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok())?
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
