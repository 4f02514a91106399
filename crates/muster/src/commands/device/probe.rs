//! `muster device probe`: what there is on this host that could be a device of a lab, and how to add it.
//!
//! It looks and asks; it changes nothing. Each find is a proposal with the command that takes it up.

use crate::context::{Context, OutputMode};
use crate::terminal::style::DIM;
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text::quoted;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_device::{DeviceAddress, DeviceError, Until};
use serde::Serialize;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Arguments of `muster device probe`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
It looks for phones (`adb devices`, where adb is installed), for USB devices and serial ports of this host, and
asks the SUT agents that are named. What has a driver is proposed with the command that adds it.

  muster device probe
  muster device probe --sut 10.0.0.7 --sut 10.0.0.8:20701")]
pub(crate) struct ProbeArgs {
    /// Ask the SUT agent of this host; may be given several times
    #[arg(long, value_name = "HOST[:PORT]")]
    sut: Vec<String>,
    /// Where the system's devices are
    #[arg(long, value_name = "DIR", default_value = "/sys/bus/usb/devices", hide = true)]
    usb: PathBuf,
    /// Where serial ports are by name
    #[arg(long, value_name = "DIR", default_value = "/dev/serial/by-id", hide = true)]
    serial: PathBuf,
}

/// Something that could be a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Find {
    /// How it was found.
    by: &'static str,
    name: String,
    /// What it says of itself.
    what: String,
    /// Where a driver reaches it; `None` where no driver does.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<(String, String)>,
}

/// How long one agent may take to answer.
const ASK_MAX: Duration = Duration::from_secs(10);

/// Looks round.
pub(super) fn run(args: &ProbeArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let ProbeArgs { sut, usb, serial } = args;
    let mut found = Vec::new();
    let mut silent = Vec::new();
    for host in sut {
        match ask_sut(host) {
            Ok(find) => found.push(find),
            Err(why) => silent.push(why),
        }
    }
    found.extend(phones());
    found.extend(usb_devices(usb));
    found.extend(serial_ports(serial));
    let mut out = context.stdout();
    if context.output == OutputMode::Json {
        serde_json::to_writer(&mut out, &found)?;
        writeln!(out)?;
    } else if found.is_empty() {
        writeln!(out, "nothing was found that could be a device")?;
    } else {
        let mut table =
            Table::new(&[("found by", Column::Left), ("name", Column::Left), ("what it is", Column::Cut)]);
        for find in &found {
            table.row(vec![Cell::new(find.by, DIM), find.name.as_str().into(), find.what.as_str().into()]);
        }
        for line in table.lines(context.stdout_width()) {
            writeln!(out, "{line}")?;
        }
        for command in found.iter().filter_map(|find| command(find, context)) {
            writeln!(out, "\n    add {command}")?;
        }
    }
    for why in &silent {
        writeln!(context.stderr(), "{why}")?;
    }
    Ok(if silent.is_empty() { ExitCode::Passed } else { ExitCode::Lab })
}

/// The command that adds a find.
fn command(find: &Find, context: &Context) -> Option<String> {
    let address = find.address.as_deref()?;
    let labels: String =
        find.labels.iter().map(|(k, v)| format!(" --label {}", quoted(&format!("{k}={v}")))).collect();
    let (name, address) = (quoted(&find.name), quoted(address));
    Some(format!("{} device add {name} --address {address}{labels}", context.program()))
}

fn ask_sut(host: &str) -> Result<Find, String> {
    let address = format!("sut://{host}");
    let parsed: DeviceAddress = address.parse().map_err(|e| format!("`{host}` cannot be asked: {e}"))?;
    let until = Until::within(ASK_MAX);
    let device = parsed.open().map_err(|e| format!("`{host}` cannot be asked: {e}"))?;
    let ask = || {
        let info = device.info()?;
        let name = info.one("id", &until)?;
        let os = info.one("os", &until).unwrap_or_default();
        Ok::<_, DeviceError>((name, os))
    };
    let (name, os) = ask().map_err(|e| format!("the agent of `{host}` does not answer: {e}"))?;
    let labels = if os.trim().is_empty() { Vec::new() } else { vec![("os".to_owned(), word(&os))] };
    let what = format!("a SUT agent, {}", os.lines().next().unwrap_or_default());
    Ok(Find { by: "sut", name: word(&name), what, address: Some(address), labels })
}

