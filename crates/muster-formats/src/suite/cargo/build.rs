//! What `cargo test` prints while it builds, and what the runner says of each binary's environment.

use super::super::bytes::{find, parse_env};
use serde::Deserialize;
use std::collections::HashMap;

/// Artifacts on standard output as JSON, errors on standard error for people.
const MESSAGES: &str = "--message-format=json-render-diagnostics";

/// Stands before what the runner prints of one binary.
const MARK: &[u8] = b"MUSTER-RUNNER\0";
/// Stands after it.
const MARK_END: &[u8] = b"\0MUSTER-RUNNER-END\0";

/// What the runner is: a shell that prints binary, directory and environment, and runs nothing.
const RUNNER: &str = r#"["sh", "-c", "printf 'MUSTER-RUNNER\\0%s\\0%s\\0' \"$1\" \"$(pwd)\"; env -0; printf '\\0MUSTER-RUNNER-END\\0'", "sh"]"#;

/// Variables that are the shell's own or ours, not Cargo's.
const NOT_CARGOS: [&str; 6] = ["PWD", "OLDPWD", "SHLVL", "_", "RUSTDOC", "RUST_RECURSION_COUNT"];

/// Where colours and progress would only be in the way.
const QUIET: &[(&str, &str)] = &[("CARGO_TERM_PROGRESS_WHEN", "never")];

/// The runner is for every target; one of the project's own beside it would be an error.
pub(super) const EVERY_TARGET: &str = "cfg(all())";

/// The build, with a look at the environment of each test binary. `target`: what the runner is for.
pub(super) fn command_with_runner(args: &[String], target: &str) -> (Vec<String>, Vec<(String, String)>) {
    let runner = format!("target.'{target}'.runner = {RUNNER}");
    let mut argv = vec!["cargo".to_owned(), "test".to_owned()];
    argv.extend(args.iter().cloned());
    argv.extend(["--no-fail-fast", MESSAGES, "--config", &runner].map(str::to_owned));
    let mut env: Vec<(String, String)> =
        QUIET.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    // Doc tests would be run here, without the runner; `true` takes their place.
    env.push(("RUSTDOC".to_owned(), "true".to_owned()));
    (argv, env)
}

/// The build alone.
pub(super) fn command(args: &[String]) -> Vec<String> {
    let mut argv = vec!["cargo".to_owned(), "test".to_owned()];
    argv.extend(args.iter().cloned());
    argv.extend(["--no-run", MESSAGES].map(str::to_owned));
    argv
}

/// Cargo found a runner of the project's own beside ours.
pub(super) fn is_runner_conflict(stderr: &[u8]) -> bool {
    String::from_utf8_lossy(stderr).contains("several matching instances of `target.")
}

/// The target that is built for: the one asked for, or else the compiler's own (`rustc -vV`). A runner for
/// a target by name takes precedence over those for a `cfg(…)`.
pub(super) fn target(args: &[String], rustc: &[u8]) -> Option<String> {
    let mut pairs = args.iter().zip(args.iter().skip(1));
    let asked = args.iter().find_map(|a| a.strip_prefix("--target="));
    let asked = asked.or_else(|| pairs.find(|(a, _)| *a == "--target").map(|(_, t)| t.as_str()));
    let text = String::from_utf8_lossy(rustc);
    let host = text.lines().find_map(|l| l.strip_prefix("host: "));
    asked.or(host).map(|t| t.trim().to_owned())
}

/// The first errors of a build that failed.
pub(super) fn first_errors(stderr: &[u8]) -> String {
    // Limit: one screen; everything is in the log.
    const LINES: usize = 12;
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines().skip_while(|l| !l.starts_with("error")).peekable();
    if lines.peek().is_none() {
        return super::super::tail(stderr);
    }
    lines.take(LINES).collect::<Vec<_>>().join("\n")
}

/// A built test binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binary {
    /// Where it is.
    pub(super) executable: String,
    /// The head of its items' paths.
    pub(super) path: String,
    /// Where Cargo runs it: its package's directory.
    pub(super) dir: String,
    /// What Cargo sets for it.
    pub(super) env: Vec<(String, String)>,
}

/// The outcome of a build.
pub(super) struct Build {
    /// Sorted by path.
    pub(super) binaries: Vec<Binary>,
}

