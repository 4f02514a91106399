//! `muster events`: what happens in a lab as a whole, as it happens.

use crate::context::{Context, OutputMode};
use crate::remote::{client, complain, need_server};
use crate::terminal::style::{DIM, HEAD};
use crate::terminal::text::{moment, visible};
use clap::Args;
use muster_api::{Client, ClientError, LabNews};
use muster_core::outcome::ExitCode;
use muster_core::time::Time;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Arguments of `muster events`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Told are runs that are asked for and end, agents that come and go, and devices that appear, are
held, and become better or worse. Each event has a number; the server keeps the last 100,000, over
its restarts too. Where the connection is lost, it waits for the server and goes on without gap or
double.

  muster events                            what happens from now on
  muster events --since 0                  all that is kept, then what happens
  muster events --since 120 --no-follow    what happened after number 120
  muster events --json                     a line of JSON for each")]
pub(crate) struct EventsArgs {
    /// Begin behind the event with this number; 0: with the oldest that is kept
    #[arg(long, value_name = "ID")]
    since: Option<u64>,
    /// End when everything that has happened was told
    #[arg(long, requires = "since")]
    no_follow: bool,
    /// Print a line of JSON for each; the same as `--output json`
    #[arg(long)]
    json: bool,
}

/// Pause before the server is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// A server that has nothing to tell says so every 15 s. A connection on which nothing came for so long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Prints events until nobody wants them any more.
pub(crate) fn run(args: &EventsArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let client = client(need_server("events", context)?, context)?;
    let EventsArgs { since, no_follow, json } = *args;
    let output = if json { OutputMode::Json } else { context.output };
    let (mut after, mut lost) = (since, false);
    // A server that was never there is not waited for.
    let mut inbox = watch(&client, after, !no_follow).map_err(complain)?;
    loop {
        let error = match inbox.recv_timeout(SILENCE_MAX) {
            Ok(Ok(news)) => {
                if std::mem::take(&mut lost) {
                    writeln!(context.stderr(), "the server is back")?;
                }
                match news {
                    LabNews::Event(number, line) => {
                        after = Some(number);
                        print(number, &line, output, context)?;
                    }
                    LabNews::From(number) => after = Some(number),
                    LabNews::Gap(Some(missing)) => {
                        writeln!(context.stderr(), "{missing} older events are not kept any more")?;
                    }
                    LabNews::Gap(None) => {
                        let said = "the server has not given this number: all that it keeps follows";
                        writeln!(context.stderr(), "{said}")?;
                        after = Some(0);
                    }
                    LabNews::Quiet => {}
                }
                continue;
            }
            Ok(Err(error)) => Some(error),
            // Whoever watched has come to the end of the connection.
            Err(RecvTimeoutError::Disconnected) if no_follow => return Ok(ExitCode::Passed),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => None,
        };
        inbox = again(&client, after, !no_follow, error, &mut lost, context)?;
    }
}

/// Watches anew, as soon as the server answers.
fn again(
    client: &Client,
    after: Option<u64>,
    follow: bool,
    mut error: Option<ClientError>,
    lost: &mut bool,
    context: &Context,
) -> Result<Receiver<Told>, anyhow::Error> {
    loop {
        match error {
            Some(e) if !e.may_pass() => return Err(complain(e)),
            Some(e) if !std::mem::replace(lost, true) => {
                writeln!(context.stderr(), "{e}; waiting for the server")?;
            }
            // Told once; or it has ended in good order.
            Some(_) | None => {}
        }
        std::thread::sleep(AGAIN);
        match watch(client, after, follow) {
            Ok(inbox) => return Ok(inbox),
            Err(e) => error = Some(e),
        }
    }
}

type Told = Result<LabNews, ClientError>;

/// Watches on a thread of its own, so that a connection that died without a word holds nobody up.
fn watch(client: &Client, after: Option<u64>, follow: bool) -> Result<Receiver<Told>, ClientError> {
    let events = client.lab_events(after, follow)?;
    let (sender, inbox): (Sender<Told>, _) = channel();
    std::thread::spawn(move || {
        for told in events {
            // Nobody listens once the connection was given up.
            if sender.send(told).is_err() {
                return;
            }
        }
    });
    Ok(inbox)
}