/// Phones that the adb server of this host has.
fn phones() -> Vec<Find> {
    let mut adb = Command::new("adb");
    let listed = adb.args(["devices", "-l"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = listed.map(|l| String::from_utf8_lossy(&l.stdout).into_owned()).unwrap_or_default();
    of_adb(&text)
}

fn of_adb(text: &str) -> Vec<Find> {
    let lines = text.lines().skip_while(|l| !l.starts_with("List of devices")).skip(1);
    let mut found = Vec::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let (Some(serial), Some(state)) = (words.next(), words.next()) else { continue };
        let of = |key: &str| {
            let mut words = line.split_whitespace();
            words.find_map(|w| w.strip_prefix(key)).map(str::to_owned)
        };
        let model = of("model:").unwrap_or_else(|| "a phone".to_owned());
        let is_usable = state == "device";
        found.push(Find {
            by: "adb",
            name: word(serial),
            what: if is_usable { model.clone() } else { format!("{model}, {state}") },
            address: is_usable.then(|| format!("adb:{serial}")),
            labels: vec![("kind".to_owned(), "android".to_owned()), ("model".to_owned(), word(&model))],
        });
    }
    found
}

/// USB devices that have a serial number: those that can be told apart.
fn usb_devices(dir: &Path) -> Vec<Find> {
    let mut found = Vec::new();
    for entry in sorted(dir) {
        let read = |name: &str| fs::read_to_string(entry.join(name)).ok().map(|t| t.trim().to_owned());
        let (Some(vendor), Some(product), Some(serial)) =
            (read("idVendor"), read("idProduct"), read("serial"))
        else {
            continue;
        };
        // Hubs and the host's own ports are no devices of a lab.
        if read("bDeviceClass").is_some_and(|class| class == "09") {
            continue;
        }
        let names = [read("manufacturer"), read("product")];
        let what: Vec<String> = names.into_iter().flatten().filter(|n| !n.is_empty()).collect();
        found.push(Find {
            by: "usb",
            name: word(&serial),
            what: format!("{vendor}:{product} {}", what.join(" ")).trim_end().to_owned(),
            address: None,
            labels: vec![("usb".to_owned(), format!("{vendor}:{product}"))],
        });
    }
    found
}

/// Serial ports, by the names that stay.
fn serial_ports(dir: &Path) -> Vec<Find> {
    let port = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        let what = fs::canonicalize(&path).unwrap_or(path.clone()).display().to_string();
        let labels = vec![("console".to_owned(), path.display().to_string())];
        Some(Find { by: "serial", name: word(&name), what, address: None, labels })
    };
    sorted(dir).into_iter().filter_map(port).collect()
}

fn sorted(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())).collect();
    all.sort();
    all
}

/// What a device says of itself, as a word that can be a name or a label.
fn word(text: &str) -> String {
    let harmless = |c: char| if c.is_whitespace() || c.is_control() { '-' } else { c };
    text.trim().chars().map(harmless).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_adb_lists_is_told_and_what_it_cannot_use_has_no_address() {
        let text = "* daemon started successfully\nList of devices attached\n\
                    R58M12345 device usb:1-1 product:a52 model:SM_A525F device:a52 transport_id:1\n\
                    emulator-5554 offline transport_id:2\n\n";
        let found = of_adb(text);
        assert_eq!((found[0].name.as_str(), found[0].what.as_str()), ("R58M12345", "SM_A525F"));
        assert_eq!(found[0].address.as_deref(), Some("adb:R58M12345"));
        assert_eq!((found[1].address.as_deref(), found[1].what.as_str()), (None, "a phone, offline"));
        assert_eq!(of_adb(""), []);
    }

    #[test]
    fn usb_devices_with_a_serial_number_are_found_and_hubs_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let device = |name: &str, class: &str, serial: Option<&str>| {
            let at = dir.path().join(name);
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join("idVendor"), "04e8\n").unwrap();
            fs::write(at.join("idProduct"), "6860\n").unwrap();
            fs::write(at.join("bDeviceClass"), format!("{class}\n")).unwrap();
            fs::write(at.join("product"), "Galaxy\n").unwrap();
            if let Some(serial) = serial {
                fs::write(at.join("serial"), serial).unwrap();
            }
        };
        device("1-1", "00", Some("R58 M"));
        device("1-2", "09", Some("hub"));
        device("1-3", "00", None);
        let found = usb_devices(dir.path());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].what.as_str()), ("R58-M", "04e8:6860 Galaxy"));
    }
}
