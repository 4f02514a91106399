//! Gives other agents what this one has installed, and asks others before repositories are asked.
//!
//! A listener answers `GET` for the files that a [`Lender`](own::Lender) has, to those who have the secret that
//! the server gives them, which changes when an agent has lost its identity: on loopback without TLS, elsewhere with a certificate that the server vouches for.
//! The server is told every minute what there is, and after something was installed.
//!
//! Deliberately absent: anything that is not a `GET` of such a file.

use muster_api::trust::self_signed;
use muster_api::{Client, LENT_MAX, LenderAddress, Lends, Needs, Peer};
use muster_core::digest::Digest;
use muster_core::id::AgentId;
use muster_package::own::{self, NotHad, PackageError, Place, Source};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the server is told, where nothing changes.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Connections that are served at once; more are closed.
// Limit: each costs a thread, and what others fetch is not what this host is for.
const CONNECTIONS_MAX: u32 = 16;
/// How long a connection may take for its first handshake and for each question, waiting for it included, and how
/// long a single read or write of it may stand still.
const QUESTION_MAX: Duration = Duration::from_secs(20);
/// Whoever takes up less than this many bytes a second of what it asked for keeps its place from others.
const TAKEN_PER_SEC_MIN: u64 = 64 << 10;
/// Longest head of a request, and most headers of one.
const HEAD_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 32;
/// A peer that brings less than this many bytes a second, after a while, is not asked any more.
const BYTES_PER_SEC_MIN: u64 = 512 << 10;
const GRACE: Duration = Duration::from_secs(5);

/// What this agent lends, and to whom it says so.
#[derive(Clone, Debug)]
pub(super) struct Lending {
    client: Client,
    agent: AgentId,
    boot: String,
    /// Something was installed.
    changed: Option<SyncSender<()>>,
}

impl Lending {
    /// Starts to give out what is installed in this directory; nothing without an address.
    pub(super) fn start(
        client: Client,
        agent: AgentId,
        listen: Option<SocketAddr>,
        packages: &Path,
    ) -> io::Result<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut lending = Self { client, agent, boot: boot.trim().to_owned(), changed: None };
        let Some(listen) = listen else { return Ok(lending) };
        let place = Place::open(packages).map_err(io::Error::other)?;
        let lender = Arc::new(own::Lender::new(place));
        let listener = TcpListener::bind(listen)?;
        let listen = listener.local_addr()?;
        let token = Arc::new(Mutex::new(random()?));
        let (tls, certificate) = if listen.ip().is_loopback() { (None, String::new()) } else { tls(listen)? };
        let (changed, changes) = sync_channel(1);
        lending.changed = Some(changed);
        let teller = Teller { lending: lending.clone(), listen, certificate, token: Arc::clone(&token) };
        let of_it = Arc::clone(&lender);
        let giver = Giver { tls, token, lender, patience: QUESTION_MAX };
        let thread = |name: &str| std::thread::Builder::new().name(name.into()).stack_size(256 << 10);
        thread("lends").spawn(move || teller.tell(&of_it, &changes))?;
        thread("lend").spawn(move || serve(&listener, &Arc::new(giver)))?;
        Ok(lending)
    }

    /// Something was installed.
    pub(super) fn changed(&self) {
        if let Some(changed) = &self.changed {
            // Full: it is about to be told.
            let _known = changed.try_send(());
        }
    }

    /// Other agents that have some of these packages.
    pub(super) fn lenders(&self, packages: Vec<Digest>) -> Vec<muster_api::Lender> {
        if packages.is_empty() {
            return Vec::new();
        }
        let needs = Needs { boot: self.boot.clone(), packages };
        // Without the others there are the repositories.
        self.client.lenders(self.agent, &needs).unwrap_or_default()
    }
}

/// Tells the server what there is, and by which secret it is had.
struct Teller {
    lending: Lending,
    listen: SocketAddr,
    certificate: String,
    token: Arc<Mutex<String>>,
}

