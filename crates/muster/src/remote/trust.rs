//! By what this program knows a server, and by what the server knows it: token files of people, identities of
//! agents.

use crate::context::Context;
use crate::error::Complaint;
use muster_api::access::{Certificate, CertificateRequest};
use muster_api::trust::{Identity, Proof, Trust, new_key, public_key};
use muster_api::{Client, ClientError};
use muster_core::id::AgentId;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where an agent keeps its key, its certificate and that of its lab's authority, in its state directory.
const KEY: &str = "identity.key";
const CERTIFICATE: &str = "identity.pem";
const CA: &str = "lab-ca.pem";
/// How long an agent waits before it asks for a certificate again, at most.
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// What a person is known by at this server: the token file and the authority that were named for it.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn of_person(server: &str, context: &Context) -> Result<Trust, anyhow::Error> {
    let own = context.settings.servers.get(server.trim_end_matches('/'));
    let token = context.token_file.clone().or_else(|| own.and_then(|o| o.token_file.clone()));
    let ca = context.ca_file.clone().or_else(|| own.and_then(|o| o.ca_file.clone()));
    let mut trust = match token {
        Some(path) => token_file(&context.dir.join(path), context)?,
        None => Trust::default(),
    };
    if let Some(path) = ca {
        trust.ca = Some(read(&context.dir.join(path))?);
    }
    if server.starts_with("https://") && trust.ca.is_none() {
        return Err(Complaint::usage(format!("nothing says by what `{server}` is to be known"))
            .hint("name the token file that an admin of the lab has given you: `--token-file FILE` or MUSTER_TOKEN_FILE")
            .into());
    }
    Ok(trust)
}

/// A token file.
fn token_file(path: &Path, context: &Context) -> Result<Trust, anyhow::Error> {
    let text = read(path)?;
    let mode = fs::metadata(path).map(|m| m.permissions().mode()).unwrap_or_default();
    if mode & 0o077 != 0 {
        // Whoever started it may have gone away.
        drop(writeln!(
            context.stderr(),
            "warning: others may read the token in `{0}`: `chmod 600 {0}`",
            path.display()
        ));
    }
    Trust::of_token_file(&text).map_err(|why| {
        Complaint::usage(format!("`{}` is no token file: {why}", path.display()))
            .hint("an admin of the lab makes one with `muster server user token NAME`")
            .into()
    })
}

fn read(path: &Path) -> Result<String, anyhow::Error> {
    fs::read_to_string(path)
        .map_err(|e| Complaint::usage(format!("cannot read `{}`", path.display())).because(e).into())
}

/// An agent of a server that knows its agents.
pub(crate) struct Member {
    pub(crate) client: Client,
    own: Own,
    ca: String,
    /// How long its certificate lasts from now on, where that is known.
    lasts: Option<Duration>,
}

/// What of an agent is its own.
struct Own {
    agent: AgentId,
    host: String,
    state_dir: PathBuf,
    key: String,
}

impl Member {
    /// The client of the agent whose identity is in this directory, if there is one.
    ///
    /// # Errors
    /// The address is none.
    pub(crate) fn find(server: &str, state_dir: &Path) -> Result<Option<Client>, anyhow::Error> {
        let file = |name: &str| fs::read_to_string(state_dir.join(name)).ok();
        let (Some(key), Some(certificate), Some(ca)) = (file(KEY), file(CERTIFICATE), file(CA)) else {
            return Ok(None);
        };
        let trust = Trust { ca: Some(ca), proof: Proof::Key(Identity { key, certificate }) };
        super::client_with(server, &trust).map(Some)
    }

