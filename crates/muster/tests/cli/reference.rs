//! The reference page is what the program says of itself.

use crate::env::TestEnv;
use std::fmt::Write as _;
use std::path::PathBuf;

const HEAD: &str = "\
# Command line

<!-- Generated from the program: `UPDATE_GENERATED=1 cargo test -p muster --test cli` writes it. -->

How to point at runs and items: [addresses](#addresses).
How commands end: [exit codes](exit-codes.md).

## Addresses

`AREA/RUN/TEST/ITEM#ATTEMPT` is the printed name of everything: the same on the command line, in logs, in reports and in pages.

- Leading parts may be left out: without a run the latest is meant, without an attempt the last.
- RUN is the run's number in its area, its name, `latest`, or counted back: `-1` is the latest, `-2` the one before it.
- An item path may itself contain `/`.
- A name that ends like an attempt and is none has a `#` behind it: `t/x#3#` is the item `x#3`.
- The first reading that fits is taken: `AREA/RUN`, then `RUN`, then `TEST`. A test whose name is a number needs its run in front of it.

## What is printed where

Standard output is for data: results, logs, comparisons, JSON, reports without a file.
Standard error is for talk: the progress and the summary of `muster run`, `resume` and `rerun`, warnings, errors.
To keep what a run says, redirect standard error: `muster run 2> run.txt`.

## Environment

A flag comes before the environment, that before the area's `muster.toml`, that before the user's `$XDG_CONFIG_HOME/muster/config.toml`, that before what is built in.

| Variable | Is like |
|---|---|
| `MUSTER_OUTPUT` | `--output` |
| `MUSTER_SERVER` | `--server` |
| `MUSTER_TOKEN_FILE` | `--token-file` |
| `MUSTER_CA_FILE` | `--ca` |
| `MUSTER_FETCH_CA_FILE` | `--fetch-ca` of `muster run` |
| `MUSTER_JOIN_TOKEN_FILE` | `--join-token-file` of `muster agent` |
| `MUSTER_COLOR` | `--color` |
| `MUSTER_PROGRESS` | `--progress` |
| `MUSTER_JOBS` | `--jobs` |
| `MUSTER_REPO` | `--repo` of `muster package` and `muster run` |
| `MUSTER_NO_CONFIG` | `--no-config` |
| `NO_COLOR`, `CLICOLOR_FORCE`, `TERM=dumb` | as elsewhere, where `--color` is `auto` |
| `COLUMNS` | the width where standard output is no terminal |

The user's file may say `output`, `color`, `progress`, `jobs` and `fetch-ca-file`, what servers are asked with ([access](access.md#token-files)), and, for every area, `[limits]` and `[defaults]` as `muster.toml` does.
";

#[test]
fn the_command_line_reference_is_up_to_date() {
    let env = TestEnv::new();
    let mut page = HEAD.to_owned();
    section(&env, &[], &mut page);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/cli.md is not what the program says: UPDATE_GENERATED=1 cargo test -p muster --test cli"
    );
}

/// The help of a command, then of those below it.
fn section(env: &TestEnv, words: &[&str], page: &mut String) {
    let mut args = words.to_vec();
    args.push("--help");
    let said = env.command(&args).output().unwrap();
    assert!(said.status.success(), "{words:?}");
    let help = String::from_utf8(said.stdout).unwrap();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let title = ["muster"].iter().chain(words).copied().collect::<Vec<_>>().join(" ");
    write!(
        page,
        "\n{} `{title}`\n\n```text\n{}\n```\n",
        if words.len() < 2 { "##" } else { "###" },
        help.join("\n").trim_end()
    )
    .unwrap();
    let commands = help.iter().skip_while(|l| **l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    // A name stands two columns in; what stands further in is the rest of a description.
    for name in commands.filter(|l| !l.starts_with("   ")).filter_map(|l| l.split_whitespace().next()) {
        let mut below = words.to_vec();
        below.push(name);
        section(env, &below, page);
    }
}