impl Teller {
    /// Until nobody is left to install anything. Whose identity was taken away may know the secret, so there is
    /// another whenever that has happened to somebody.
    fn tell(mut self, lender: &own::Lender, changes: &Receiver<()>) {
        // This end would keep itself alive.
        self.lending.changed = None;
        let mut revoked = None;
        loop {
            let packages = lender.packages(LENT_MAX);
            if !packages.is_empty()
                && let Some(now) = self.say(packages)
                && revoked.replace(now).is_some_and(|before| before != now)
                && let Ok(new) = random()
            {
                *self.token.lock().unwrap_or_else(PoisonError::into_inner) = new;
                continue;
            }
            match changes.recv_timeout(TOLD_EVERY) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// How many agents have lost their identity so far; `None`: the server does not answer. It is told again soon;
    /// until then others go to the repositories.
    fn say(&self, packages: Vec<Digest>) -> Option<u64> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let address = LenderAddress { listen: self.listen, token, certificate: self.certificate.clone() };
        let Lending { client, agent, boot, changed: _ } = &self.lending;
        Some(client.lends(*agent, &Lends { address, boot: boot.clone(), packages }).ok()?.revoked)
    }
}

/// What another agent has, as a repository. It has its time: one that is slow is as one that is not there.
pub(super) fn source(address: &LenderAddress) -> Option<Source> {
    let peer = Peer::new(address).ok()?;
    let (came, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let open = move |name: &str, part: Option<Range<u64>>| {
        let due = BYTES_PER_SEC_MIN * begun.elapsed().saturating_sub(GRACE).as_secs();
        if came.load(Ordering::Relaxed) < due {
            return Err(NotHad { why: "it is too slow".to_owned(), may_pass: false });
        }
        match peer.file(name, part) {
            Ok(file) => {
                let counted = |inner| Box::new(Counted { inner, came: Arc::clone(&came) }) as Box<dyn Read>;
                Ok(file.map(counted))
            }
            Err(error) => Err(NotHad { why: error.why, may_pass: error.may_pass }),
        }
    };
    Some(Source::through("a peer", format!("the agent at {}", address.listen), open))
}

struct Counted {
    inner: Box<dyn Read>,
    came: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.came.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// A secret that nobody guesses.
fn random() -> io::Result<String> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Digest(bytes).to_string())
}

/// What connections from elsewhere are made safe with, and the certificate by which this agent is known there.
fn tls(listen: SocketAddr) -> io::Result<(Option<Arc<ServerConfig>>, String)> {
    let own = self_signed(listen.ip()).map_err(io::Error::other)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.key));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(own.certificate)], key)
        .map_err(io::Error::other)?;
    Ok((Some(Arc::new(config)), own.pem))
}

/// What gives others what there is.
struct Giver {
    tls: Option<Arc<ServerConfig>>,
    token: Arc<Mutex<String>>,
    lender: Arc<own::Lender>,
    /// How long others may take: [`QUESTION_MAX`].
    patience: Duration,
}

/// A connection, safe or on loopback.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A connection that has to be done with something by a time, however many pieces that comes in.
struct Timed {
    stream: TcpStream,
    until: Rc<Cell<Instant>>,
    patience: Duration,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.get().saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long"));
        }
        Ok(Some(left.min(self.patience)))
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn serve(listener: &TcpListener, giver: &Arc<Giver>) {
    let count = Arc::new(AtomicU32::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // No descriptors, perhaps.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        let place = Taken::of(&count);
        if place.number > CONNECTIONS_MAX {
            continue;
        }
        let giver = Arc::clone(giver);
        let work = move || {
            let _place = place;
            // Whoever asked tells their own people.
            let _ended = converse(stream, &giver);
        };
        let _unserved = std::thread::Builder::new().name("lend".into()).stack_size(512 << 10).spawn(work);
    }
}

/// One of the connections at once.
struct Taken {
    count: Arc<AtomicU32>,
    number: u32,
}

