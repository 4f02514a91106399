//! A supply that is switched over Redfish, the standard by which management controllers of servers and PDUs are asked.
//!
//! The resource names the action that switches it and the words that this takes, so that a system, a chassis and an
//! outlet are switched alike. Such a controller answers before it has done what it was asked for, so the state is
//! waited for.
//!
//! Deliberately absent: sessions, events, and all of Redfish that is no supply.

use crate::device::Supply;
use crate::error::DeviceError;
use crate::until::Until;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{Response, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, Body};

/// The actions that switch, and what tells each how.
const ACTIONS: [(&str, &str); 3] = [
    ("#ComputerSystem.Reset", "ResetType"),
    ("#Chassis.Reset", "ResetType"),
    ("#Outlet.PowerControl", "PowerState"),
];
/// How long a controller may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// How often its state is asked for while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Where systems keep the certificates of the authorities that they trust.
const SYSTEM_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where it is switched, and as whom.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Place {
    /// The resource: `https://bmc-1/redfish/v1/Systems/1`.
    url: String,
    user: Option<String>,
    password_file: Option<PathBuf>,
    /// Certificates of those who vouch for it, or its own.
    ca_file: Option<PathBuf>,
}

impl Place {
    /// Whether it makes sense; `dir` is where its files are looked for.
    pub(crate) fn checked(mut self, dir: &Path) -> Result<Self, String> {
        let uri: Uri = self.url.parse().map_err(|e| format!("`url = \"{}\"`: {e}", self.url))?;
        let is_here = uri.host().is_some_and(|host| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        });
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if self.user.is_none() || is_here => {}
            Some("http") => {
                return Err(format!("`{}` would be sent a password in the clear: write `https:`", self.url));
            }
            _ => return Err(format!("`url = \"{}\"`: write `https://HOST/redfish/v1/…`", self.url)),
        }
        if self.user.is_some() != self.password_file.is_some() {
            return Err("`user` and `password-file` belong together".to_owned());
        }
        for file in [&mut self.password_file, &mut self.ca_file].into_iter().flatten() {
            *file = dir.join(&*file);
        }
        Ok(self)
    }

    /// The supply of the device with this address.
    pub(crate) fn supply(&self, device: &str) -> Redfish {
        Redfish { place: self.clone(), device: device.to_owned() }
    }
}

/// Such a supply.
pub(crate) struct Redfish {
    place: Place,
    device: String,
}

/// How it is switched.
struct Action {
    target: String,
    parameter: &'static str,
    /// The words it says it takes; none if it does not say.
    words: Vec<String>,
}

impl Supply for Redfish {
    fn on(&self, until: &Until) -> Result<(), DeviceError> {
        let doing = "switching it on";
        let (action, state) = self.look(doing, until)?;
        if state == "On" {
            return Ok(());
        }
        self.act(&action, &["On", "ForceOn"], doing, until)?;
        self.wait_for("On", doing, until)
    }

    fn off(&self, until: &Until) -> Result<(), DeviceError> {
        let doing = "switching it off";
        let (action, state) = self.look(doing, until)?;
        if state == "Off" {
            return Ok(());
        }
        self.act(&action, &["ForceOff", "Off"], doing, until)?;
        self.wait_for("Off", doing, until)
    }

    fn cycle(&self, until: &Until) -> Result<(), DeviceError> {
        self.off(until)?;
        // It is not left off because somebody did not want to wait.
        self.on(&until.anew(Duration::from_secs(60)))
    }

    fn is_on(&self, until: &Until) -> Result<bool, DeviceError> {
        let (_, state) = self.look("telling whether it is on", until)?;
        Ok(matches!(state.as_str(), "On" | "PoweringOn"))
    }
}

impl Redfish {
    /// How it is switched, and its state.
    fn look(&self, doing: &str, until: &Until) -> Result<(Action, String), DeviceError> {
        let resource = self.ask(&self.place.url, None, doing, until)?;
        let strange = |what: &str| self.strange(doing, what.to_owned());
        let state = resource["PowerState"].as_str().ok_or_else(|| strange("it says no `PowerState`"))?;
        let found = ACTIONS.iter().find_map(|(name, parameter)| {
            let action = &resource["Actions"][name];
            Some((
                action["target"].as_str()?,
                *parameter,
                &action[format!("{parameter}@Redfish.AllowableValues")],
            ))
        });
        let (target, parameter, words) = found.ok_or_else(|| strange("it has no action that switches it"))?;
        // A password goes nowhere else.
        if !target.starts_with('/') || target.starts_with("//") {
            return Err(strange("its action is at another place"));
        }
        let words = words.as_array().into_iter().flatten().filter_map(|w| Some(w.as_str()?.to_owned()));
        Ok((Action { target: target.to_owned(), parameter, words: words.collect() }, state.to_owned()))
    }

