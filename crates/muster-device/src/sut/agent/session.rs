//! One connection of the command channel: reads lines, finds out what is asked, answers.

use super::replies::{self, Reply};
use super::{PRODUCT, Shared, VERSION, exec, extended, files, system};
use crate::host::facts::{self, Own};
use crate::stream::Stream;
use crate::sut::words::split;
use crate::sut::{PROMPT, extension};
use crate::until::{Ended, Until};
use std::ffi::OsString;
use std::net::TcpStream;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

// Limit: longest command line.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How long the rest of a line may take once it has begun, and how long nothing may come of a payload.
const REST_MAX: Duration = Duration::from_secs(120);
/// How long a client may read nothing of what it is sent.
const SEND_MAX: Duration = Duration::from_secs(600);

/// Why a connection is over.
pub(super) struct Over;

impl From<Ended> for Over {
    fn from(_: Ended) -> Self {
        Self
    }
}

/// A connection and what belongs to it.
pub(super) struct Session<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) stream: Stream,
    /// The working directory.
    pub(super) cwd: PathBuf,
    /// The line before ended with CR, so a LF that comes now belongs to it.
    skip_lf: bool,
}

/// Serves a connection of the command port.
pub(super) fn serve(shared: &Arc<Shared>, tcp: TcpStream) {
    let Ok(stream) = Stream::new(tcp) else { return };
    let mut session = Session::new(shared, stream);
    // However it ends, it is over; there is nobody to tell.
    let _ = session.converse();
}

impl<'a> Session<'a> {
    /// A connection. It begins at the top of what may be touched.
    pub(super) fn new(shared: &'a Arc<Shared>, stream: Stream) -> Self {
        let cwd = shared.space.root().unwrap_or(Path::new("/")).to_owned();
        Self { shared, stream, cwd, skip_lf: false }
    }
}