#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        package_id: String,
        manifest_path: String,
        target: Target,
        profile: Profile,
        executable: Option<String>,
    },
    BuildScriptExecuted {
        package_id: String,
        out_dir: String,
        env: Vec<(String, String)>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Build {
    /// Reads the messages (one JSON object a line) and the runner's remarks between them.
    pub(super) fn parse(stdout: &[u8], base_env: &[(String, String)]) -> Result<Self, String> {
        let mut told = runner_remarks(stdout, base_env);
        let mut scripts: HashMap<String, Vec<(String, String)>> = HashMap::new();
        let mut binaries = Vec::new();
        for line in stdout.split(|b| *b == b'\n').filter(|l| l.starts_with(b"{\"reason\"")) {
            match serde_json::from_slice(line).map_err(|e| format!("a message of cargo: {e}"))? {
                Message::BuildScriptExecuted { package_id, out_dir, env } => {
                    let all = std::iter::once(("OUT_DIR".to_owned(), out_dir)).chain(env).collect();
                    scripts.insert(package_id, all);
                }
                Message::CompilerArtifact { package_id, manifest_path, target, profile, executable } => {
                    let Some(executable) = executable.filter(|_| profile.test) else { continue };
                    let package = package_name(&package_id);
                    let path = item_head(package, &target);
                    let (dir, env) = told
                        .remove(&executable)
                        .unwrap_or_else(|| without_remark(package, &manifest_path, scripts.get(&package_id)));
                    binaries.push(Binary { executable, path, dir, env });
                }
                Message::Other => {}
            }
        }
        binaries.sort_by(|a, b| (&a.path, &a.executable).cmp(&(&b.path, &b.executable)));
        Ok(Self { binaries })
    }
}

/// What the runner said: binary → directory and environment beyond the base.
fn runner_remarks(
    stdout: &[u8],
    base_env: &[(String, String)],
) -> HashMap<String, (String, Vec<(String, String)>)> {
    let base: HashMap<&str, &str> = base_env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let mut told = HashMap::new();
    let mut rest = stdout;
    while let Some(at) = find(rest, MARK) {
        rest = &rest[at + MARK.len()..];
        let Some(len) = find(rest, MARK_END) else { break };
        let mut parts = rest[..len].splitn(3, |b| *b == 0);
        rest = &rest[len + MARK_END.len()..];
        let (Some(binary), Some(dir), Some(env)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let mut env = parse_env(env);
        env.retain(|(k, v)| {
            let ours = NOT_CARGOS.contains(&k.as_str()) || QUIET.iter().any(|(q, _)| q == k);
            !ours && base.get(k.as_str()) != Some(&v.as_str())
        });
        let lossy = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        told.insert(lossy(binary), (lossy(dir), env));
    }
    told
}

/// Directory and environment as far as they are known without the runner.
fn without_remark(
    package: &str,
    manifest_path: &str,
    script: Option<&Vec<(String, String)>>,
) -> (String, Vec<(String, String)>) {
    let dir = manifest_path.rsplit_once('/').map_or(manifest_path, |(dir, _)| dir).to_owned();
    let mut env = vec![
        ("CARGO_MANIFEST_DIR".to_owned(), dir.clone()),
        ("CARGO_MANIFEST_PATH".to_owned(), manifest_path.to_owned()),
        ("CARGO_PKG_NAME".to_owned(), package.to_owned()),
    ];
    env.extend(script.into_iter().flatten().cloned());
    (dir, env)
}

/// `path+file:///a/b#name@1.0.0`, `path+file:///a/name#1.0.0`, or the older `name 1.0.0 (…)`.
fn package_name(id: &str) -> &str {
    match id.rsplit_once('#') {
        Some((url, version)) => match version.split_once('@') {
            Some((name, _)) => name,
            None => {
                let url = url.split('?').next().unwrap_or(url);
                url.trim_end_matches('/').rsplit('/').next().unwrap_or(url)
            }
        },
        None => id.split(' ').next().unwrap_or(id),
    }
}

/// `PACKAGE` for its library, `PACKAGE/TARGET` for an integration test, `PACKAGE/KIND/TARGET` for others.
fn item_head(package: &str, target: &Target) -> String {
    match target.kind.first().map_or("", String::as_str) {
        kind @ ("bin" | "example" | "bench") => format!("{package}/{kind}/{}", target.name),
        "test" => format!("{package}/{}", target.name),
        _ => package.to_owned(),
    }
}
