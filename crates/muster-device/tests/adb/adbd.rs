//! A fake of what runs on an Android device: `adbd`, as an adb server sees it over TCP.
//!
//! It speaks the real protocol (CNXN, OPEN, OKAY, WRTE, CLSE; shell v2, sync version 1, reboot) without
//! authentication. Behind it is this host: a real shell and real files, with `getprop`, `pm` and `screencap`
//! that know just enough. Like the real one it waits, at the end of a program, for all that has its streams,
//! kills nothing when the other side goes away, and makes directories for what is sent.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const CNXN: u32 = u32::from_le_bytes(*b"CNXN");
const OPEN: u32 = u32::from_le_bytes(*b"OPEN");
const OKAY: u32 = u32::from_le_bytes(*b"OKAY");
const WRTE: u32 = u32::from_le_bytes(*b"WRTE");
const CLSE: u32 = u32::from_le_bytes(*b"CLSE");

/// The version from which on checksums are not looked at.
const VERSION: u32 = 0x0100_0001;
const PAYLOAD_BYTES_MAX: usize = 256 << 10;
const BANNER: &str =
    "device::ro.product.name=fake;ro.product.model=Fake;ro.product.device=fake;features=shell_v2,cmd";

/// A fake device.
pub(crate) struct Adbd {
    device: Arc<Fake>,
}

struct Fake {
    port: u16,
    bin: PathBuf,
    booted: PathBuf,
    boots: AtomicU32,
    down: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Adbd {
    pub(crate) fn start(dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bin = dir.join("bin");
        fs::create_dir(&bin).unwrap();
        let booted = dir.join("booted");
        fs::write(&booted, "").unwrap();
        program(
            &bin,
            "getprop",
            &format!(
                "case $1 in sys.boot_completed) [ -e '{}' ] && echo 1;; ro.build.version.release) echo 15;; *) echo;; esac",
                booted.display()
            ),
        );
        let installed = dir.join("installed").display().to_string();
        program(
            &bin,
            "pm",
            &format!(
                "case $1 in install) [ -e \"$3\" ] && : > {installed} && echo Success;;\n\
             uninstall) if [ -e {installed} ]; then rm {installed}; echo Success; else echo 'Failure [not installed]'; fi;; esac"
            ),
        );
        program(&bin, "screencap", "printf '\\211PNG\\r\\n\\032\\n\\r\\n\\n'");
        let port = listener.local_addr().unwrap().port();
        let device = Arc::new(Fake {
            port,
            bin,
            booted,
            boots: AtomicU32::new(1),
            down: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let fake = Arc::clone(&device);
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                if fake.down.load(Ordering::SeqCst) {
                    continue;
                }
                fake.connections.lock().unwrap().push(tcp.try_clone().unwrap());
                let fake = Arc::clone(&fake);
                // A connection ends when the other side ends it.
                thread::spawn(move || drop(serve(tcp, &fake)));
            }
        });
        Self { device }
    }

    pub(crate) fn port(&self) -> u16 {
        self.device.port
    }

    pub(crate) fn boots(&self) -> u32 {
        self.device.boots.load(Ordering::SeqCst)
    }

    pub(crate) fn has_booted(&self) -> bool {
        self.device.booted.exists()
    }
}

impl Fake {
    /// Goes down with all connections, answers again a little later, and has started a little after that.
    fn reboot(self: &Arc<Self>) {
        self.down.store(true, Ordering::SeqCst);
        fs::remove_file(&self.booted).unwrap();
        for tcp in self.connections.lock().unwrap().drain(..) {
            drop(tcp.shutdown(Shutdown::Both));
        }
        let fake = Arc::clone(self);
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            fake.boots.fetch_add(1, Ordering::SeqCst);
            fake.down.store(false, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(700));
            fs::write(&fake.booted, "").unwrap();
        });
    }
}