impl Session<'_> {
    /// Reads what has come on a data connection and answers what are whole lines, without prompts; `false`
    /// at its end. Only commands that are answered by a text are taken here.
    pub(super) fn data_input(&mut self) -> Result<bool, Over> {
        let patience = self.patience();
        let there = self.stream.fill(&patience)? > 0;
        while self.stream.input().iter().any(|b| matches!(b, b'\r' | b'\n')) {
            let Some(line) = self.line()? else { break };
            let word =
                line.trim_ascii().split(|b| *b == b' ').next().unwrap_or_default().to_ascii_lowercase();
            let streams = [&b"push"[..], b"pull", b"cat", extension::WORD.as_bytes()];
            let reply = if streams.contains(&&*word) || word.starts_with(b"exec") || word.ends_with(b"run") {
                Reply::warning("this command is taken on the command port only")
            } else {
                self.answer(&line)?
            };
            let mut bytes = reply.bytes();
            bytes.truncate(bytes.len() - if bytes.ends_with(PROMPT) { PROMPT.len() } else { 0 });
            self.say(&bytes)?;
        }
        if self.stream.input().len() > LINE_BYTES_MAX { Err(Over) } else { Ok(there) }
    }

    fn converse(&mut self) -> Result<(), Over> {
        self.say(PROMPT)?;
        while let Some(line) = self.line()? {
            let reply = self.answer(&line)?;
            let last = matches!(reply, Reply::Last(_) | Reply::Lost(_));
            let bytes = reply.bytes();
            self.say(&bytes)?;
            if last {
                self.stream.finish();
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends.
    pub(super) fn say(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let until = self.shared.within(SEND_MAX);
        Ok(self.stream.send_all(bytes, &until)?)
    }

    /// How long something may take to arrive that was announced.
    pub(super) fn patience(&self) -> Until {
        self.shared.within(REST_MAX)
    }

    /// The next line without its end; `None` at the end of the connection. A line that is cut off by that
    /// is not a command.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Over> {
        let mut looked = 0;
        let mut until = self.shared.forever();
        loop {
            self.drop_lf();
            let input = self.stream.input();
            if let Some(n) = input[looked..].iter().position(|b| matches!(b, b'\r' | b'\n')) {
                let line = input[..looked + n].to_vec();
                self.skip_lf = input[looked + n] == b'\r';
                self.stream.consume(looked + n + 1);
                return Ok(Some(line));
            }
            if input.len() > LINE_BYTES_MAX {
                return Err(Over);
            }
            if looked == 0 && !input.is_empty() {
                until = self.patience();
            }
            looked = input.len();
            if self.stream.fill(&until)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Drops the LF of a CR LF whose CR has been taken for the end of the line.
    fn drop_lf(&mut self) {
        if self.skip_lf
            && let Some(&first) = self.stream.input().first()
        {
            self.skip_lf = false;
            if first == b'\n' {
                self.stream.consume(1);
            }
        }
    }

    /// Some of the bytes that follow a line, at most `most`.
    pub(super) fn payload(&mut self, most: u64) -> Result<&[u8], Over> {
        let patience = self.patience();
        loop {
            self.drop_lf();
            if !self.stream.input().is_empty() {
                break;
            }
            if self.stream.fill(&patience)? == 0 {
                return Err(Over);
            }
        }
        let input = self.stream.input();
        Ok(&input[..usize::try_from(most).unwrap_or(usize::MAX).min(input.len())])
    }

    /// All of them, when they are few.
    pub(super) fn whole_payload(&mut self, bytes: u64) -> Result<Vec<u8>, Over> {
        let mut all = Vec::new();
        while (all.len() as u64) < bytes {
            let some = self.payload(bytes - all.len() as u64)?;
            let n = some.len();
            all.extend_from_slice(some);
            self.stream.consume(n);
        }
        Ok(all)
    }

    /// What a command comes to. A blank line is none, and answered all the same.
    pub(super) fn answer(&mut self, line: &[u8]) -> Result<Reply, Over> {
        let line = line.trim_ascii();
        let (word, rest) = line.split_at(line.iter().position(|b| *b == b' ').unwrap_or(line.len()));
        let word = String::from_utf8_lossy(word).to_lowercase();
        if word.is_empty() {
            return Ok(Reply::text(""));
        }
        if word != extension::WORD {
            self.shared.hub.trace(line);
            system::log(self.shared, line);
        }
        let args = split(rest);
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        self.dispatch(&word, &args)
    }

    fn dispatch(&mut self, word: &str, args: &[&[u8]]) -> Result<Reply, Over> {
        match (word, args) {
            (extension::WORD, [bytes]) => extended::answer(self, bytes),
            ("push", [path, bytes]) => files::push(self, path, bytes),
            ("push", _) => Ok(Reply::Lost("Wrong number of arguments for push command!".to_owned())),
            ("pull", [path, range @ ..]) if range.len() < 3 => files::pull(self, path, range),
            ("cat", [path]) => files::cat(self, path),
            ("exec" | "run" | "envrun" | "execsu" | "execcwd" | "execcwdsu", _) => {
                exec::exec(self, word, args)
            }
            ("quit", _) => Ok(Reply::Last("quit")),
            ("exit", _) => {
                let bytes = Reply::Last("exit").bytes();
                self.say(&bytes)?;
                self.shared.stop.cancel();
                Err(Over)
            }
            ("rebt", _) => {
                system::reboot(self.shared, args);
                Err(Over)
            }
            ("uninst", [name, ..]) => {
                let reply = system::uninstall(self, name)?;
                if matches!(reply, Reply::Warning(_)) {
                    return Ok(reply);
                }
                system::reboot(self.shared, &[]);
                Err(Over)
            }
            _ => Ok(self.simple(word, args)?),
        }
    }

    /// Commands whose answer is a text.
    fn simple(&mut self, word: &str, args: &[&[u8]]) -> Result<Reply, Over> {
        if let Some(reply) = files::simple(self, word, args) {
            return Ok(reply);
        }
        let text = |args: &[&[u8]]| -> Vec<String> {
            args.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect()
        };
        Ok(match (word, args) {
            ("ver", _) => Reply::text(format!("{PRODUCT} Version {VERSION}")),
            ("info", []) => Reply::text(self.info_all()),
            ("info", [name, ..]) => Reply::text(self.info(&String::from_utf8_lossy(name).to_lowercase())),
            ("ps", _) => Reply::text(facts::process_lines()),
            ("kill", [name, ..]) => system::kill(self.shared, &String::from_utf8_lossy(name)),
            ("inst", [file, ..]) => return system::install(self, file),
            ("uninstall", [name, ..]) => return system::uninstall(self, name),
            ("updt", _) => Reply::warning("updt: this agent is updated by the packages of its system"),
            ("trace", [b"on"]) => self.trace(true),
            ("trace", [b"off"]) => self.trace(false),
            ("unzp" | "zip" | "ping", _) => return system::tool(self, word, args),
            ("help", _) => Reply::text(HELP),
            _ => match system::simple(self.shared, word, &text(args)) {
                Some(reply) => reply,
                None => not_known(word, args),
            },
        })
    }

    fn own(&self) -> Own<'_> {
        let config = &self.shared.config;
        Own { id: config.id.as_deref(), since: self.shared.since, test_root: &config.test_root }
    }

    /// One category, nothing for a word that is none.
    fn info(&self, name: &str) -> String {
        facts::one(name, &self.own()).unwrap_or_default()
    }

    fn info_all(&self) -> String {
        let order = [
            "id",
            "os",
            "systime",
            "uptime",
            "uptimemillis",
            "sutuptimemillis",
            "screen",
            "rotation",
            "memory",
            "power",
            "temperature",
            "process",
            "sutuserinfo",
            "disk",
        ];
        order.map(|name| self.info(name)).join("\n")
    }

    fn trace(&self, on: bool) -> Reply {
        self.shared.hub.set_trace(on);
        Reply::text("")
    }

    /// Where programs work that are told nothing else. Clients walk into directories that they remove
    /// later; programs work at the top then.
    pub(super) fn working_dir(&self) -> String {
        let top = self.shared.space.root().unwrap_or(Path::new("/"));
        let dir = if self.cwd.is_dir() { &self.cwd } else { top };
        dir.to_string_lossy().into_owned()
    }

    /// A path from the working directory.
    pub(super) fn path_as_is(&self, path: &str) -> PathBuf {
        self.cwd.join(path)
    }

    /// A path from the working directory. Clients of other systems write `\`.
    pub(super) fn path(&self, word: &[u8]) -> PathBuf {
        let word: Vec<u8> = word.iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect();
        self.cwd.join(PathBuf::from(OsString::from_vec(word)))
    }
}

fn not_known(word: &str, args: &[&[u8]]) -> Reply {
    if KNOWN.contains(&word) {
        return Reply::wrong_count(word);
    }
    let args: Vec<String> = args.iter().map(|a| format!("[{}]", String::from_utf8_lossy(a))).collect();
    let args = if args.is_empty() { String::new() } else { format!(" {}", args.join(" ")) };
    replies::Reply::warning(format!("[{word}] command with arg(s) ={args} is currently not implemented."))
}

/// The words of commands that are there, for a count of arguments that is not.
const KNOWN: [&str; 31] = [
    "isdir",
    "cd",
    "mkdr",
    "rm",
    "rmdr",
    "mv",
    "cp",
    "dd",
    "hash",
    "cat",
    "pull",
    "kill",
    "inst",
    "uninstall",
    "uninst",
    "trace",
    "chmod",
    "dirw",
    "time",
    "settime",
    "setutime",
    "dead",
    "stat",
    "muster1",
    "getapproot",
    "tzset",
    "alrt",
    "ls",
    "unzp",
    "zip",
    "ping",
];

const HELP: &str = "\
cd DIR, cwd, ls [DIR], mkdr DIR, rmdr DIR, rm FILE, mv FROM TO, cp FROM TO, dd if=FROM of=TO
cat FILE, hash FILE, time FILE, chmod PATH, isdir PATH, dirw DIR, disk [PATH], testroot, tmpd
push FILE BYTES, pull FILE [OFFSET [LENGTH]], unzp FILE [DIR/], zip FILE FROM
exec [ENV] PROGRAM ..., execsu, execcwd DIR ..., execcwdsu, ps, kill NAME, dead NAME, stat PID
info [os|id|uptime|uptimemillis|sutuptimemillis|systime|screen|rotation|memory|power|temperature|process|disk]
clok, settime YYYY/MM/DD HH:MM:SS, setutime MILLIS, tzget
inst FILE, uninstall NAME, uninst NAME, rebt [IP PORT], ping HOST, trace on|off, ver, help, quit, exit";
