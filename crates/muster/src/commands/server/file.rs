//! `server.toml`, the settings of a server, in its data directory.

use crate::commands::typed::{bytes, long_duration};
use crate::error::Complaint;
use muster_core::lab::{DeviceSelector, Pool, Pools};
use muster_server::{Hot, PoolUsers, Retention};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Its name.
pub(super) const NAME: &str = "server.toml";

/// How long an agent's certificate lasts, unless it is said.
const AGENT_CERTIFICATE: Duration = Duration::from_secs(30 * 86_400);
/// Shorter ones could not be renewed in time.
const AGENT_CERTIFICATE_MIN: Duration = Duration::from_secs(10);

/// What it says.
#[derive(Clone, Debug)]
pub(super) struct ServerFile {
    /// Names and addresses by which the server is asked.
    pub(super) hosts: Vec<String>,
    /// How long an agent's certificate lasts.
    pub(super) agent_certificate: Duration,
    /// How long runs are kept, where it is said.
    pub(super) retention: Option<Retention>,
    /// What is kept out of the cold tier.
    pub(super) hot: Hot,
    /// Pools, in the order they are asked, and who may use each.
    pub(super) pools: Vec<(Pool, PoolUsers)>,
    /// How many tokens (licences) the lab has, by name.
    pub(super) tokens: BTreeMap<String, u32>,
}

/// As it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Written {
    hosts: Vec<String>,
    agent_certificate: Option<String>,
    retention: Option<WrittenRetention>,
    records: Option<WrittenRecords>,
    pool: toml::Table,
    tokens: BTreeMap<String, u32>,
}

/// How long runs are kept, as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct WrittenRetention {
    older_than: Option<String>,
    failed_older_than: Option<String>,
    space: Option<String>,
    keep: Option<u32>,
    keep_named: Vec<String>,
    keep_records: bool,
}

/// What is kept out of the cold tier, as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct WrittenRecords {
    hot_runs: Option<u32>,
    hot_for: Option<String>,
}

/// A pool, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenPool {
    devices: String,
    users: Option<Vec<String>>,
}

/// All its keys.
const KEYS: [&str; 16] = [
    "hosts",
    "agent-certificate",
    "pool",
    "devices",
    "users",
    "retention",
    "older-than",
    "failed-older-than",
    "space",
    "keep",
    "keep-named",
    "keep-records",
    "records",
    "hot-runs",
    "hot-for",
    "tokens",
];

/// Reads it; where there is none, everything is as it is without.
///
/// # Errors
/// It cannot be read or understood.
pub(super) fn load(data_dir: &Path) -> Result<ServerFile, anyhow::Error> {
    let path = data_dir.join(NAME);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => {
            return Err(Complaint::usage(format!("cannot read `{}`", path.display())).because(e).into());
        }
    };
    read(&text).map_err(|(why, hint)| {
        let complaint = Complaint::usage(format!("`{}` is not understood: {why}", path.display()));
        complaint.hint(hint.unwrap_or_else(|| format!("its keys are {}", KEYS.join(", ")))).into()
    })
}

fn read(text: &str) -> Result<ServerFile, (String, Option<String>)> {
    let Written { hosts, agent_certificate, retention, records, pool, tokens } = toml::from_str(text)
        .map_err(|e| {
            let said = e.to_string();
            (said.trim_end().to_owned(), nearest(&said))
        })?;
    for host in &hosts {
        if !is_host(host) {
            return Err((format!("`{}` in `hosts` is no name and no address", host.escape_default()), None));
        }
    }
    let agent_certificate = match agent_certificate {
        None => AGENT_CERTIFICATE,
        Some(text) => long_duration(&text).map_err(|e| (format!("`agent-certificate`: {e}"), None))?,
    };
    if agent_certificate < AGENT_CERTIFICATE_MIN {
        return Err(("`agent-certificate` is at least 10s".to_owned(), None));
    }
    let pools = pool.into_iter().map(|(name, written)| read_pool(name, written)).collect::<Result<_, _>>()?;
    let retention = retention.map(read_retention).transpose()?;
    let hot = read_records(records.unwrap_or_default())?;
    if let Some((name, _)) = tokens.iter().find(|(_, n)| **n == 0) {
        let why = format!(
            "there are no tokens `{}`: no test that takes one could ever start",
            name.escape_default()
        );
        return Err((
            why,
            Some("leave it out, or say how many there are: `[tokens]`, `matlab = 4`".to_owned()),
        ));
    }
    Ok(ServerFile { hosts, agent_certificate, retention, hot, pools, tokens })
}

fn read_retention(written: WrittenRetention) -> Result<Retention, (String, Option<String>)> {
    let WrittenRetention { older_than, failed_older_than, space, keep, keep_named, keep_records } = written;
    let long = |key: &str, text: Option<String>| {
        text.map(|t| long_duration(&t).map_err(|e| (format!("`{key}`: {e}"), None))).transpose()
    };
    let retention = Retention {
        older_than: long("older-than", older_than)?,
        failed_older_than: long("failed-older-than", failed_older_than)?,
        space: space.map(|t| bytes(&t).map_err(|e| (format!("`space`: {e}"), None))).transpose()?,
        keep: keep.unwrap_or(1),
        keep_named,
        keep_records,
    };
    if retention.older_than.is_none() && retention.failed_older_than.is_none() && retention.space.is_none() {
        let why = "`[retention]` says neither `older-than` nor `failed-older-than` nor `space`";
        return Err((why.to_owned(), None));
    }
    Ok(retention)
}