    fn act(&self, action: &Action, words: &[&str], doing: &str, until: &Until) -> Result<(), DeviceError> {
        let takes =
            |word: &&&str| action.words.is_empty() || action.words.iter().any(|known| known == **word);
        let word = words.iter().find(takes).ok_or_else(|| {
            self.strange(
                doing,
                format!("it takes none of {}, but {}", words.join(", "), action.words.join(", ")),
            )
        })?;
        let uri: Uri = self.place.url.parse().expect("it was checked");
        let origin = (uri.scheme_str().unwrap_or("https"), uri.authority().map_or("", |a| a.as_str()));
        let url = format!("{}://{}{}", origin.0, origin.1, action.target);
        self.ask(&url, Some(&json!({ action.parameter: word })), doing, until).map(drop)
    }

    fn wait_for(&self, wanted: &str, doing: &str, until: &Until) -> Result<(), DeviceError> {
        while self.look(doing, until)?.1 != wanted {
            until.sleep(LOOK_EVERY).map_err(|e| DeviceError::ended(&self.device, doing, e, until))?;
        }
        Ok(())
    }

    /// One question, or one order.
    fn ask(
        &self,
        url: &str,
        order: Option<&Value>,
        doing: &str,
        until: &Until,
    ) -> Result<Value, DeviceError> {
        until.check().map_err(|e| DeviceError::ended(&self.device, doing, e, until))?;
        let agent = self.agent(until)?;
        let login = self.login()?;
        let sent = match order {
            None => {
                let request = agent.get(url);
                match &login {
                    Some(login) => request.header(header::AUTHORIZATION, login).call(),
                    None => request.call(),
                }
            }
            Some(order) => {
                let request = agent.post(url).header(header::CONTENT_TYPE, "application/json");
                let request = match &login {
                    Some(login) => request.header(header::AUTHORIZATION, login),
                    None => request,
                };
                request.send(order.to_string())
            }
        };
        let unreachable = |e: ureq::Error| DeviceError::Unreachable {
            device: self.device.clone(),
            source: io::Error::other(format!("{url}: {e}")),
        };
        let mut answer: Response<Body> = sent.map_err(unreachable)?;
        let text =
            answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(unreachable)?;
        let status = answer.status();
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if !status.is_success() {
            let why = value["error"]["message"].as_str().unwrap_or_default();
            return Err(DeviceError::Refused {
                device: self.device.clone(),
                doing: doing.to_owned(),
                said: format!("{url} answers {status} {why}").trim_end().to_owned(),
            });
        }
        Ok(value)
    }

    fn strange(&self, doing: &str, what: String) -> DeviceError {
        DeviceError::Protocol { device: self.device.clone(), doing: doing.to_owned(), what }
    }

    fn agent(&self, until: &Until) -> Result<Agent, DeviceError> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_MAX.min(until.left())))
            // It is reached directly, and leads nowhere else.
            .max_redirects(0)
            .proxy(None);
        if self.place.url.starts_with("https:") {
            config = config.tls_config(self.trust()?);
        }
        Ok(config.build().new_agent())
    }

    fn trust(&self) -> Result<TlsConfig, DeviceError> {
        let path = self.place.ca_file.clone().unwrap_or_else(|| SYSTEM_CA_FILE.into());
        let here =
            |source| DeviceError::Here { doing: "read the certificates in", path: path.clone(), source };
        let pem = std::fs::read(&path).map_err(here)?;
        let mut roots = Vec::new();
        for item in parse_pem(&pem) {
            if let PemItem::Certificate(certificate) = item.map_err(|e| here(io::Error::other(e)))? {
                roots.push(certificate);
            }
        }
        Ok(TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            // Named here, so that it does not depend on what else is linked.
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::new_with_certs(&roots))
            .build())
    }

    /// What is sent to be let in; the file is read each time, since passwords are changed.
    fn login(&self) -> Result<Option<String>, DeviceError> {
        let (Some(user), Some(path)) = (&self.place.user, &self.place.password_file) else { return Ok(None) };
        let password = std::fs::read_to_string(path).map_err(|source| DeviceError::Here {
            doing: "read the password in",
            path: path.clone(),
            source,
        })?;
        Ok(Some(format!(
            "Basic {}",
            STANDARD.encode(format!("{user}:{}", password.trim_end_matches(['\r', '\n'])))
        )))
    }
}
