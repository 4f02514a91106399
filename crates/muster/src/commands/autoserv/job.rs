//! One job: the client is started, heard and answered until it has ended, over reboots of its device.

use super::AutoservArgs;
use super::client::Client;
use super::serve::{Mute, Server};
use super::shelf::Shelf;
use super::tally::{Stand, Tally};
use crate::error::Complaint;
use muster_core::output::Stream;
use muster_device::{Cancel, DeviceError, Exit, Until};
use muster_package::autotest::harness::{Branches, Hearing, Request, Said};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Between two looks whether a device has rebooted.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a device may take to answer one look.
const LOOK_MAX: Duration = Duration::from_secs(20);

/// A job that is to be run.
pub(super) struct Job<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) shelf: &'a Shelf,
    /// When it ends at the latest.
    pub(super) until: &'a Until,
    /// Ends it now.
    pub(super) cancel: &'a Cancel,
    pub(super) args: &'a AutoservArgs,
}

/// How a job ended.
pub(super) enum Ended {
    /// Its log is whole.
    Whole(Tally),
    TimeLimit,
    /// The client or its device failed, and why.
    Broken(String),
}

/// What is kept of a job over the client's lives.
struct Books {
    status: File,
    client_log: File,
    branches: Branches,
    tally: Tally,
}

impl Job<'_> {
    /// Runs it; `say` is given each line of the status log.
    pub(super) fn run(&self, say: &mut dyn FnMut(&str)) -> Result<Ended, anyhow::Error> {
        let results = &self.args.results;
        let open = |name: &str| {
            let path = results.join(name);
            File::options()
                .append(true)
                .create(true)
                .open(&path)
                .map_err(|e| Complaint::lab(format!("`{}` cannot be written", path.display())).because(e))
        };
        let mut books = Books {
            status: open("status.log")?,
            client_log: open("debug/client.log")?,
            branches: Branches::default(),
            tally: Tally::default(),
        };
        let requests = open("requests.log")?;
        let mut goes_on = false;
        let ended = loop {
            let boot = self.client.boot(self.until)?;
            let life = self.live(goes_on, &mut books, requests.try_clone()?, say);
            for line in books.branches.release() {
                books.log(&line, say)?;
            }
            match (life, books.tally.stand()) {
                (Err(e @ DeviceError::Cancelled { .. }), _) => {
                    return Err(Complaint::new(
                        muster_core::outcome::ExitCode::Interrupted,
                        "the job was ended",
                    )
                    .because(e)
                    .into());
                }
                (_, Stand::Ended { .. }) => break Ended::Whole(books.tally.clone()),
                (_, Stand::Reboots) => match self.wait_for_reboot(&boot) {
                    Ok(()) => goes_on = true,
                    Err(why) => break Ended::Broken(why),
                },
                (Ok(_), Stand::Open) if self.until.left().is_zero() => break Ended::TimeLimit,
                (Err(DeviceError::Timeout { .. }), Stand::Open) if self.until.left().is_zero() => {
                    break Ended::TimeLimit;
                }
                (Ok(Life { mute: Some(why), .. }), Stand::Open) => break Ended::Broken(why),
                (Ok(Life { exit, .. }), Stand::Open) => {
                    break Ended::Broken(match exit {
                        Exit::Code(127) => format!("there is no `{}` on the device", self.client.python),
                        Exit::Code(code) => format!("it ended with {code} before its job did"),
                        Exit::Signal(signal) => format!("signal {signal} ended it"),
                        Exit::TimeLimit => "its time was over".to_owned(),
                    });
                }
                (Err(e), Stand::Open) => break Ended::Broken(e.to_string()),
            }
        };
        self.collect_all();
        // What is told about the job is on disk.
        books.status.sync_all()?;
        Ok(ended)
    }

    /// One life of the client.
    fn live(
        &self,
        goes_on: bool,
        books: &mut Books,
        log: File,
        say: &mut dyn FnMut(&str),
    ) -> Result<Life, DeviceError> {
        // Where a request cannot be answered the client is ended, and nothing else is.
        let broken = Cancel::new().map_err(|source| DeviceError::Output { device: String::new(), source })?;
        let until = self.until.clone().or(&broken);
        let command = self.client.command(goes_on, "muster", &until)?;
        let (asks, asked) = channel::<(Request, Vec<String>)>();
        let mute = Mutex::new(None);
        let server = Server {
            client: self.client,
            shelf: self.shelf,
            results: &self.args.results,
            log,
            limit: self.args.request_timeout,
        };
        let exit = std::thread::scope(|scope| {
            let (mute, broken, whole) = (&mute, &broken, self.until);
            scope.spawn(move || answer_all(server, &asked, whole, broken, mute));
            let mut hearing = Hearing::default();
            let mut take = |stream: Stream, bytes: &[u8]| -> io::Result<()> {
                match stream {
                    Stream::Stdout => books.client_log.write_all(bytes),
                    Stream::Stderr | Stream::Muster => {
                        hearing.hear(bytes).into_iter().try_for_each(|said| books.hear(said, &asks, say))
                    }
                }
            };
            let exit = self.client.device.exec()?.run(&command, &mut take, &until);
            if let Some(said) = hearing.finish() {
                // Half a request is none; the client is not there to wait for it.
                drop(books.hear(said, &asks, say));
            }
            // The server's thread ends with the last request.
            drop(asks);
            exit
        });
        let mute = mute.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (exit, mute) {
            // It was cancelled by us, because of this.
            (Err(DeviceError::Cancelled { .. }), Some(why)) if !self.cancel.is_cancelled() => {
                Ok(Life { exit: Exit::Signal(9), mute: Some(why) })
            }
            (exit, mute) => Ok(Life { exit: exit?, mute }),
        }
    }

    /// Waits until the device is in another boot and answers.
    fn wait_for_reboot(&self, before: &str) -> Result<(), String> {
        let end = Instant::now() + self.args.reboot_timeout;
        let mut last = "it does not go down".to_owned();
        while Instant::now() < end && !self.until.left().is_zero() && !self.cancel.is_cancelled() {
            std::thread::sleep(LOOK_EVERY);
            match self.client.boot(&self.until.at_most(LOOK_MAX)) {
                Ok(boot) if boot != before && !boot.is_empty() => return Ok(()),
                Ok(_) => {}
                Err(e) => last = e.to_string(),
            }
        }
        let limit = self.args.reboot_timeout.as_secs();
        Err(format!("the device did not come back from a reboot within {limit} s: {last}"))
    }

    /// All that the client has left, also where the job has failed. What cannot be had is missing, and told.
    fn collect_all(&self) {
        let from = format!("{}/results/{}", self.client.autodir, self.client.tag);
        let until = Until::within(self.args.request_timeout);
        let pulled = self.client.device.files().and_then(|files| {
            files.stat(&from, &until)?.map(|_| files.pull_path(&from, &self.args.results, &until)).transpose()
        });
        if let Err(e) = pulled {
            let path = self.args.results.join("uncollected");
            // The disk may be the reason.
            drop(fs::write(path, format!("{from}: {e}\n")));
        }
    }
}

