//! `muster device kill`: sends a signal to processes of a device.

use super::{Call, OnArgs, SHORT};
use crate::context::Context;
use crate::error::Complaint;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_device::DeviceError;

/// Arguments of `muster device kill`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "A name means every process of exactly that name. Exit code 1 if there is none.")]
pub(crate) struct KillArgs {
    #[command(flatten)]
    on: OnArgs,
    /// The signal, by number or name
    #[arg(short, long, value_name = "SIGNAL", default_value = "TERM", value_parser = signal)]
    signal: i32,
    /// A process's number or name; may be given several times
    #[arg(value_name = "PROCESS", required = true)]
    processes: Vec<String>,
}

const SIGNALS: [(&str, i32); 12] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("TERM", 15),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
];

fn signal(text: &str) -> Result<i32, String> {
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let known = SIGNALS.iter().find(|(n, _)| *n == name).map(|(_, n)| *n);
    known.or_else(|| text.parse().ok().filter(|n| (0..=64).contains(n))).ok_or_else(|| {
        let names: Vec<&str> = SIGNALS.iter().map(|(n, _)| *n).collect();
        format!("a signal is a number up to 64 or one of {}", names.join(", "))
    })
}

/// Signals.
pub(super) fn run(args: &KillArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, SHORT)?;
    let found = (|| -> Result<Vec<(String, Vec<u32>)>, DeviceError> {
        let processes = call.device.processes()?;
        let by_name = args.processes.iter().any(|p| p.parse::<u32>().is_err());
        let all = if by_name { processes.list(&call.until)? } else { Vec::new() };
        let pids = |word: &String| match word.parse() {
            Ok(pid) => vec![pid],
            Err(_) => all.iter().filter(|p| p.name == *word).map(|p| p.pid).collect(),
        };
        let found: Vec<_> = args.processes.iter().map(|word| (word.clone(), pids(word))).collect();
        for pid in found.iter().flat_map(|(_, pids)| pids) {
            processes.signal(*pid, args.signal, &call.until)?;
        }
        Ok(found)
    })();
    let found = found.map_err(|e| call.told(e, context))?;
    let sent: Vec<u32> = found.iter().flat_map(|(_, pids)| pids.clone()).collect();
    call.print(&sent, context, |_| Ok(()))?;
    match found.iter().find(|(_, pids)| pids.is_empty()) {
        None => Ok(ExitCode::Passed),
        Some((name, _)) => {
            let text = format!("there is no process `{name}` on device `{}`", call.device.address());
            Err(Complaint::new(ExitCode::Failed, text).hint("`muster device ps` lists them").into())
        }
    }
}