fn print(number: u64, line: &str, output: OutputMode, context: &Context) -> Result<(), anyhow::Error> {
    let mut out = context.stdout();
    if output == OutputMode::Json {
        writeln!(out, "{line}")?;
    } else {
        let told: Value = serde_json::from_str(line)?;
        if output == OutputMode::Human || is_wrong(&told) {
            let at = told["at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
            let at = at.map_or_else(String::new, |at| moment(Time(at.as_microsecond().unsigned_abs())));
            let event = visible(told["event"].as_str().unwrap_or_default()).into_owned();
            let text = text(&told);
            writeln!(out, "{DIM}{number:>6}  {at}{DIM:#}  {HEAD}{event:<15}{HEAD:#}  {}", visible(&text))?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Whether somebody who wants to see only what is wrong wants to see this.
fn is_wrong(told: &Value) -> bool {
    match told["event"].as_str().unwrap_or_default() {
        "agent-lost" => told["goodbye"] == false,
        "device-health" => !matches!(told["health"].as_str(), Some("good" | "unknown")),
        "run-ended" => {
            let bad = ["unexpected-pass", "fail", "timeout", "crash", "error", "abort"];
            told["verdict"].as_str().is_some_and(|v| bad.contains(&v))
        }
        _ => false,
    }
}

/// An event in a few words. One that this program does not know is told field by field.
fn text(told: &Value) -> String {
    let of = |name: &str| told[name].as_str().unwrap_or_default();
    let (name, host, address) = (of("name"), of("host"), of("address"));
    let mut text = String::new();
    let mut add = |part: &str| text.push_str(part);
    match of("event") {
        "run-created" => {
            add(address);
            if !of("user").is_empty() {
                add(" by ");
                add(of("user"));
            }
        }
        "run-ended" => {
            add(address);
            add(if told["stopped"] == true { ": stopped" } else { ": " });
            add(if told["stopped"] == true { "" } else { told["verdict"].as_str().unwrap_or("nothing ran") });
        }
        "run-reopened" => add(address),
        "agent-joined" => add(host),
        "agent-lost" => {
            add(host);
            add(if told["goodbye"] == true { ": it said goodbye" } else { ": it is not heard any more" });
        }
        "device-appeared" => write!(text, "{name} on {host}").expect("a string takes all"),
        "device-gone" | "device-released" => add(name),
        "device-held" => {
            let (by, reason) = (&told["hold"]["by"], &told["hold"]["reason"]);
            let (by, reason) = (by.as_str().unwrap_or_default(), reason.as_str().unwrap_or_default());
            write!(text, "{name} by {by}: {reason}").expect("a string takes all");
        }
        "device-health" => {
            write!(text, "{name} is {}", of("health")).expect("a string takes all");
            for (joint, part) in [(": ", of("why")), (", see ", address)] {
                if !part.is_empty() {
                    text.push_str(joint);
                    text.push_str(part);
                }
            }
        }
        _ => {
            let known = ["schema", "id", "at", "event"];
            for (key, value) in
                told.as_object().into_iter().flatten().filter(|(k, _)| !known.contains(&&***k))
            {
                let gap = if text.is_empty() { "" } else { " " };
                write!(text, "{gap}{key}={value}").expect("a string takes all");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_told_in_words_and_unknown_ones_field_by_field() {
        let cases = [
            (json!({"event": "run-created", "address": "a/3", "user": "ana"}), "a/3 by ana", false),
            (
                json!({"event": "run-ended", "address": "a/3", "verdict": "fail", "stopped": false}),
                "a/3: fail",
                true,
            ),
            (
                json!({"event": "run-ended", "address": "a/3", "verdict": null, "stopped": true}),
                "a/3: stopped",
                false,
            ),
            (
                json!({"event": "agent-lost", "host": "h", "goodbye": false}),
                "h: it is not heard any more",
                true,
            ),
            (
                json!({"event": "device-health", "name": "b", "health": "quarantined", "why": "no power", "address": "lab-health/1"}),
                "b is quarantined: no power, see lab-health/1",
                true,
            ),
            (
                json!({"event": "device-held", "name": "b", "hold": {"by": "ana", "reason": "r"}}),
                "b by ana: r",
                false,
            ),
            (json!({"schema": "x", "id": 4, "at": "t", "event": "new", "n": 1}), "n=1", false),
        ];
        for (told, wanted, wrong) in cases {
            assert_eq!((text(&told).as_str(), is_wrong(&told)), (wanted, wrong));
        }
    }
}