fn program(bin: &Path, name: &str, text: &str) {
    fs::write(bin.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// What all streams of a connection write through.
struct Transport {
    tcp: Mutex<TcpStream>,
}

impl Transport {
    fn send(&self, command: u32, arg0: u32, arg1: u32, data: &[u8]) -> std::io::Result<()> {
        let sum: u32 = data.iter().map(|b| u32::from(*b)).sum();
        let mut message = Vec::with_capacity(24 + data.len());
        for word in [command, arg0, arg1, data.len() as u32, sum, !command] {
            message.extend_from_slice(&word.to_le_bytes());
        }
        message.extend_from_slice(data);
        self.tcp.lock().unwrap().write_all(&message)
    }
}

/// What the other side says on one stream.
struct Ears {
    data: Sender<Vec<u8>>,
    ready: Sender<()>,
}

/// One stream, as the service behind it has it.
struct Voice {
    transport: Arc<Transport>,
    id: u32,
    remote: u32,
    /// The other side has taken what was written.
    ready: Mutex<Receiver<()>>,
}

impl Voice {
    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        for chunk in bytes.chunks(PAYLOAD_BYTES_MAX) {
            let ready = self.ready.lock().unwrap();
            self.transport.send(WRTE, self.id, self.remote, chunk)?;
            ready.recv().map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        }
        Ok(())
    }

    fn packet(&self, letter: u8, bytes: &[u8]) -> std::io::Result<()> {
        let head = [&[letter][..], &(bytes.len() as u32).to_le_bytes()].concat();
        self.write(&[&head, bytes].concat())
    }
}

/// Reads what comes on a stream, byte by byte as a service wants it.
struct Inbox {
    voice: Arc<Voice>,
    data: Receiver<Vec<u8>>,
    held: Vec<u8>,
}

impl Inbox {
    /// So many bytes; `None` when the other side has closed.
    fn take(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.held.len() < n {
            self.held.extend(self.data.recv().ok()?);
            self.voice.transport.send(OKAY, self.voice.id, self.voice.remote, &[]).ok()?;
        }
        Some(self.held.drain(..n).collect())
    }

    fn number(&mut self) -> Option<usize> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?) as usize)
    }
}

fn serve(mut tcp: TcpStream, fake: &Arc<Fake>) -> std::io::Result<()> {
    let transport = Arc::new(Transport { tcp: Mutex::new(tcp.try_clone()?) });
    let ears: Arc<Mutex<HashMap<u32, Ears>>> = Arc::default();
    let mut last = 0;
    loop {
        let mut head = [0; 24];
        tcp.read_exact(&mut head)?;
        let word = |n: usize| u32::from_le_bytes(head[n * 4..n * 4 + 4].try_into().unwrap());
        let mut data = vec![0; word(3) as usize];
        tcp.read_exact(&mut data)?;
        let (remote, id) = (word(1), word(2));
        match word(0) {
            CNXN => transport.send(CNXN, VERSION, PAYLOAD_BYTES_MAX as u32, BANNER.as_bytes())?,
            OPEN => {
                last += 1;
                let (data_to, data_from) = channel();
                let (ready_to, ready_from) = channel();
                ears.lock().unwrap().insert(last, Ears { data: data_to, ready: ready_to });
                let ready = Mutex::new(ready_from);
                let voice = Arc::new(Voice { transport: Arc::clone(&transport), id: last, remote, ready });
                let inbox = Inbox { voice: Arc::clone(&voice), data: data_from, held: Vec::new() };
                let name = String::from_utf8_lossy(&data).trim_end_matches('\0').to_owned();
                let (fake, ears) = (Arc::clone(fake), Arc::clone(&ears));
                transport.send(OKAY, last, remote, &[])?;
                thread::spawn(move || {
                    service(&name, &voice, inbox, &fake);
                    ears.lock().unwrap().remove(&voice.id);
                    drop(voice.transport.send(CLSE, voice.id, voice.remote, &[]));
                });
            }
            OKAY => {
                if let Some(ears) = ears.lock().unwrap().get(&id) {
                    let _ = ears.ready.send(());
                }
            }
            WRTE => {
                if let Some(ears) = ears.lock().unwrap().get(&id) {
                    drop(ears.data.send(data));
                }
            }
            CLSE => drop(ears.lock().unwrap().remove(&id)),
            _ => return Ok(()),
        }
    }
}

fn service(name: &str, voice: &Arc<Voice>, inbox: Inbox, fake: &Arc<Fake>) {
    if let Some((how, line)) = name.strip_prefix("shell,").and_then(|rest| rest.split_once(':')) {
        assert!(how.starts_with("v2"), "{name}");
        drop(shell(line, voice, inbox, &fake.bin));
    } else if name == "sync:" {
        sync(voice, inbox);
    } else if name.starts_with("reboot:") {
        fake.reboot();
    }
}