impl Taken {
    fn of(count: &Arc<AtomicU32>) -> Self {
        Self { count: Arc::clone(count), number: count.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

fn converse(stream: TcpStream, giver: &Giver) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let patience = giver.patience;
    let until = Rc::new(Cell::new(Instant::now() + patience));
    let timed = Timed { stream, until: Rc::clone(&until), patience };
    let mut stream: Box<dyn Stream> = match &giver.tls {
        None => Box::new(timed),
        Some(tls) => {
            let connection = rustls::ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
            Box::new(rustls::StreamOwned::new(connection, timed))
        }
    };
    let mut read = Vec::new();
    while let Some(asked) = question(&mut *stream, &mut read)? {
        let may_take = |bytes: u64| {
            until.set(Instant::now() + patience + Duration::from_secs(bytes / TAKEN_PER_SEC_MIN));
        };
        may_take(0);
        let token = giver.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        answer(&mut *stream, &asked, &token, &giver.lender, &may_take)?;
        until.set(Instant::now() + patience);
    }
    Ok(())
}

/// What is asked.
struct Asked {
    name: String,
    part: Option<Range<u64>>,
    token: String,
}

/// The next question; `None` at the end of the connection. What is behind it stays.
fn question(stream: &mut dyn Stream, read: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(end) = request.parse(read).map_err(|e| wrong(&e.to_string()))? {
            let header = |name: &str| {
                let mut named = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
                named.next().and_then(|h| std::str::from_utf8(h.value).ok()).unwrap_or_default()
            };
            if request.method != Some("GET") || !matches!(header("content-length"), "" | "0") {
                return Err(wrong("only files are given"));
            }
            let part = header("range").strip_prefix("bytes=").and_then(|range| {
                let (first, last) = range.split_once('-')?;
                Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
            });
            let asked = Asked {
                name: request.path.unwrap_or_default().trim_start_matches('/').to_owned(),
                part,
                token: header("authorization").strip_prefix("Bearer ").unwrap_or_default().to_owned(),
            };
            read.drain(..end);
            return Ok(Some(asked));
        }
        if read.len() > HEAD_BYTES_MAX {
            return Err(wrong("the head of a request is too long"));
        }
        let mut more = [0; 2_048];
        match stream.read(&mut more)? {
            0 => return Ok(None),
            n => read.extend_from_slice(&more[..n]),
        }
    }
}

/// `may_take`: is told how many bytes are given.
fn answer(
    stream: &mut dyn Stream,
    asked: &Asked,
    token: &str,
    lender: &own::Lender,
    may_take: &dyn Fn(u64),
) -> io::Result<()> {
    // Digests are compared in the same time whatever they are.
    if blake3::hash(asked.token.as_bytes()) != blake3::hash(token.as_bytes()) {
        return head(stream, "401 Unauthorized", "", 0);
    }
    let found = lender.open(&asked.name, asked.part.clone());
    let mut lent = match found {
        Ok(Some(lent)) => lent,
        Ok(None) => return head(stream, "404 Not Found", "", 0),
        Err(PackageError::Io { .. }) => return head(stream, "503 Service Unavailable", "", 0),
        Err(_) => return head(stream, "500 Internal Server Error", "", 0),
    };
    let len = lent.part.end - lent.part.start;
    may_take(len);
    if asked.part.is_some() && len == 0 {
        return head(stream, "416 Range Not Satisfiable", "", 0);
    }
    if asked.part.is_some() {
        let range =
            format!("content-range: bytes {}-{}/{}\r\n", lent.part.start, lent.part.end - 1, lent.whole);
        head(stream, "206 Partial Content", &range, len)?;
    } else {
        head(stream, "200 OK", "", len)?;
    }
    let mut bytes = vec![0; 64 << 10];
    loop {
        match lent.bytes.read(&mut bytes)? {
            0 => return stream.flush(),
            n => stream.write_all(&bytes[..n])?,
        }
    }
}

fn head(stream: &mut dyn Stream, status: &str, more: &str, len: u64) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\n{more}\r\n");
    stream.write_all(head.as_bytes())?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_package::exclude::Exclude;
    use muster_package::own::{About, InstallOptions, Kind, Published, Repository, Sources, Tree};

    /// A place with one package.
    fn installed(dir: &Path) -> (Place, Published) {
        std::fs::create_dir(dir.join("tree")).unwrap();
        std::fs::write(dir.join("tree/file"), "some bytes\n".repeat(1_000)).unwrap();
        let repository = Repository::create(&dir.join("repository")).unwrap();
        let tree = Tree { dir: dir.join("tree"), exclude: Exclude::default() };
        let package = repository.make(&tree, About::new(Kind::Dep, "thing")).unwrap();
        let place = Place::open(&dir.join("place")).unwrap();
        let sources = Sources::new(vec![repository.source()]);
        place.install(&package, &sources, InstallOptions::default()).unwrap();
        (place, package)
    }

    fn giver(tls: Option<Arc<ServerConfig>>, lender: Arc<own::Lender>, patience: Duration) -> Arc<Giver> {
        Arc::new(Giver { tls, token: Arc::new(Mutex::new("secret".to_owned())), lender, patience })
    }