    /// Takes the identity in the state directory, or joins with a token.
    ///
    /// # Errors
    /// There is neither, or the server does not take it.
    pub(crate) fn enter(
        server: &str,
        agent: AgentId,
        host: String,
        state_dir: &Path,
        join: Option<&Path>,
        context: &Context,
    ) -> Result<Self, anyhow::Error> {
        let file = |name: &str| fs::read_to_string(state_dir.join(name)).ok();
        let key = match file(KEY) {
            Some(key) => key,
            None => {
                let key = new_key().map_err(Complaint::lab)?;
                keep(state_dir, KEY, &key)?;
                key
            }
        };
        let own = Own { agent, host, state_dir: state_dir.to_owned(), key };
        if let (Some(certificate), Some(ca)) = (file(CERTIFICATE), file(CA)) {
            let client = super::client_with(server, &own.trust(&ca, &certificate))?;
            match client.about() {
                // It has ended while the agent was away, or was taken away: with a token it may join again.
                Err(e) if !e.may_pass() && join.is_some() => {}
                // The agent itself waits for a server that is not there, and says what a server refuses.
                Ok(_) | Err(_) => return Ok(Self { client, own, ca, lasts: None }),
            }
        }
        let Some(join) = join else {
            return Err(Complaint::usage(format!("this agent has not joined the lab of {server}"))
                .hint("`muster server join-token` on the server's host makes a token file; bring it here and name it with `--join-token-file FILE`")
                .into());
        };
        let mut with = token_file(&context.dir.join(join), context)?;
        if let Some(path) = &context.ca_file {
            with.ca = Some(read(&context.dir.join(path))?);
        }
        let Some(ca) = with.ca.clone() else {
            return Err(Complaint::usage(format!("`{}` does not say by what the server is to be known", join.display()))
                .hint("use the whole file that `muster server join-token` made, or name the lab's authority with `--ca FILE`")
                .into());
        };
        let joiner = super::client_with(server, &with)?;
        let Certificate { certificate, made, expires } =
            joiner.certificate(agent, &own.request()?, true).map_err(super::complain)?;
        keep(state_dir, CA, &ca)?;
        keep(state_dir, CERTIFICATE, &certificate)?;
        let client = super::client_with(server, &own.trust(&ca, &certificate))?;
        Ok(Self { client, own, ca, lasts: Some(expires.since(made)) })
    }

    /// Renews the certificate in time, on a thread of its own, as long as the program runs.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn renew_in_time(mut self) -> Result<(), anyhow::Error> {
        let renew = move || {
            loop {
                // Of one that was found here it is not known how old it is: it is renewed at once.
                let wait = self.lasts.map_or(Duration::from_secs(1), |l| l / 2);
                std::thread::sleep(wait);
                let mut again = Duration::from_secs(1);
                while let Err(e) = self.renew() {
                    if e.is_some_and(|e| !e.may_pass()) {
                        // The agent hears the same when it speaks next, and says so.
                        return;
                    }
                    std::thread::sleep(again);
                    again = (again * 2).min(AGAIN_MAX);
                }
            }
        };
        std::thread::Builder::new()
            .name("identity".into())
            .spawn(renew)
            .map(drop)
            .map_err(|e| Complaint::lab("the system is out of threads").because(e).into())
    }

    fn renew(&mut self) -> Result<(), Option<ClientError>> {
        let Self { client, own, ca, lasts } = self;
        let request = own.request().map_err(|_| None)?;
        let Certificate { certificate, made, expires } =
            client.certificate(own.agent, &request, false).map_err(Some)?;
        // It is used also if it cannot be kept: the next one may be.
        let _kept = keep(&own.state_dir, CERTIFICATE, &certificate);
        client.set_trust(&own.trust(ca, &certificate)).map_err(|_| None)?;
        *lasts = Some(expires.since(made));
        Ok(())
    }
}

impl Own {
    fn request(&self) -> Result<CertificateRequest, anyhow::Error> {
        let public_key = public_key(&self.key).map_err(|e| {
            Complaint::lab(format!("`{}` cannot be used: {e}", self.state_dir.join(KEY).display()))
                .hint("remove it, and let the agent join again")
        })?;
        Ok(CertificateRequest { host: self.host.clone(), public_key })
    }

    fn trust(&self, ca: &str, certificate: &str) -> Trust {
        let (key, certificate) = (self.key.clone(), certificate.to_owned());
        Trust { ca: Some(ca.to_owned()), proof: Proof::Key(Identity { key, certificate }) }
    }
}

/// Keeps a file whole or not at all, where nobody else may read it.
fn keep(dir: &Path, name: &str, text: &str) -> Result<(), anyhow::Error> {
    let (path, half) = (dir.join(name), dir.join(format!("{name}.partial")));
    let written = || {
        match fs::remove_file(&half) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&half)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&half, &path)?;
        File::open(dir)?.sync_all()
    };
    written().map_err(|e| Complaint::lab(format!("`{}` cannot be written", path.display())).because(e).into())
}
