//! What is known of this host, in the words and formats of the SUT protocol's `info`.

use crate::host::processes;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The categories, in the order in which they are told.
pub(crate) const NAMES: [&str; 15] = [
    "os",
    "id",
    "systime",
    "uptime",
    "uptimemillis",
    "sutuptimemillis",
    "screen",
    "rotation",
    "memory",
    "power",
    "temperature",
    "process",
    "sutuserinfo",
    "disk",
    "arch",
];

/// What only the one who serves this host knows.
pub(crate) struct Own<'a> {
    /// The device's unique name, if it was given one.
    pub(crate) id: Option<&'a str>,
    /// Since when it is served.
    pub(crate) since: std::time::Instant,
    /// The directory that tests may write to.
    pub(crate) test_root: &'a Path,
}

/// One category; `None` if there is no such word.
pub(crate) fn one(name: &str, own: &Own<'_>) -> Option<String> {
    Some(match name {
        "os" => os(),
        "id" => own.id.map_or_else(id, str::to_owned),
        "systime" => now("%Y/%m/%d %H:%M:%S:%3f"),
        "uptime" => {
            let millis = uptime_millis();
            let seconds = millis / 1000;
            let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
            format!(
                "{days} days {hours} hours {minutes} minutes {} seconds {} ms",
                seconds % 60,
                millis % 1000
            )
        }
        "uptimemillis" => uptime_millis().to_string(),
        "sutuptimemillis" => format!("SUTagent running for {} ms", own.since.elapsed().as_millis()),
        "screen" => {
            let (x, y) = screen().unwrap_or((0, 0));
            format!("X:{x} Y:{y}")
        }
        "rotation" => "ROTATION:0".to_owned(),
        "memory" => {
            let (available, free) = memory();
            format!("PA:{available}, FREE: {free}")
        }
        "power" => power(),
        "temperature" => temperature()
            .map_or_else(|| "Temperature: unknown".to_owned(), |t| format!("Temperature: {t:.1}")),
        "process" => process_lines(),
        "sutuserinfo" => format!("User Serial:{}", rustix::process::geteuid().as_raw()),
        "disk" => {
            let mut text = String::new();
            for path in [Path::new("/"), own.test_root] {
                if let Some(line) = disk(path) {
                    text.push_str(&line);
                    text.push('\n');
                }
            }
            text.trim_end().to_owned()
        }
        "arch" => std::env::consts::ARCH.to_owned(),
        _ => return None,
    })
}

/// The time of this host, in its zone.
pub(crate) fn now(format: &str) -> String {
    jiff::Zoned::now().strftime(format).to_string()
}

fn os() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// The address of the first network card that has one, else the machine's id.
fn id() -> String {
    let mut cards: Vec<_> = fs::read_dir("/sys/class/net").into_iter().flatten().flatten().collect();
    cards.sort_by_key(std::fs::DirEntry::file_name);
    let address = cards.iter().filter_map(|card| fs::read_to_string(card.path().join("address")).ok());
    let mut address = address.map(|a| a.trim().to_owned());
    address
        .find(|a| a.len() == 17 && a != "00:00:00:00:00:00")
        .or_else(|| fs::read_to_string("/etc/machine-id").ok().map(|id| id.trim().to_owned()))
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

fn uptime_millis() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|s| s.parse::<f64>().ok()).unwrap_or(0.0);
    (seconds * 1000.0) as u64
}

/// Width and height of the frame buffer, or of a connected screen's preferred mode.
pub(crate) fn screen() -> Option<(u32, u32)> {
    let pair = |text: &str, separator| {
        let (x, y) = text.trim().split_once(separator)?;
        Some((x.parse().ok()?, y.trim_end_matches(char::is_alphabetic).parse().ok()?))
    };
    let frame_buffer = fs::read_to_string("/sys/class/graphics/fb0/virtual_size").ok();
    if let Some(size) = frame_buffer.and_then(|text| pair(&text, ',')) {
        return Some(size);
    }
    let cards = fs::read_dir("/sys/class/drm").into_iter().flatten().flatten();
    cards.filter_map(|card| fs::read_to_string(card.path().join("modes")).ok()).find_map(|modes| {
        let first = modes.lines().next()?;
        pair(first, 'x')
    })
}

/// Available and free bytes.
fn memory() -> (u64, u64) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    (field("MemAvailable"), field("MemFree"))
}

/// Bytes of memory.
pub(crate) fn memory_total() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn power() -> String {
    let supplies = || fs::read_dir("/sys/class/power_supply").into_iter().flatten().flatten();
    let field = |dir: &Path, name: &str| fs::read_to_string(dir.join(name)).ok().map(|t| t.trim().to_owned());
    let battery = supplies().map(|s| s.path()).find(|p| field(p, "type").as_deref() == Some("Battery"));
    let mains = supplies().map(|s| s.path()).any(|p| {
        field(&p, "type").as_deref() == Some("Mains") && field(&p, "online").as_deref() == Some("1")
    });
    let percent = battery.as_deref().and_then(|b| field(b, "capacity"));
    let words = battery.as_deref().and_then(|b| field(b, "capacity_level"));
    let temperature = battery.as_deref().and_then(|b| field(b, "temp")).and_then(|t| t.parse::<f64>().ok());
    format!(
        "Power status:\n\tAC power {}\n\tBattery charge {}\n\tRemaining charge:      {}%\n\tBattery Temperature:   {:.1} (c)",
        if mains || battery.is_none() { "ONLINE" } else { "OFFLINE" },
        words.unwrap_or_else(|| "FULL".to_owned()).to_uppercase(),
        percent.unwrap_or_else(|| "100".to_owned()),
        temperature.unwrap_or(0.0) / 10.0,
    )
}

fn temperature() -> Option<f64> {
    let zones = fs::read_dir("/sys/class/thermal").ok()?.flatten();
    let millis =
        zones.filter_map(|z| fs::read_to_string(z.path().join("temp")).ok()?.trim().parse::<i64>().ok());
    millis.max().map(|t| t as f64 / 1000.0)
}

/// `uid TAB pid TAB name`, a line for each process; no blanks in names, which old clients take apart there.
pub(crate) fn process_lines() -> String {
    let mut text = String::new();
    for p in processes::list().unwrap_or_default() {
        let name: String = p.name.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect();
        let name = if name.is_empty() { "?".to_owned() } else { name };
        // A string takes all that is written to it.
        let _ = writeln!(text, "{}\t{}\t{name}", p.uid.unwrap_or(0), p.pid);
    }
    text.truncate(text.trim_end().len());
    text
}

/// `PATH: T total, A available`, in bytes.
pub(crate) fn disk(path: &Path) -> Option<String> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let (total, available) = (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize);
    Some(format!("{}: {total} total, {available} available", path.display()))
}
