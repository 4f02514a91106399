//! What a fake device does: its simulated programs, and its faults.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

/// A script, as it is written in a TOML file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Script {
    /// What it says it is.
    pub kind: String,
    /// What faults by chance depend on, besides the number of the call.
    pub seed: u64,
    /// Whether programs that are not simulated run on this host. If not, there are none.
    pub local_programs: bool,
    /// How long a reboot takes.
    #[serde(deserialize_with = "duration")]
    pub boot: Duration,
    /// Programs that are simulated, by name.
    pub program: BTreeMap<String, Program>,
    /// What goes wrong. The first that applies to a call happens.
    pub fault: Vec<Fault>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            kind: "fake".to_owned(),
            seed: 0,
            local_programs: true,
            boot: Duration::ZERO,
            program: BTreeMap::new(),
            fault: Vec::new(),
        }
    }
}

/// A program that is not run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Program {
    /// What it prints.
    pub stdout: String,
    /// What it prints on standard error.
    pub stderr: String,
    /// Its exit code.
    pub exit: i32,
    /// How long it takes.
    #[serde(deserialize_with = "duration")]
    pub takes: Duration,
}

/// Something that goes wrong.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// In which calls.
    #[serde(default)]
    pub on: Operation,
    /// What happens.
    #[serde(rename = "do")]
    pub what: What,
    /// How long `slow` takes.
    #[serde(default, deserialize_with = "duration")]
    pub takes: Duration,
    /// In each so-manieth of these calls only.
    #[serde(default = "one")]
    pub every: u64,
    /// Only after so many of these calls.
    #[serde(default)]
    pub after: u64,
    /// At most so many times.
    #[serde(default = "always")]
    pub times: u64,
    /// In so many calls of a hundred, by the seed.
    #[serde(default = "hundred")]
    pub chance: u32,
}

impl Fault {
    /// One that always happens.
    pub fn new(on: Operation, what: What) -> Self {
        Self { on, what, takes: Duration::ZERO, every: 1, after: 0, times: u64::MAX, chance: 100 }
    }

    /// Whether it happens in the call of this number, the first being 1.
    pub(super) fn applies(&self, call: u64, happened: u64, seed: u64) -> bool {
        call > self.after
            && happened < self.times
            && (call - self.after).is_multiple_of(self.every.max(1))
            && u64::from(self.chance) > mixed(seed ^ call.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % 100
    }
}

/// What a device is asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// All of these.
    #[default]
    Any,
    /// To answer at all.
    Probe,
    /// To run a program.
    Exec,
    /// To take a file.
    Push,
    /// To give one.
    Pull,
    /// All else about files.
    Files,
    /// To tell about itself or its processes.
    Info,
    /// To reboot.
    Reboot,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It takes longer.
    Slow,
    /// It never answers.
    Hang,
    /// The connection ends in the middle.
    Disconnect,
    /// It dies in the middle, and cannot be reached until it is rebooted.
    Die,
    /// It cannot be reached.
    Unreachable,
    /// It answers what makes no sense.
    Garbage,
    /// Bytes arrive that are not those that were sent, and nobody says so.
    Corrupt,
    /// No room is left.
    Full,
    /// It says no.
    Refuse,
}

impl What {
    const ALL: [(&'static str, Self); 9] = [
        ("slow", Self::Slow),
        ("hang", Self::Hang),
        ("disconnect", Self::Disconnect),
        ("die", Self::Die),
        ("unreachable", Self::Unreachable),
        ("garbage", Self::Garbage),
        ("corrupt", Self::Corrupt),
        ("full", Self::Full),
        ("refuse", Self::Refuse),
    ];

    pub(super) fn read(word: &str) -> Result<Self, String> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, what)| *what).ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|(known, _)| *known).collect();
            format!("there is no fault `{word}`; there are {}", words.join(", "))
        })
    }

    pub(super) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, what)| *what == self).map_or("", |(word, _)| word)
    }
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// It cannot be read, or makes no sense.
    pub fn load(file: &Path) -> io::Result<Self> {
        let wrong = |kind, why: String| io::Error::new(kind, format!("script `{}`: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|e| wrong(e.kind(), e.to_string()))?;
        toml::from_str(&text).map_err(|e| wrong(io::ErrorKind::InvalidData, e.to_string()))
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let read = text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok());
    read.ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no duration; write e.g. \"1.5s\"")))
}

fn one() -> u64 {
    1
}

fn always() -> u64 {
    u64::MAX
}

fn hundred() -> u32 {
    100
}

/// Neighbouring numbers give numbers that have nothing to do with each other (splitmix64).
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_happen_when_they_are_told_to() {
        let calls = |fault: &str| {
            let script: Script = toml::from_str(&format!("[[fault]]\ndo = \"hang\"\n{fault}")).unwrap();
            let (mut happened, mut calls) = (0, Vec::new());
            for call in 1..=10 {
                if script.fault[0].applies(call, happened, 7) {
                    happened += 1;
                    calls.push(call);
                }
            }
            calls
        };
        assert_eq!(calls(""), (1..=10).collect::<Vec<_>>());
        assert_eq!(calls("every = 3"), [3, 6, 9]);
        assert_eq!(calls("after = 8"), [9, 10]);
        assert_eq!(calls("times = 2"), [1, 2]);
        let some = calls("chance = 50");
        assert!(!some.is_empty() && some.len() < 10 && some == calls("chance = 50"), "{some:?}");
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let wrong = |text: &str| toml::from_str::<Script>(text).unwrap_err().to_string();
        assert!(wrong("[[fault]]\ndo = \"explode\"").contains("explode"));
        assert!(wrong("sede = 1").contains("sede"));
        assert!(wrong("boot = \"soon\"").contains("no duration"));
    }
}
