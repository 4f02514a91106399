//! `muster autoserv`: starts an unmodified Autotest client on a device and is its server until the job has
//! ended. What the protocol leaves open is decided here:
//!
//! * every request is answered, whatever becomes of it, and what became of it is told;
//! * nothing waits without a limit, on either side: where a signal cannot be given, the client is ended;
//! * status lines go on while packages are sent and results are collected.

mod client;
mod import;
mod job;
mod measures;
mod serve;
mod shelf;
mod tally;

use super::typed::duration;
use crate::context::Context;
use crate::error::Complaint;
use crate::local::signals::Signals;
use clap::Args;
use client::Client;
use job::{Ended, Job};
use muster_core::outcome::ExitCode;
use muster_device::{DeviceAddress, Until};
use muster_package::autotest::{Limits, Location, checksums};
use shelf::Shelf;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Longer than any job.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Arguments of `muster autoserv`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  muster autoserv --sources ~/autotest --on ssh://root@board7 tests/sleeptest/control
  muster autoserv --packages http://devserver/static/build-7/autotest/packages --results out control
  muster autoserv --import results/123-ana/board7/status.log

Standard output has the lines of the status log as they come; DIR of --results has all that the client left, and
`requests.log`, which says what became of each package that it asked for.

Exit codes: 0 all tests are good, 1 some are not, 2 usage, 3 the client could not do its work, 124 --timeout.")]
pub(crate) struct AutoservArgs {
    /// The device that the client runs on
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "MUSTER_DEVICE_ADDRESS",
        hide_env_values = true,
        default_value = "local:"
    )]
    on: DeviceAddress,
    /// A repository of packages: a directory, `http://…` or `ssh://…`; several are tried in this order
    #[arg(long, value_name = "REPOSITORY")]
    packages: Vec<Location>,
    /// The repository of the build that is on the device, asked before all others [default: the label `job_repo_url` of
    /// the device, where a lab runs this]
    #[arg(long, value_name = "URL", env = "MUSTER_JOB_REPO_URL", hide_env_values = true)]
    job_repo_url: Option<Location>,
    /// An Autotest tree; what is below its `client/` is packed when it is asked for, and wins over repositories
    #[arg(long, value_name = "DIR")]
    sources: Option<PathBuf>,
    /// Where the client is installed on the device [default: `autotest` in its test root]
    #[arg(long, value_name = "DIR")]
    autodir: Option<String>,
    /// Run the client that is there, whichever it is
    #[arg(long)]
    no_install: bool,
    /// The Python of the device that runs the client
    #[arg(long, value_name = "PROGRAM", default_value = "python2")]
    python: String,
    /// Where to put what the job leaves; it must not hold the results of another [default: `autoserv-results` here, or
    /// in the working directory of the attempt that this is run by]
    #[arg(short, long, value_name = "DIR", default_value_os_t = results(), hide_default_value = true)]
    results: PathBuf,
    /// What the job is called on the device
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = tag)]
    tag: String,
    /// An argument for the control file, in its list `args`; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    arg: Vec<String>,
    /// Let the client itself fetch from repositories that are web servers, before it asks for packages here
    #[arg(long)]
    pull: bool,
    /// End the job after this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// How long it may take to answer one request
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m")]
    request_timeout: Duration,
    /// How long a reboot of the device may take
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30m")]
    reboot_timeout: Duration,
    /// CONTROL is the status log of a job that another server has run: tell what it came to, and run nothing
    #[arg(long)]
    import: bool,
    /// The control file
    #[arg(value_name = "CONTROL")]
    control: PathBuf,
}

fn results() -> PathBuf {
    let dir = std::env::var_os("MUSTER_WORK_DIR").map(PathBuf::from).unwrap_or_default();
    dir.join("autoserv-results")
}

fn tag(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && !text.starts_with(['.', '-']) && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err("a tag has letters, digits, `-`, `_` and `.`".to_owned())
    }
}