fn read_records(written: WrittenRecords) -> Result<Hot, (String, Option<String>)> {
    let WrittenRecords { hot_runs, hot_for } = written;
    let age =
        hot_for.map(|t| long_duration(&t).map_err(|e| (format!("`hot-for`: {e}"), None))).transpose()?;
    Ok(Hot { runs: hot_runs.unwrap_or(Hot::default().runs), age })
}

fn read_pool(name: String, written: toml::Value) -> Result<(Pool, PoolUsers), (String, Option<String>)> {
    let said = |what: String| format!("pool `{}`: {what}", name.escape_default());
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(good) || name == Pools::REST {
        let why = "the name of a pool has letters, digits, `-`, `_` and `.`, and is not `default`";
        return Err((said(why.to_owned()), None));
    }
    let WrittenPool { devices, users } = written.try_into().map_err(|e: toml::de::Error| {
        let text = e.to_string();
        (said(text.trim_end().to_owned()), nearest(&text))
    })?;
    let devices = DeviceSelector::parse(&devices)
        .map_err(|e| (said(e.to_string()), Some("for instance `labels.kind == \"phone\"`".to_owned())))?;
    Ok((Pool { name, devices }, users.map_or(PoolUsers::All, PoolUsers::Named)))
}

/// The key that may have been meant.
fn nearest(said: &str) -> Option<String> {
    let wrong = said.split("unknown field `").nth(1)?.split('`').next()?;
    let scored = KEYS.map(|k| (strsim::jaro_winkler(wrong, k), k));
    let (score, best) = scored.into_iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 0.8).then(|| format!("did you mean `{best}`?"))
}

/// Whether a certificate can be for this.
pub(super) fn is_host(host: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.parse::<IpAddr>().is_ok() || (host.len() <= 253 && host.split('.').all(label))
}

/// Where a server with these names is asked.
pub(super) fn url(hosts: &[String], address: SocketAddr) -> String {
    let ip = address.ip().to_string();
    // What it listens at, if that is in its certificate, else its first name.
    let host = hosts.iter().find(|h| **h == ip).or(hosts.first()).map_or(ip.as_str(), String::as_str);
    if host.contains(':') {
        format!("https://[{host}]:{}", address.port())
    } else {
        format!("https://{host}:{}", address.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_as_usual_and_what_is_wrong_is_told() {
        let file = read("").unwrap();
        assert_eq!((file.hosts.len(), file.agent_certificate), (0, AGENT_CERTIFICATE));
        assert_eq!(file.hot, Hot { runs: 1_000, age: None });
        let file = read("[records]\nhot-runs = 5\nhot-for = '30d'\n").unwrap();
        assert_eq!(file.hot, Hot { runs: 5, age: Some(Duration::from_secs(30 * 86_400)) });
        let file = read("hosts = ['lab.example', '::1']\nagent-certificate = '7d'\n").unwrap();
        assert_eq!(file.agent_certificate, Duration::from_secs(7 * 86_400));
        let (why, hint) = read("host = ['x']\n").unwrap_err();
        assert!(why.contains("unknown field `host`"), "{why}");
        assert_eq!(hint.as_deref(), Some("did you mean `hosts`?"));
        assert_eq!(
            read("[tokens]\nmatlab = 4\n").unwrap().tokens,
            BTreeMap::from([("matlab".to_owned(), 4)])
        );
        assert!(read("[tokens]\nmatlab = 0\n").unwrap_err().0.contains("no tokens `matlab`"));
        let two = "[pool.release]\ndevices = \"labels.kind == 'r'\"\nusers = ['rel-*']\n[pool.all]\ndevices = 'true'\n";
        let pools = read(two).unwrap().pools;
        let names: Vec<_> = pools.iter().map(|(pool, users)| (pool.name.as_str(), users.clone())).collect();
        let named = PoolUsers::Named(vec!["rel-*".to_owned()]);
        assert_eq!(names, [("release", named), ("all", PoolUsers::All)], "in the order of the file");
        let (why, hint) = read("[pool.x]\ndevices = 'true'\nuser = ['a']\n").unwrap_err();
        assert!(
            why.contains("pool `x`") && hint.as_deref() == Some("did you mean `users`?"),
            "{why} {hint:?}"
        );
        for bad in ["[pool.x]", "[pool.default]\ndevices = 'true'", "[pool.x]\ndevices = 'label.kind == 1'"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for bad in [
            "[records]\nhot-for = 'soon'",
            "hosts = ['a b']",
            "hosts = ['']",
            "agent-certificate = '1s'",
            "agent-certificate = 'soon'",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_is_asked_by_a_name_of_its_certificate() {
        let hosts = ["lab.example".to_owned(), "127.0.0.1".to_owned()];
        assert_eq!(url(&hosts, "127.0.0.1:1".parse().unwrap()), "https://127.0.0.1:1");
        assert_eq!(url(&hosts, "0.0.0.0:1".parse().unwrap()), "https://lab.example:1");
        assert_eq!(url(&[], "[::1]:1".parse().unwrap()), "https://[::1]:1");
    }
}