    #[test]
    fn who_dribbles_a_question_or_a_handshake_is_not_listened_to_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (place, _) = installed(dir.path());
        let lender = Arc::new(own::Lender::new(place));
        for is_safe in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let listen = listener.local_addr().unwrap();
            let config = if is_safe { tls(listen).unwrap().0 } else { None };
            let giver = giver(config, Arc::clone(&lender), Duration::from_millis(300));
            std::thread::spawn(move || serve(&listener, &giver));
            let mut stream = TcpStream::connect(listen).unwrap();
            // The head of a request, or the beginning of a record of TLS that is long.
            let begin: &[u8] = if is_safe { &[22, 3, 1, 0x40, 0] } else { b"GET /" };
            stream.write_all(begin).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let mut said = [0; 16];
            loop {
                // Each byte comes soon after the one before.
                if stream.write_all(b"x").is_err() {
                    break;
                }
                match stream.read(&mut said) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
        }
    }

    #[test]
    fn a_secret_that_was_changed_is_good_no_more_on_connections_that_are_open_too() {
        let dir = tempfile::tempdir().unwrap();
        let (place, package) = installed(dir.path());
        let giver = giver(None, Arc::new(own::Lender::new(place)), QUESTION_MAX);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap();
        let serving = Arc::clone(&giver);
        std::thread::spawn(move || serve(&listener, &serving));
        let mut stream = TcpStream::connect(listen).unwrap();
        let mut ask = || {
            let name = format!("/manifests/{}", package.digest);
            write!(stream, "GET {name} HTTP/1.1\r\nauthorization: Bearer secret\r\nrange: bytes=0-0\r\n\r\n")
                .unwrap();
            let mut said = Vec::new();
            while !said.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                said.push(byte[0]);
            }
            let said = String::from_utf8(said).unwrap();
            if said.contains("content-length: 1\r\n") {
                stream.read_exact(&mut [0]).unwrap();
            }
            said.lines().next().unwrap().to_owned()
        };
        assert_eq!(ask(), "HTTP/1.1 206 Partial Content");
        *giver.token.lock().unwrap() = "another".to_owned();
        assert_eq!(ask(), "HTTP/1.1 401 Unauthorized");
    }

    #[test]
    fn what_is_lent_is_given_to_who_has_the_secret_and_by_tls_where_that_is_spoken() {
        let dir = tempfile::tempdir().unwrap();
        let (place, package) = installed(dir.path());
        let lender = Arc::new(own::Lender::new(place));
        for is_safe in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let listen = listener.local_addr().unwrap();
            let (config, certificate) = if is_safe { tls(listen).unwrap() } else { (None, String::new()) };
            let giver = giver(config, Arc::clone(&lender), QUESTION_MAX);
            std::thread::spawn(move || serve(&listener, &giver));
            let address = LenderAddress { listen, token: "secret".to_owned(), certificate };
            let ask = |address: &LenderAddress| Sources::new(vec![source(address).unwrap()]);
            assert_eq!(ask(&address).known(package.digest).unwrap(), package, "safe: {is_safe}");
            ask(&address).verify(&package).unwrap();
            let guess = LenderAddress { token: "guess".to_owned(), ..address.clone() };
            let refused = ask(&guess).known(package.digest).unwrap_err().to_string();
            assert!(refused.contains("401"), "{refused}");
            // Somebody else at this address, or nobody who is known.
            let other = if is_safe { String::new() } else { self_signed(listen.ip()).unwrap().pem };
            let another = if is_safe { self_signed(listen.ip()).unwrap().pem } else { other.clone() };
            for certificate in [other, another] {
                let stranger = LenderAddress { certificate, ..address.clone() };
                assert!(ask(&stranger).known(package.digest).is_err(), "safe: {is_safe}");
            }
        }
    }

    #[test]
    fn nothing_but_a_question_for_a_file_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let (place, _) = installed(dir.path());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap();
        let giver = giver(None, Arc::new(own::Lender::new(place)), QUESTION_MAX);
        std::thread::spawn(move || serve(&listener, &giver));
        let say = |text: &str| {
            let mut stream = TcpStream::connect(listen).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            // It may have been closed already.
            let _closed = stream.shutdown(std::net::Shutdown::Write);
            let mut said = String::new();
            // A connection that is closed on what was not read is as good as one that says nothing.
            let _ended = stream.read_to_string(&mut said);
            said.lines().next().unwrap_or_default().to_owned()
        };
        let with = "authorization: Bearer secret\r\n";
        assert_eq!(say(&format!("GET /manifests/../../x HTTP/1.1\r\n{with}\r\n")), "HTTP/1.1 404 Not Found");
        assert_eq!(say("GET /manifests/x HTTP/1.1\r\n\r\n"), "HTTP/1.1 401 Unauthorized");
        for nonsense in [
            format!("PUT /x HTTP/1.1\r\n{with}\r\n"),
            format!("GET /x HTTP/1.1\r\n{with}content-length: 5\r\n\r\nhello"),
            "hello\r\n\r\n".to_owned(),
            "x".repeat(HEAD_BYTES_MAX * 2),
            format!("GET /x HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1)),
        ] {
            assert_eq!(say(&nonsense), "", "{nonsense:.40}");
        }
    }
}
