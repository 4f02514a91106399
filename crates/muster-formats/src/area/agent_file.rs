//! `agent.toml`: the devices of a host, and how its agent is set up. Flags of `muster agent` win over it.
//!
//! Read by the same machinery as `muster.toml`, so its errors are of the same form.

use super::decode::{self, section};
use super::error::{Complaints, ConfigError};
use super::file::{List, Positive, PositiveNumber};
use super::layers::parse_text;
use super::scalar::{Scalar, Size, Span};
use super::source::{At, Sources};
use muster_core::exchange::{DeviceOffer, Labels};
use std::time::Duration;

/// How an agent is set up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentFile {
    /// The server's address.
    pub server: Option<String>,
    /// Its directory.
    pub state: Option<String>,
    /// Slots of the host.
    pub slots: Option<u32>,
    /// Labels of all its devices.
    pub labels: Labels,
    /// Its devices; a device's address is its label `address`.
    pub devices: Vec<DeviceOffer>,
    /// When the host takes no new work.
    pub self_check: SelfCheckLimits,
}

/// What an agent looks at before it takes new work. `None`: as the agent thinks best.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SelfCheckLimits {
    /// Least free bytes in the agent's directory.
    pub disk_free_bytes_min: Option<u64>,
    /// Highest load average per core.
    pub load_max: Option<f64>,
    /// How far its clock may be from the server's.
    pub clock_max: Option<Duration>,
}

section! {
    /// How an agent is set up.
    File {
        /// The server's address.
        "server" server: String,
        /// Where it keeps what it fetches, and its identity.
        "state" state: String,
        /// Slots of this host: as many tests run at once; by default one a core, none where devices are named.
        "slots" slots: Positive,
        /// Labels of all its devices.
        "labels" labels: decode::Table<Scalar>,
        /// Its devices.
        "device" device: List<DeviceKeys>,
        /// When the host takes no new work.
        "self-check" self_check: SelfCheckKeys,
    }
}

section! {
    /// A device.
    DeviceKeys {
        /// Its name, unique on this host.
        "name" name: String,
        /// Where its driver finds it.
        "address" address: String,
        /// What selectors look at.
        "labels" labels: decode::Table<Scalar>,
    }
}

section! {
    /// When the host takes no new work.
    SelfCheckKeys {
        /// Least free space in the agent's directory (default 256MiB).
        "disk-free" disk_free: Size,
        /// Highest load average per core (default 20).
        "load" load: PositiveNumber,
        /// How far the clock may be from the server's (default 1m).
        "clock" clock: Span,
    }
}

/// Reads one.
///
/// # Errors
/// All that could be found wrong, in the order of the text; at least one.
pub fn load(name: &str, text: &str) -> Result<AgentFile, Vec<ConfigError>> {
    let (mut sources, mut complaints) = (Sources::default(), Complaints::default());
    let file = parse_text(&mut sources, name, text, &mut complaints, |node, cx| {
        <File as decode::Decode>::decode(node, cx)
    });
    let File { server, state, slots, labels, device, self_check } = file.unwrap_or_default();
    let mut devices: Vec<DeviceOffer> = Vec::new();
    for keys in device.map(|d| d.value).unwrap_or_default() {
        if let Some(offer) = offer(&mut complaints, keys, &devices) {
            devices.push(offer);
        }
    }
    if let (Some(slots), false) = (&slots, devices.is_empty()) {
        complaints
            .error(slots.pos, "a host has slots or devices")
            .hint("leave `slots` out, or every `[[device]]`");
    }
    let labels = read_labels(&mut complaints, labels);
    let limits = self_check.map(|s| s.value).unwrap_or_default();
    let read = AgentFile {
        server: server.map(|s| s.value),
        state: state.map(|s| s.value),
        slots: slots.map(|s| s.value.0),
        labels,
        devices,
        self_check: SelfCheckLimits {
            disk_free_bytes_min: limits.disk_free.map(|d| d.value.0),
            load_max: limits.load.map(|l| l.value.0),
            clock_max: limits.clock.map(|c| c.value.0),
        },
    };
    let failed = complaints.has_errors();
    let (errors, _) = complaints.finish(&sources);
    if failed { Err(errors) } else { Ok(read) }
}