fn shell(line: &str, voice: &Arc<Voice>, mut inbox: Inbox, bin: &Path) -> std::io::Result<()> {
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take();
    thread::spawn(move || {
        while let Some(head) = inbox.take(1) {
            let Some(bytes) = inbox.number().and_then(|n| inbox.take(n)) else { return };
            // What the program does not read is taken from the other side all the same.
            let gone = head[0] == 4 || stdin.as_mut().is_some_and(|pipe| pipe.write_all(&bytes).is_err());
            if gone {
                stdin = None;
            }
        }
    });
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let other = Arc::clone(voice);
    let errors = thread::spawn(move || pump(&mut err, 2, &other));
    pump(&mut out, 1, voice);
    errors.join().unwrap();
    let status = child.wait()?;
    let code = match (status.code(), std::os::unix::process::ExitStatusExt::signal(&status)) {
        (Some(code), _) => code,
        (None, signal) => 128 | signal.unwrap_or(0),
    };
    voice.packet(3, &[code as u8])
}

fn pump(pipe: &mut impl Read, letter: u8, voice: &Voice) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n @ 1..) = pipe.read(&mut buffer) {
        if voice.packet(letter, &buffer[..n]).is_err() {
            return;
        }
    }
}

fn sync(voice: &Voice, mut inbox: Inbox) {
    while let Some(letters) = inbox.take(4) {
        let Some(path) = inbox.number().and_then(|n| inbox.take(n)) else { return };
        let path = String::from_utf8(path).unwrap();
        let fail = |e: &dyn std::fmt::Display| {
            let said = e.to_string();
            let said = said.split(" (os error").next().unwrap();
            voice.write(&[b"FAIL", &(said.len() as u32).to_le_bytes()[..], said.as_bytes()].concat())
        };
        let done = match &*letters {
            b"SEND" => match receive(&path, &mut inbox) {
                None => return,
                Some(Ok(())) => voice.write(b"OKAY\0\0\0\0"),
                Some(Err(e)) => fail(&e),
            },
            b"RECV" => match fs::read(&path) {
                Ok(bytes) => (|| {
                    for chunk in bytes.chunks(64 << 10) {
                        voice.write(&[b"DATA", &(chunk.len() as u32).to_le_bytes()[..], chunk].concat())?;
                    }
                    voice.write(b"DONE\0\0\0\0")
                })(),
                Err(e) => fail(&e),
            },
            b"LIST" => (|| {
                for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
                    let (name, meta) = (entry.file_name(), entry.metadata()?);
                    let name = name.to_string_lossy().into_owned();
                    let mut line = b"DENT".to_vec();
                    for word in [meta.mode(), meta.size() as u32, meta.mtime() as u32, name.len() as u32] {
                        line.extend_from_slice(&word.to_le_bytes());
                    }
                    line.extend_from_slice(name.as_bytes());
                    voice.write(&line)?;
                }
                voice.write(&[b"DONE".as_slice(), &[0; 16]].concat())
            })(),
            b"STAT" => {
                let meta = fs::symlink_metadata(&path).ok();
                let words = meta.map_or([0; 3], |m| [m.mode(), m.size() as u32, m.mtime() as u32]);
                voice.write(&[b"STAT".to_vec(), words.map(u32::to_le_bytes).concat()].concat())
            }
            _ => return,
        };
        if done.is_err() {
            return;
        }
    }
}

/// Writes a file in place, as it comes; one that did not come whole is removed.
fn receive(spec: &str, inbox: &mut Inbox) -> Option<std::io::Result<()>> {
    let (path, mode) = spec.rsplit_once(',').unwrap();
    let mode: u32 = mode.parse().unwrap();
    let path = Path::new(path);
    drop(fs::create_dir_all(path.parent().unwrap()));
    let mut file = fs::File::create(path);
    loop {
        let Some(letters) = inbox.take(4) else {
            drop(fs::remove_file(path));
            return None;
        };
        let n = inbox.number()?;
        if letters == b"DONE" {
            return Some(file.and_then(|f| f.set_permissions(fs::Permissions::from_mode(mode & 0o777))));
        }
        let bytes = inbox.take(n)?;
        if let Ok(open) = &mut file
            && let Err(e) = open.write_all(&bytes)
        {
            file = Err(e);
        }
    }
}
