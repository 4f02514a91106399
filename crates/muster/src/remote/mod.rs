//! Running tests on the lab of a server: the same command, terminal, exit code and reports as on this
//! machine.

pub(crate) mod again;
mod pack;
pub(crate) mod records;
mod session;
pub(crate) mod store;
pub(crate) mod trust;

use crate::commands::run::{LabArgs, RunArgs, SupersedeWhich};
use crate::context::Context;
use crate::error::Complaint;
use crate::local::area::{Area, Purpose};
use crate::local::given::Given;
use crate::local::megatest::{self, Megatest};
use crate::local::session::now;
use crate::local::{area, made_of, packages, request};
use muster_api::trust::Trust;
use muster_api::{Client, ClientError, Outlook, Stop, Submit};
use muster_core::change::{Placement, RunRecord, RunSpec, Supersede};
use muster_core::digest::Digest;
use muster_core::id::RunId;
use muster_core::inputs::{Inputs, Package};
use muster_core::outcome::ExitCode;
use muster_core::view::LabView;
use records::ServerRecords;
use session::Session;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// How often a run is asked for, a second apart. The server was there a moment before.
const SUBMITS: u32 = 10;

/// The client of this server, for a person.
///
/// # Errors
/// The address is none, or the server cannot be known.
pub(crate) fn client(server: &str, context: &Context) -> Result<Client, anyhow::Error> {
    let address = server.starts_with("http://") || server.starts_with("https://");
    let trust = if address { trust::of_person(server, context)? } else { Trust::default() };
    client_with(server, &trust)
}

/// The client of this server, with this trust.
///
/// # Errors
/// The address is none, or it cannot be asked with this trust.
pub(crate) fn client_with(server: &str, trust: &Trust) -> Result<Client, anyhow::Error> {
    Client::new(server, trust).map_err(|e| {
        let hint = if server.starts_with("http://") {
            "a server that knows its users is at `https://…`"
        } else {
            "for instance `http://127.0.0.1:7117`, or `https://lab.example:7117` with a token file"
        };
        Complaint::usage(e).hint(hint).into()
    })
}

/// Runs the tests of the area at hand on a lab.
///
/// # Errors
/// The area cannot be used, or the server does not answer.
pub(crate) fn run(args: RunArgs, server: &str, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let RunArgs { select, target, name, exec, inputs, lab } = args;
    let LabArgs { on, detach, wait: _, id, priority, start_within, supersede, retry_elsewhere } = lab;
    let client = client(server, context)?;
    let given = Given::fetch(&inputs, &std::env::temp_dir(), context)?;
    let purpose = Purpose::Lab { name: name.as_deref() };
    let area = area::load(context, given.area(), target.target.as_deref(), &request::flags(&exec), purpose)?;
    let selection = request::selection(&select, &area, &mut ServerRecords::new(client.clone()), context)?;
    let plan =
        request::make_plan(&area.loaded.area, &area.loaded.facts, &selection, &(), &context.program())?;
    if plan.tests.is_empty() {
        let said = Complaint::new(ExitCode::NothingRan, "nothing to run: no test is selected");
        return Err(said.hint(format!("`{} plan` lists the tests", context.program())).into());
    }
    let packages = packages::resolve(&inputs, &area, &plan, &client, context)?;
    let source = source(&client, &area, given.area().as_deref().unwrap_or(&area.dir))?;
    if let (Some(file), Some(build)) = (given.build(), &given.inputs.build) {
        send_build(&client, file, build)?;
    }
    let failures_max = exec.fail_fast.map(std::num::NonZeroU32::get);
    let record = request::run_record(&area, selection, plan, name, failures_max, 0, now());
    let RunRecord { id: own, number: _, created: _, spec, plan } = record;
    let id = id.map_or(own, |id| RunId(id.as_u128()));
    // What is asked for under one id is the same each time, its trace too.
    let trace_id = format!("{:032x}", id.0);
    // What cannot be written is told before anything is asked for.
    let session = if detach { None } else { Some(Session::new(client.clone(), id, &exec, context)?) };
    let placement = Placement {
        user: os_user(),
        selector: on.unwrap_or_default(),
        source,
        pools: None,
        priority: priority.unwrap_or(0),
        start_within,
        supersede: match supersede {
            None => Supersede::No,
            Some(SupersedeWhich::Waiting) => Supersede::Waiting,
            Some(SupersedeWhich::All) => Supersede::All,
        },
        retry_elsewhere,
    };
    let profilers = packages::profilers(&inputs, &area);
    if let Some(Megatest { before: Some(line), .. }) = &area.megatest {
        megatest::run_hook("pre-hook", line, &area.dir, &spec.env)?;
    }
    let inputs = Inputs { packages, profilers, ..given.inputs };
    let spec = RunSpec { placement, inputs, trace_id, ..(*spec).clone() };
    let submit = Submit { spec, plan: (*plan).clone(), made_of: made_of::line(&area) };
    let accepted = ask_again(|| client.submit(id, &submit)).map_err(complain)?;
    let address = format!("{}/{}", submit.spec.area, accepted.number);
    heed(&client, id, &address, &accepted.outlook, detach, context)?;
    let Some(session) = session else {
        writeln!(context.stdout(), "{address}")?;
        if let Some(Megatest { after: Some(line), .. }) = &area.megatest {
            let said = "is run by whoever waits for the end, which nobody does here";
            writeln!(context.stderr(), "the post-hook `{line}` {said}")?;
        }
        return Ok(ExitCode::Passed);
    };
    let code = session.run(|_| Ok(None))?;
    if let Some(Megatest { after: Some(line), .. }) = &area.megatest {
        megatest::run_hook("post-hook", line, &area.dir, &submit.spec.env)?;
    }
    Ok(code)
}

