//! `muster bridge`: runs tests for what other programs announce.

use crate::bridge::hook::{Hook, Wanted, router};
use crate::bridge::inbox::Inbox;
use crate::bridge::report::Reporter;
use crate::bridge::run::Plan;
use crate::bridge::worker::Worker;
use crate::context::Context;
use crate::error::Complaint;
use crate::local::signals::Signals;
use crate::remote::need_server;
use crate::settings::state_dir;
use clap::{Args, Subcommand};
use muster_core::outcome::ExitCode;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

/// Arguments of `muster bridge`.
#[derive(Args, Clone, Debug)]
pub(crate) struct BridgeArgs {
    #[command(subcommand)]
    from: From,
}

/// Who announces.
#[derive(Clone, Debug, Subcommand)]
enum From {
    /// Run tests for builds that Buildbot announces, and report to it (with --server)
    Buildbot(BuildbotArgs),
}

/// Arguments of `muster bridge buildbot`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Buildbot's HttpStatusPush announces ended builds to http://LISTEN/buildbot, as the user `buildbot` with the
secret for its password. A build is on disk before that is answered, is run once however often it is announced,
and is reported once, also where this is killed in between.")]
struct BuildbotArgs {
    /// Where to listen; loopback only
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7118")]
    listen: SocketAddr,
    /// A file with the secret that Buildbot sends
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// The area to run for a build that does not say where its tests are
    #[arg(long, value_name = "DIR")]
    area: Option<PathBuf>,
    /// Run on devices for which this is true
    #[arg(long, value_name = "SELECTOR")]
    on: Option<String>,
    /// Take builds of this builder only; may be given several times
    #[arg(long = "builder", value_name = "NAME")]
    builders: Vec<String>,
    /// The property of a build that says where its result is
    #[arg(long, value_name = "NAME", default_value = "build_url")]
    build_property: String,
    /// The property of a build that says where its tests are
    #[arg(long, value_name = "NAME", default_value = "tests_url")]
    tests_property: String,
    /// Report to this force scheduler: `http://HOST:PORT/api/v2/forceschedulers/NAME`
    #[arg(long, value_name = "URL")]
    report_to: Option<String>,
    /// Builds that are tested at once
    #[arg(long, value_name = "N", default_value = "8")]
    at_once: NonZeroU32,
    /// Further runs where the lab failed
    #[arg(long, value_name = "N", default_value_t = 2)]
    retries: u32,
    /// Where builds are kept [default: $XDG_STATE_HOME/muster/bridge]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Serves until it is told to end.
pub(crate) fn run(args: BridgeArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let From::Buildbot(args) = args.from;
    let server = need_server("bridge", context)?.to_owned();
    if !args.listen.ip().is_loopback() {
        return Err(Complaint::usage(format!("`{}` is not a loopback address", args.listen))
            .hint("the secret would go over the network in the clear; reach it by a tunnel: `ssh -L`")
            .into());
    }
    let reporter = args.report_to.as_deref().map(Reporter::new).transpose().map_err(Complaint::usage)?;
    let authorization = authorization(&context.dir.join(&args.secret_file))?;
    let state = match args.state {
        Some(dir) => context.dir.join(dir),
        None => state_dir("bridge")?,
    };
    let unusable = |e| {
        Complaint::lab(format!("`{}` cannot be used", state.display()))
            .because(e)
            .hint("give each bridge its own `--state DIR`")
    };
    let (inbox, open) = Inbox::open(state.join("buildbot")).map_err(unusable)?;
    let inbox = Arc::new(inbox);
    let area = args.area.map(|dir| context.dir.join(dir));
    if let Some(area) = area.as_deref().filter(|dir| !dir.is_dir()) {
        return Err(Complaint::usage(format!("`{}` is not a directory", area.display())).into());
    }
    let (sender, events) = channel();
    let worker = Arc::new(Worker {
        inbox: Arc::clone(&inbox),
        plan: Plan { server, area, on: args.on, dir: state.join("runs") },
        reporter,
        lab_errors_max: args.retries,
        // Whoever started it may have gone away.
        say: Box::new(|text| drop(writeln!(std::io::stderr(), "{text}"))),
    });
    let events = Arc::new(Mutex::new(events));
    for n in 0..args.at_once.get() {
        let (worker, events) = (Arc::clone(&worker), Arc::clone(&events));
        std::thread::Builder::new().name(format!("build-{n}")).spawn(move || worker.work(&events))?;
    }
    let mut signals = Signals::any()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(args.listen)).map_err(|e| {
        Complaint::lab(format!("`{}` cannot be listened on", args.listen))
            .because(e)
            .hint("choose another port with `--listen`, e.g. `--listen 127.0.0.1:0`")
    })?;
    let address = listener.local_addr()?;
    let taken = open.len();
    for event in open {
        sender.send(event).expect("the workers live");
    }
    let wanted = Wanted { builders: args.builders, build: args.build_property, tests: args.tests_property };
    // Nobody listens only when this process ends.
    let tell = Box::new(move |event| drop(sender.send(event)));
    let router = router(Hook { inbox, wanted, authorization, tell });
    runtime.spawn(async move { axum::serve(listener, router).await });
    drop(writeln!(
        context.stderr(),
        "builds are taken at http://{address}/buildbot and kept in {}; {taken} of them are not done",
        state.display()
    ));
    drop(signals.read(&mut [0]));
    // What runs goes on, on the lab, and is gone on with here by the next one.
    Ok(ExitCode::Passed)
}

/// The digest of the header that those send who know the secret.
fn authorization(file: &Path) -> Result<blake3::Hash, anyhow::Error> {
    let secret = std::fs::read_to_string(file).map_err(|e| {
        Complaint::usage(format!("the secret in `{}` cannot be read", file.display())).because(e)
    })?;
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Complaint::usage(format!("there is no secret in `{}`", file.display()))
            .hint("for instance `head -c 32 /dev/urandom | base64 > FILE && chmod 600 FILE`")
            .into());
    }
    use base64::Engine as _;
    let word = base64::prelude::BASE64_STANDARD.encode(format!("buildbot:{secret}"));
    Ok(blake3::hash(format!("Basic {word}").as_bytes()))
}
