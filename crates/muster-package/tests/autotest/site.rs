//! Web servers: Python's own, which everybody exports a directory with, some that take files, and one that misbehaves
//! as it is told.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// `python3 -m http.server`, ended when it is dropped.
pub(crate) struct Python {
    child: Child,
    pub(crate) url: String,
}

impl Python {
    pub(crate) fn serve(dir: &Path) -> Self {
        let code = "import http.server as h, functools, sys\n\
            class Quiet(h.SimpleHTTPRequestHandler):\n\
            \x20   def log_message(self, *a): pass\n\
            s = h.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=sys.argv[1]))\n\
            print(s.server_port, flush=True); s.serve_forever()";
        Self::run(code, dir)
    }

    /// A server that says which port it was given.
    fn run(code: &str, dir: &Path) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", code]).arg(dir).stdout(Stdio::piped());
        let mut child = python.spawn().expect("python3 is missing (cargo xtask setup)");
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, url: format!("http://127.0.0.1:{}", port.trim()) }
    }
}

/// A server that takes files and minds the conditions of who writes them, as Apache does; ended when it is dropped.
pub(crate) struct Dav {
    _python: Python,
    pub(crate) url: String,
}

impl Dav {
    pub(crate) fn serve(dir: &Path) -> Self {
        let code = "import http.server as h, hashlib, os, sys, threading\n\
            lock = threading.Lock()\n\
            class Dav(h.BaseHTTPRequestHandler):\n\
            \x20   protocol_version = 'HTTP/1.1'\n\
            \x20   def log_message(self, *a): pass\n\
            \x20   def file(self): return os.path.join(sys.argv[1], os.path.basename(self.path))\n\
            \x20   def there(self):\n\
            \x20       try: return open(self.file(), 'rb').read()\n\
            \x20       except FileNotFoundError: return None\n\
            \x20   def tag(self, body): return '\"%s\"' % hashlib.md5(body).hexdigest()\n\
            \x20   def end(self, status, body=b''):\n\
            \x20       self.send_response(status)\n\
            \x20       if status == 200: self.send_header('ETag', self.tag(body))\n\
            \x20       self.send_header('Content-Length', str(len(body)))\n\
            \x20       self.end_headers()\n\
            \x20       if self.command != 'HEAD': self.wfile.write(body)\n\
            \x20   def do_GET(self):\n\
            \x20       with lock: body = self.there()\n\
            \x20       self.end(404) if body is None else self.end(200, body)\n\
            \x20   do_HEAD = do_GET\n\
            \x20   def do_PUT(self):\n\
            \x20       body = self.rfile.read(int(self.headers['Content-Length']))\n\
            \x20       with lock:\n\
            \x20           old, wanted = self.there(), self.headers.get('If-Match')\n\
            \x20           none = self.headers.get('If-None-Match') == '*'\n\
            \x20           if none and old is not None or wanted and (old is None or wanted != self.tag(old)):\n\
            \x20               return self.end(412)\n\
            \x20           open(self.file(), 'wb').write(body)\n\
            \x20       self.end(201 if old is None else 204)\n\
            \x20   def do_DELETE(self):\n\
            \x20       with lock:\n\
            \x20           old = self.there()\n\
            \x20           if old is not None: os.remove(self.file())\n\
            \x20       self.end(404 if old is None else 204)\n\
            s = h.ThreadingHTTPServer(('127.0.0.1', 0), Dav)\n\
            print(s.server_port, flush=True); s.serve_forever()";
        let python = Python::run(code, dir);
        Self { url: python.url.clone(), _python: python }
    }
}