/// How a client ended.
struct Life {
    exit: Exit,
    /// It was ended because it could not be answered, and why.
    mute: Option<String>,
}

fn answer_all(
    mut server: Server<'_>,
    asked: &Receiver<(Request, Vec<String>)>,
    until: &Until,
    broken: &Cancel,
    mute: &Mutex<Option<String>>,
) {
    while let Ok((request, ended)) = asked.recv() {
        if let Err(Mute(why)) = server.answer(&request, &ended, until) {
            *mute.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(why);
            broken.cancel();
            return;
        }
    }
}

impl Books {
    fn hear(
        &mut self,
        said: Said,
        asks: &Sender<(Request, Vec<String>)>,
        say: &mut dyn FnMut(&str),
    ) -> io::Result<()> {
        match said {
            Said::Status { tag, line } => {
                for line in self.branches.add(tag, line) {
                    self.log(&line, say)?;
                }
            }
            Said::Request(request) => {
                if matches!(request, Request::Collect { .. }) {
                    for line in self.branches.release() {
                        self.log(&line, say)?;
                    }
                }
                // Nobody answers where it was decided to end the client.
                let ended = std::mem::take(&mut self.tally.to_collect);
                let _unheard = asks.send((request, ended));
            }
            Said::Other(line) => writeln!(self.client_log, "{line}")?,
        }
        Ok(())
    }

    fn log(&mut self, line: &str, say: &mut dyn FnMut(&str)) -> io::Result<()> {
        writeln!(self.status, "{line}")?;
        self.tally.add(line);
        say(line);
        Ok(())
    }
}
