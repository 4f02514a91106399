//! A web server of files, with and without TLS, that behaves as badly as it is told to.

use muster_package::own::{Address, Limits, Reach, Source};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Seek as _, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    Good,
    /// It gives files whole whatever part is asked for.
    NoParts,
    /// Every second answer ends in its middle.
    Breaks,
    /// Every answer that is longer than some bytes ends behind them.
    AlwaysBreaks,
    /// Every second answer is an error.
    Errors,
    /// It answers nothing.
    Silent,
    /// Each answer comes a byte at a time, for ever.
    Drips,
    /// It says that answers are longer than they are.
    SaysMore,
    /// It says that they are shorter.
    SaysLess,
    /// It gives another part than was asked for.
    OtherPart,
    /// Answers have no end.
    Endless,
    /// It packs what it sends, though nobody asked for it.
    Packs,
    /// It leads to itself.
    Loops,
    /// It leads to a file of the client's own host.
    LeadsToFile,
    /// It leads to where there is no TLS.
    LeadsToPlain,
}

/// A web server; it ends with the test.
pub(crate) struct Web {
    pub(crate) url: String,
    pub(crate) requests: Arc<AtomicUsize>,
    ca_file: Option<PathBuf>,
}

/// A connection.
trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Web {
    /// `root` is at `/repo/`, without TLS.
    pub(crate) fn serve(root: &Path, manner: Manner) -> Self {
        Self::start(root, manner, None)
    }

    /// The same with TLS. Its certificate is written to this file.
    pub(crate) fn serve_tls(root: &Path, manner: Manner, ca_file: &Path) -> Self {
        Self::start(root, manner, Some(ca_file))
    }

    fn start(root: &Path, manner: Manner, ca_file: Option<&Path>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if ca_file.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/repo", listener.local_addr().unwrap());
        let tls = ca_file.map(tls);
        let (root, requests) = (root.to_owned(), Arc::new(AtomicUsize::new(0)));
        let counted = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, counted, tls) = (root.clone(), counted.clone(), tls.clone());
                std::thread::spawn(move || {
                    let stream: Box<dyn Stream> = match tls {
                        Some(tls) => Box::new(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream)),
                        None => Box::new(stream),
                    };
                    talk(stream, &root, manner, &counted)
                });
            }
        });
        Self { url, requests, ca_file: ca_file.map(Path::to_owned) }
    }

    pub(crate) fn asked(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn reach(&self) -> Reach {
        Reach { ca_file: self.ca_file.clone(), ..reach(limits()) }
    }

    pub(crate) fn source(&self) -> Source {
        Source::at(Address::Web(self.url.clone()), &self.reach()).unwrap()
    }
}

/// Those of a lab, on a machine that may be slow.
pub(crate) fn limits() -> Limits {
    Limits { answer: Duration::from_secs(20), pause: Duration::from_millis(1), ..Limits::default() }
}

pub(crate) fn reach(limits: Limits) -> Reach {
    Reach { limits, ..Reach::new(PathBuf::from("/nowhere")) }
}

fn tls(ca_file: &Path) -> Arc<ServerConfig> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(ca_file, cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key);
    Arc::new(config.unwrap())
}

struct Request {
    method: String,
    target: String,
    part: Option<(u64, u64)>,
    headers: Vec<(String, String)>,
}

fn request(reader: &mut BufReader<Box<dyn Stream>>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut part, mut headers) = (None, Vec::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        let (name, value) = (name.to_lowercase(), value.trim().to_owned());
        if let Some((from, to)) =
            value.strip_prefix("bytes=").filter(|_| name == "range").and_then(|r| r.split_once('-'))
        {
            part = Some((from.parse().ok()?, to.parse().ok()?));
        }
        headers.push((name, value));
    }
    Some(Request { method, target, part, headers })
}