/// The files of the area, brought to the server. Those of a Megatest area are on disks that all its hosts share,
/// with its run directories, and stay there.
///
/// # Errors
/// They cannot be read, or the server does not take them.
fn source(client: &Client, area: &Area, dir: &Path) -> Result<Option<Digest>, anyhow::Error> {
    match &area.megatest {
        None => pack::send(client, dir).map(Some),
        Some(_) => Ok(None),
    }
}

/// Says when a run may start. One that cannot is withdrawn, unless it was asked for to wait (`detach`).
fn heed(
    client: &Client,
    id: RunId,
    address: &str,
    outlook: &Outlook,
    detach: bool,
    context: &Context,
) -> Result<(), anyhow::Error> {
    match outlook {
        Outlook::Now => {}
        Outlook::Later(why) => drop(writeln!(context.stderr(), "{address} waits: {why}")),
        Outlook::Never(why) if detach => {
            drop(writeln!(context.stderr(), "{address} cannot start as the lab is: {why}"));
        }
        Outlook::Never(why) => {
            let reason = format!("withdrawn, since it could not start: {why}");
            client.stop(id, &Stop { reason, kill: false }).map_err(complain)?;
            let said = format!("{address} cannot start as the lab is: {why}");
            return Err(Complaint::new(ExitCode::Never, said)
                .hint(format!(
                    "`{} device list` shows what is there; a run with `--detach` waits for a device",
                    context.program()
                ))
                .into());
        }
    }
    Ok(())
}

/// Brings a build to the server, unless it has it.
fn send_build(client: &Client, file: &Path, build: &Package) -> Result<(), anyhow::Error> {
    if !client.has_blob(build.digest).map_err(complain)? {
        let file = File::open(file).map_err(|e| Complaint::lab("the build cannot be read").because(e))?;
        client.put_blob(build.digest, &file, build.bytes).map_err(complain)?;
    }
    Ok(())
}

/// Asks for a run. Where the answer is lost, it may have been heard: it is asked for again under the same id.
fn ask_again<T>(mut ask: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let mut left = SUBMITS;
    loop {
        match ask() {
            Err(e) if e.may_pass() && left > 1 => left -= 1,
            answer => return answer,
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// The lab of the server that is meant.
///
/// # Errors
/// None is meant, or it does not answer.
pub(crate) fn lab_view(command: &str, context: &Context) -> Result<LabView, anyhow::Error> {
    client(need_server(command, context)?, context)?.lab().map_err(complain)
}

/// The person at the keyboard and their host, for others to see. Nobody checks it.
pub(crate) fn whoever() -> String {
    format!("{}@{}", os_user(), area::hostname())
}

/// The person at the keyboard, as the system calls them.
pub(crate) fn os_user() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let nameless = || muster_device::user_name(rustix::process::getuid().as_raw());
    user.ok().filter(|u| !u.is_empty()).unwrap_or_else(nameless)
}

/// The server that is meant.
///
/// # Errors
/// None is.
pub(crate) fn need_server<'a>(command: &str, context: &'a Context) -> Result<&'a str, anyhow::Error> {
    context.server.as_deref().ok_or_else(|| {
        Complaint::usage(format!("`{command}` is about a lab"))
            .hint("name its server with `--server http://HOST:PORT`, or in MUSTER_SERVER")
            .into()
    })
}

/// What the server did not do, for people.
pub(crate) fn complain(error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Refused(problem) => {
            // Too much at once is not the fault of what was typed.
            let complaint = if problem.status < 500 && problem.status != 429 {
                Complaint::usage(problem.detail)
            } else {
                Complaint::lab(problem.detail)
            };
            let complaint = if problem.next.is_empty() { complaint } else { complaint.hint(problem.next) };
            complaint.into()
        }
        ClientError::Unreachable { server, source } => {
            Complaint::lab(format!("the server at {server} cannot be reached"))
                .because(source)
                .hint("is it running (`muster server`), and is the address right?")
                .into()
        }
        error @ ClientError::Untrusted { .. } => Complaint::usage(error.to_string())
            .hint("a server that knows its users is asked at `https://…` with the token file of its lab")
            .into(),
        error @ ClientError::NotUnderstood { .. } => Complaint::lab(error.to_string())
            .hint("is it a Muster server of a version near this one's?")
            .into(),
    }
}