/// Whether a control file says that it is for a server.
fn is_of_server(control: &[u8]) -> bool {
    String::from_utf8_lossy(control).lines().any(|line| {
        let assigned = line.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("TEST_TYPE"));
        assigned.is_some_and(|(_, value)| {
            let value = value.split('#').next().unwrap_or_default().trim();
            value.trim_matches(['"', '\'']).eq_ignore_ascii_case("server")
        })
    })
}

/// Runs a job.
pub(crate) fn run(args: &AutoservArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let control = std::fs::read(&args.control)
        .map_err(|e| Complaint::usage(format!("`{}` cannot be read", args.control.display())).because(e))?;
    if args.import {
        return import::run(&control, &args.control, context);
    }
    if is_of_server(&control) {
        let said = format!("`{}` is for a server (`TEST_TYPE`)", args.control.display());
        return Err(Complaint::usage(said)
            .hint(
                "it is a program on Autotest's own server libraries, which are not here: run it with Autotest's \
                 `autoserv`, and have its results told with `muster autoserv --import RESULTS/status.log`",
            )
            .into());
    }
    let packages: Vec<Location> = args.job_repo_url.iter().chain(&args.packages).cloned().collect();
    if args.sources.is_none() && packages.is_empty() && !args.no_install {
        return Err(Complaint::usage("there is nothing to install the client from")
            .hint("`--sources DIR` or `--packages REPOSITORY`; `--no-install` runs the one that is there")
            .into());
    }
    let shelf = Shelf::new(
        args.sources.clone(),
        packages.clone(),
        Limits { total: args.request_timeout, ca_file: context.fetch_ca(None), ..Limits::default() },
    )?;
    let log = args.results.join("status.log");
    if log.exists() {
        return Err(Complaint::usage(format!("`{}` is there: another job's results", log.display()))
            .hint("name another directory with `--results`")
            .into());
    }
    std::fs::create_dir_all(args.results.join("debug"))
        .map_err(|e| Complaint::lab(format!("`{}` cannot be made", args.results.display())).because(e))?;
    let device =
        args.on.open().map_err(|e| Complaint::lab(format!("cannot use `{}`", args.on)).because(e))?;
    let cancel = Signals::cancelling()?;
    let until = Until::within(args.timeout.unwrap_or(FOREVER)).or(&cancel);
    let client = Client {
        device: &*device,
        autodir: match &args.autodir {
            Some(dir) => dir.clone(),
            None => format!("{}/autotest", device.files()?.test_root(&until)?),
        },
        python: args.python.clone(),
        tag: args.tag.clone(),
    };
    if !args.no_install {
        let installed = client.install(&shelf, &until)?;
        drop(writeln!(context.stderr(), "client: {installed}"));
    }
    client.put_control(&control, &args.arg, if args.pull { &packages } else { &[] }, &until)?;
    if !shelf.is_empty() {
        // A client believes its own list, and would go on with what was changed here since it was written.
        let sums = format!("{}/{}", client.autodir, checksums::FILE);
        serve::put_sums(&client, &shelf, &sums, &until).map_err(|why| {
            Complaint::lab(format!("`{sums}` cannot be written on the device")).because(why)
        })?;
    }
    let job = Job { client: &client, shelf: &shelf, until: &until, cancel: &cancel, args };
    let mut say =
        |line: &str| drop(writeln!(context.stdout(), "{line}").and_then(|()| context.stdout().flush()));
    match job.run(&mut say)? {
        Ended::Whole(tally) => {
            measures::tell(&args.results)?;
            drop(writeln!(context.stderr(), "{tally}; results are in {}", args.results.display()));
            Ok(if tally.is_good() { ExitCode::Passed } else { ExitCode::Failed })
        }
        Ended::TimeLimit => {
            let limit = args.timeout.unwrap_or(FOREVER).as_secs_f64();
            Err(Complaint::new(ExitCode::RunTimeLimit, format!("the job was ended after {limit} s"))
                .hint("`--timeout` gives it longer")
                .into())
        }
        Ended::Broken(why) => Err(Complaint::lab(format!("the client did not end its job: {why}"))
            .hint(format!("{} has what it printed", args.results.join("debug").display()))
            .into()),
    }
}