fn talk(stream: Box<dyn Stream>, root: &Path, manner: Manner, counted: &AtomicUsize) -> Option<()> {
    let mut io = BufReader::new(stream);
    loop {
        let asked = request(&mut io)?;
        let count = counted.fetch_add(1, Ordering::SeqCst);
        if asked.target.starts_with("/git/") {
            return git(&mut io, root, &asked);
        }
        let path = asked.target.strip_prefix("/repo/")?.to_owned();
        let writer = io.get_mut();
        let lead = |to: &str| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        match manner {
            Manner::Silent => std::thread::sleep(Duration::from_secs(600)),
            Manner::Errors if count.is_multiple_of(2) => {
                writer.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").ok()?;
                continue;
            }
            Manner::Loops => {
                writer.write_all(lead(&asked.target).as_bytes()).ok()?;
                continue;
            }
            Manner::LeadsToFile => {
                writer.write_all(lead(&format!("file://{}/{path}", root.display())).as_bytes()).ok()?;
                continue;
            }
            Manner::LeadsToPlain => {
                writer.write_all(lead(&format!("http://127.0.0.1:9/repo/{path}")).as_bytes()).ok()?;
                continue;
            }
            _ => {}
        }
        let Ok(mut file) = fs::File::open(root.join(&path)) else {
            writer.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").ok()?;
            continue;
        };
        let len = file.metadata().ok()?.len();
        let (status, from, to) = match asked.part {
            Some((from, to)) if manner != Manner::NoParts => {
                let shift = u64::from(manner == Manner::OtherPart);
                (
                    format!("206 Partial Content\r\ncontent-range: bytes {}-{to}/{len}", from + shift),
                    from,
                    to + 1,
                )
            }
            _ => ("200 OK".to_owned(), 0, len),
        };
        file.seek(std::io::SeekFrom::Start(from)).ok()?;
        let mut body = Vec::new();
        file.take(to - from).read_to_end(&mut body).ok()?;
        let length = match manner {
            Manner::SaysMore => body.len() + 1,
            Manner::SaysLess => body.len() / 2,
            _ => body.len(),
        };
        let packed = if manner == Manner::Packs { "content-encoding: gzip\r\n" } else { "" };
        if manner == Manner::Endless {
            write!(writer, "HTTP/1.1 {status}\r\n\r\n").ok()?;
            loop {
                writer.write_all(&[b'x'; 1 << 16]).ok()?;
            }
        }
        write!(writer, "HTTP/1.1 {status}\r\n{packed}content-length: {length}\r\n\r\n").ok()?;
        match manner {
            Manner::Breaks if count.is_multiple_of(2) => {
                writer.write_all(&body[..body.len() / 2]).ok()?;
                return None;
            }
            Manner::AlwaysBreaks if body.len() > 100_000 => {
                writer.write_all(&body[..100_000]).ok()?;
                return None;
            }
            Manner::Drips => {
                for byte in body {
                    writer.write_all(&[byte]).ok()?;
                    writer.flush().ok()?;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            Manner::SaysMore | Manner::SaysLess => {
                writer.write_all(&body).ok()?;
                return None;
            }
            _ => writer.write_all(&body).ok()?,
        }
        writer.flush().ok()?;
    }
}

/// Git's own program for web servers, of the repositories in this directory.
fn git(io: &mut BufReader<Box<dyn Stream>>, root: &Path, asked: &Request) -> Option<()> {
    let header = |name: &str| {
        asked.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or_default()
    };
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    if header("expect") == "100-continue" {
        io.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    io.read_exact(&mut body).ok()?;
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path.strip_prefix("/git")?)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &asked.method)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    backend.stdin.take()?.write_all(&body).ok()?;
    let said = backend.wait_with_output().ok()?.stdout;
    let end = said.windows(4).position(|w| w == b"\r\n\r\n")?;
    let headers = String::from_utf8_lossy(&said[..end]).into_owned();
    let status = headers.lines().find_map(|l| l.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let (headers, body) = (headers, &said[end + 4..]);
    let writer = io.get_mut();
    write!(
        writer,
        "HTTP/1.1 {status}\r\n{headers}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .ok()?;
    writer.write_all(body).ok()?;
    writer.flush().ok()
}
