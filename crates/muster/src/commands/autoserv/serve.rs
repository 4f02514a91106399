//! Answers what a client asks for, one request after the other, while the client's other lines go on.

use super::client::Client;
use super::shelf::Shelf;
use muster_device::{DeviceError, Exit, Until};
use muster_package::autotest::harness::Request;
use muster_package::autotest::{Checksums, PackageName, checksums, is_publishable};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Writes a byte into the pipe that a client reads from, if it still does.
const SIGNAL: &str = r#"[ -p "$1" ] || exit 3; printf %s "$2" > "$1""#;
/// How long it may take until the client reads what is written there. One that is alive waits for it.
const SIGNAL_MAX: Duration = Duration::from_secs(30);
/// Between two tries where the device does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Packages whose sums are compared with those that the device has.
// Limit: one line of shell; what is behind them is sent again.
const COMPARED_MAX: usize = 2_000;

/// Answers requests.
pub(super) struct Server<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) shelf: &'a Shelf,
    /// The results here.
    pub(super) results: &'a Path,
    /// What became of each request.
    pub(super) log: File,
    /// For one request.
    pub(super) limit: Duration,
}

/// The client cannot be told that its request was answered, so it would wait for ever.
#[derive(Debug)]
pub(super) struct Mute(pub(super) String);

impl Server<'_> {
    /// Does what is asked, tells what became of it, and signals, whatever that was. `ended`: directories of tests that
    /// have ended since the last request.
    pub(super) fn answer(&mut self, request: &Request, ended: &[String], until: &Until) -> Result<(), Mute> {
        let begun = Instant::now();
        let within = until.at_most(self.limit);
        let (what, done) = match request {
            Request::Collect { .. } => ("results".to_owned(), self.collect(ended, &within)),
            Request::Fetch { file, to, .. } => (file.clone(), self.send(file, to, &within)),
        };
        let done = match done {
            Ok(done) => done,
            Err(why) => format!("failed: {why}"),
        };
        let signalled = self.signal(request, until);
        let note = match &signalled {
            Ok(true) => "",
            Ok(false) => "; the client does not wait any more",
            Err(_) => "; the client cannot be told",
        };
        let line = format!("{what}: {done}{note} ({:.1} s)", begun.elapsed().as_secs_f64());
        // What is written is for people; the job goes on without.
        drop(writeln!(self.log, "{line}"));
        signalled.map(drop).map_err(|why| Mute(format!("{line}: {why}")))
    }

    /// Results of tests that have ended.
    fn collect(&self, ended: &[String], until: &Until) -> Result<String, String> {
        let root = format!("{}/results/{}", self.client.autodir, self.client.tag);
        let files = self.client.device.files().map_err(|e| e.to_string())?;
        let mut count = 0;
        for dir in ended {
            let from = format!("{root}/{dir}");
            if files.stat(&from, until).map_err(|e| e.to_string())?.is_none() {
                continue;
            }
            let to = self.results.join(dir);
            fs::create_dir_all(&to).map_err(|e| format!("`{}` cannot be made: {e}", to.display()))?;
            let moved = files.pull_path(&from, &to, until).map_err(|e| e.to_string())?;
            count += moved.files;
        }
        Ok(format!("{count} files collected"))
    }

    /// Puts a file where the client wants it.
    fn send(&self, file: &str, to: &str, until: &Until) -> Result<String, String> {
        let told = |e: DeviceError| e.to_string();
        let files = self.client.device.files().map_err(told)?;
        // The client is believed as far as its own directory.
        let is_inside = to.strip_prefix(&*self.client.autodir).is_some_and(|rest| rest.starts_with('/'));
        if !is_inside || to.split('/').any(|part| part == "..") {
            return Err(format!("it is wanted at `{to}`, which is not below `{}`", self.client.autodir));
        }
        if file == checksums::FILE {
            put_sums(self.client, self.shelf, to, until)?;
            return Ok("sent: the packages that the device has, and that are not another here".to_owned());
        }
        if !is_publishable(file) {
            return Err("no package has such a name".to_owned());
        }
        let package = self.shelf.get(file)?;
        let mut from = File::open(package.path()).map_err(|e| e.to_string())?;
        files.push(&mut from, package.bytes, to, until).map_err(told)?;
        Ok(format!("sent: {} bytes, {} from {}", package.bytes, package.md5, package.from))
    }

    /// Tells the client to go on; whether it still waited. Where the device does not answer it is tried again.
    fn signal(&self, request: &Request, until: &Until) -> Result<bool, String> {
        let end = Instant::now() + self.limit;
        loop {
            let told =
                self.client.shell_within(SIGNAL, &[request.fifo(), request.signal()], SIGNAL_MAX, until);
            match told {
                Ok((Exit::Code(0), _)) => return Ok(true),
                // The pipe is gone, or nobody reads from it.
                Ok((Exit::Code(3) | Exit::TimeLimit, _)) => return Ok(false),
                Ok((exit, said)) => return Err(format!("the signal ended with {exit:?}: {said}")),
                Err(e @ (DeviceError::Cancelled { .. } | DeviceError::Timeout { .. }))
                    if until.left().is_zero() =>
                {
                    return Err(e.to_string());
                }
                Err(e @ DeviceError::Cancelled { .. }) => return Err(e.to_string()),
                Err(e) if Instant::now() >= end => return Err(e.to_string()),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
}

/// Puts a list of sums on the device: of what it has in its cache, where that is what it would be sent. A client does
/// not ask for what is listed and there, and some die of what is listed and not there.
pub(super) fn put_sums(client: &Client<'_>, shelf: &Shelf, to: &str, until: &Until) -> Result<(), String> {
    let told = |e: DeviceError| e.to_string();
    let top = to.rsplit_once('/').map_or("", |(dir, _)| dir);
    // Of the newer clients, whose list and packages are not in one place; of the older and the fork.
    let script = r#"cd "$1/tmp/packages" 2>/dev/null || cd "$1/packages" || exit 0; md5sum ./*.tar.bz2"#;
    let (_, said) = client.shell(script, &[top], until).map_err(told)?;
    let mut sums = Checksums::default();
    for line in said.lines().take(COMPARED_MAX) {
        let Some((sum, path)) = line.split_once("  ") else { continue };
        let file = path.trim_start_matches("./");
        let (Ok(sum), Ok(_)) = (sum.parse(), PackageName::of_file(file)) else { continue };
        if shelf.md5(file) == Some(sum) {
            sums.insert(file, sum);
        }
    }
    let sums = sums.write().into_bytes();
    client
        .device
        .files()
        .and_then(|files| files.push(&mut &*sums, sums.len() as u64, to, until))
        .map_err(told)
}