fn offer(complaints: &mut Complaints, keys: At<DeviceKeys>, others: &[DeviceOffer]) -> Option<DeviceOffer> {
    let pos = keys.pos;
    let DeviceKeys { name, address, labels } = keys.value;
    let mut labels = read_labels(complaints, labels);
    let Some(name) = name else {
        complaints.error(pos, "a device needs a name").hint("for instance `name = \"board-1\"`");
        return None;
    };
    if let Err(why) = device_name(&name.value) {
        complaints.error(name.pos, why);
        return None;
    }
    if others.iter().any(|o| o.name == name.value) {
        complaints.error(name.pos, format!("two devices are called `{}`", name.value));
        return None;
    }
    if let Some(address) = address {
        labels.insert("address".to_owned(), address.value);
    }
    Some(DeviceOffer { name: name.value, labels })
}

fn read_labels(complaints: &mut Complaints, table: Option<At<decode::Table<Scalar>>>) -> Labels {
    let mut labels = Labels::new();
    for (key, value) in table.map(|t| t.value.0).unwrap_or_default() {
        match label(&key.value, &value.value.0) {
            Ok(()) => drop(labels.insert(key.value, value.value.0)),
            Err(why) => drop(complaints.error(key.pos, why)),
        }
    }
    labels
}

/// Whether a device can have this name.
///
/// # Errors
/// Why not.
pub fn device_name(name: &str) -> Result<(), String> {
    // Limit: names are printed in tables and are parts of file names.
    if name.is_empty() || name.len() > 100 || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!(
            "`{}` cannot be the name of a device: that has 1 to 100 characters and no blanks",
            decode::printable(name)
        ));
    }
    Ok(())
}

/// Whether this can be a label.
///
/// # Errors
/// Why not.
pub fn label(key: &str, value: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if key.is_empty() || key.len() > 100 || !key.chars().all(good) {
        return Err(format!(
            "`{}` cannot be the key of a label: that has letters, digits and `_`",
            decode::printable(key)
        ));
    }
    if value.len() > 1_000 || value.contains(char::is_control) {
        return Err(format!(
            "the value of label `{key}` is too long, or has characters that cannot be printed"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn an_agent_s_file_has_its_devices_and_what_it_minds() {
        let text = r#"
            server = "http://127.0.0.1:7117"
            labels = { room = "east", shelf = 3 }

            [self-check]
            disk-free = "1GiB"
            load = 8
            clock = "10s"

            [[device]]
            name = "board-1"
            address = "sut://10.0.0.7"
            labels = { kind = "board" }

            [[device]]
            name = "board-2"
        "#;
        let file = load("agent.toml", text).unwrap();
        assert_eq!(file.labels["shelf"], "3");
        assert_eq!(file.devices[0].labels["address"], "sut://10.0.0.7");
        assert_eq!(file.devices[1], DeviceOffer::named("board-2"));
        assert_eq!(file.self_check.disk_free_bytes_min, Some(1 << 30));
        assert_eq!(file.self_check.clock_max, Some(Duration::from_secs(10)));
    }

    #[test]
    fn what_is_wrong_with_it_is_told_with_its_place() {
        let text = "slots = 2\nsever = 'x'\n[[device]]\nname = 'a b'\n[[device]]\nname = 'c'\nlabels = { 'k-d' = 'x' }\n[[device]]\nname = 'c'\n";
        let errors = load("agent.toml", text).unwrap_err();
        let told: String = errors.iter().map(|e| format!("{e}\n")).collect();
        expect![[r#"
            error: a host has slots or devices
             --> agent.toml:1:9
            1 | slots = 2
              |         ^
            hint: leave `slots` out, or every `[[device]]`
            error: unknown key `sever` at the top level
             --> agent.toml:2:1
            2 | sever = 'x'
              | ^^^^^
            hint: did you mean `server`?
            error: `a b` cannot be the name of a device: that has 1 to 100 characters and no blanks
             --> agent.toml:4:8
            4 | name = 'a b'
              |        ^^^^^
            error: `k-d` cannot be the key of a label: that has letters, digits and `_`
             --> agent.toml:7:12
            7 | labels = { 'k-d' = 'x' }
              |            ^^^^^
            error: two devices are called `c`
             --> agent.toml:9:8
            9 | name = 'c'
              |        ^^^
        "#]]
        .assert_eq(&told);
    }
}