/// nginx, which gives out `www` in a directory, by these rules more; ended when it is dropped.
pub(crate) struct Nginx {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Nginx {
    pub(crate) fn serve(dir: &Path, rules: &str) -> Self {
        const PROGRAM: &str = "/usr/sbin/nginx";
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: apt-get install nginx (cargo xtask setup)"
        );
        let (www, log) = (dir.join("www"), dir.join("access.log"));
        fs::create_dir_all(&www).unwrap();
        // The number of a port that is free is a guess until it is taken.
        loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let at = listener.local_addr().unwrap();
            drop(listener);
            let dir = dir.display();
            let config = format!(
                "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;\nevents {{ }}\n\
                 http {{ log_format asked '$request_method $request_uri'; access_log {dir}/access.log asked;\n\
                 client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fast;\n\
                 uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;\n\
                 server {{ listen {at}; root {}; location / {{ {rules} }} }} }}\n",
                www.display()
            );
            let file = www.with_file_name("nginx.conf");
            fs::write(&file, config).unwrap();
            let mut nginx = Command::new(PROGRAM);
            nginx.arg("-c").arg(&file).arg("-e").arg(file.with_file_name("early.log"));
            let mut child = nginx.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            loop {
                if let Some(status) = child.try_wait().unwrap() {
                    let said = fs::read_to_string(file.with_file_name("error.log")).unwrap_or_default();
                    let early = fs::read_to_string(file.with_file_name("early.log")).unwrap_or_default();
                    assert!(
                        said.contains("Address already in use") || early.contains("Address already in use"),
                        "{status}: {said}{early}"
                    );
                    break;
                }
                if fs::metadata(www.with_file_name("pid")).is_ok() && TcpStream::connect(at).is_ok() {
                    return Self { child, url: format!("http://{at}"), log };
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }

    pub(crate) fn location(&self, path: &str) -> muster_package::autotest::Location {
        format!("{}/{path}", self.url).parse().unwrap()
    }

    /// What was asked of it, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What is answered to one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// The file, with an entity tag; a range of it where that is asked for.
    File,
    /// The file, cut after so many bytes of what was to come.
    Cut(usize),
    /// This file in its place.
    Other(&'static str),
    /// This status and a page.
    Page(u16),
    /// Nothing.
    Silence,
}

/// A server that answers each path by a rule, and keeps what it was asked.
pub(crate) struct Site {
    pub(crate) url: String,
    shared: Arc<Shared>,
    at: std::net::SocketAddr,
    thread: Option<std::thread::JoinHandle<()>>,
}

type Rule = dyn Fn(&str, usize) -> Reply + Send + Sync;

struct Shared {
    dir: PathBuf,
    rule: Box<Rule>,
    asked: Mutex<Vec<String>>,
    ends: std::sync::atomic::AtomicBool,
}

impl Site {
    /// The rule is given the name of the file and how often it has been asked for before.
    pub(crate) fn new(dir: &Path, rule: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            rule: Box::new(rule),
            asked: Mutex::default(),
            ends: false.into(),
        });
        let its = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for tcp in listener.incoming() {
                if its.ends.load(std::sync::atomic::Ordering::SeqCst) {
                    return;
                }
                // A client that is gone is its own business.
                drop(its.answer(&tcp.unwrap()));
            }
        });
        Self { url: format!("http://{at}"), shared, at, thread: Some(thread) }
    }

    /// The lines of what was asked: the name, and the range or the condition.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shared.ends.store(true, std::sync::atomic::Ordering::SeqCst);
        drop(TcpStream::connect(self.at));
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Shared {
    fn answer(&self, tcp: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(tcp).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let name = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let (mut range, mut condition) = (None, None);
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            let (key, value) = line.split_once(": ").unwrap_or((&line, ""));
            match key.to_ascii_lowercase().as_str() {
                "range" => {
                    range = value.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().ok();
                }
                "if-none-match" => condition = Some(value.to_owned()),
                _ => {}
            }
        }
        let before = {
            let mut asked = self.asked.lock().unwrap();
            let before = asked.iter().filter(|a| a.split(' ').next() == Some(&name)).count();
            let extra = match (range, &condition) {
                (Some(at), _) => format!(" from {at}"),
                (None, Some(_)) => " if changed".to_owned(),
                (None, None) => String::new(),
            };
            asked.push(format!("{name}{extra}"));
            before
        };
        let mut tcp = tcp;
        let page = |status: u16| {
            let page = "<html><body>no</body></html>";
            format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{page}",
                page.len()
            )
        };
        let (name, cut) = match (self.rule)(&name, before) {
            Reply::File => (name, None),
            Reply::Other(other) => (other.to_owned(), None),
            Reply::Cut(bytes) => (name, Some(bytes)),
            Reply::Page(status) => return tcp.write_all(page(status).as_bytes()),
            Reply::Silence => return Ok(()),
        };
        let Ok(bytes) = fs::read(self.dir.join(&name)) else {
            return tcp.write_all(page(404).as_bytes());
        };
        let tag = format!("\"{}\"", muster_package::autotest::Md5::of(&bytes));
        if condition.as_ref() == Some(&tag) {
            return tcp.write_all(b"HTTP/1.1 304 X\r\nconnection: close\r\n\r\n");
        }
        let from = range.unwrap_or(0).min(bytes.len());
        let (status, extra) = match range {
            Some(at) => (206, format!("content-range: bytes {at}-{}/{}\r\n", bytes.len() - 1, bytes.len())),
            None => (200, String::new()),
        };
        let rest = &bytes[from..];
        write!(
            tcp,
            "HTTP/1.1 {status} X\r\nconnection: close\r\netag: {tag}\r\n{extra}content-length: {}\r\n\r\n",
            rest.len()
        )?;
        tcp.write_all(&rest[..cut.unwrap_or(rest.len()).min(rest.len())])
    }
}
