//! The `muster.toml` that says the same as a Megatest area, as far as that can be said, and what cannot.

use super::MegatestArea;
use super::ticket::{TICKET_VARIABLE, Ticket};
use crate::area::scalar::format_duration;
use muster_core::definition::{After, AfterMode, ItemDef, Items, Kind, Line, TestDef};
use toml::{Table, Value};

/// A configuration of Muster's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Native {
    /// The text of a `muster.toml`.
    pub text: String,
    /// What it does not say, for people; each is a sentence.
    pub left_out: Vec<String>,
}

/// Writes the area as it is for the target it was loaded for.
pub fn native(area: &MegatestArea) -> Native {
    let def = &area.loaded.area;
    let mut left_out = Vec::new();
    let mut file = Table::new();
    let mut head = Table::new();
    head.insert("name".into(), def.name.clone().into());
    if !def.target.is_empty() {
        head.insert("keys".into(), strings(def.target.iter().map(|(key, _)| key)));
    }
    file.insert("area".into(), head.into());
    let keys: Vec<&String> = def.target.iter().map(|(key, _)| key).collect();
    let env = def.env.iter().filter(|(name, _)| !name.starts_with("MT_") && !keys.contains(&name));
    insert_env(&mut file, env);
    if !def.target.is_empty() {
        let target: Vec<&str> = def.target.iter().map(|(_, value)| value.as_str()).collect();
        left_out.push(format!(
            "variables are those of the target `{}`; for others, `[target.\"…\".env]` has to say what runconfigs.config says",
            target.join("/")
        ));
    }
    let mut limits = Table::new();
    if let Some(jobs) = def.limits.jobs {
        limits.insert("jobs".into(), i64::from(jobs).into());
    }
    if let Some(load) = def.limits.load_max {
        limits.insert("load".into(), load.into());
    }
    if !def.limits.groups.is_empty() {
        let groups = def.limits.groups.iter().map(|(name, n)| (name.clone(), i64::from(*n).into()));
        limits.insert("groups".into(), groups.collect::<Table>().into());
    }
    if !limits.is_empty() {
        file.insert("limits".into(), limits.into());
    }
    let home =
        def.env.iter().find(|(name, _)| name == "MT_RUN_AREA_HOME").map_or("", |(_, value)| value.as_str());
    let tests: Table =
        def.tests.iter().map(|t| (t.name.clone(), test(t, home, &mut left_out).into())).collect();
    if !tests.is_empty() {
        file.insert("test".into(), tests.into());
    }
    left_out.push(
        "tests run in their own directories and not in copies of them; there is no tree of links, and MT_ variables but MT_TEST_NAME are not set"
            .to_owned(),
    );
    for (hook, key) in [(&area.pre_hook, "pre-hook"), (&area.post_hook, "post-hook")] {
        if let Some(line) = hook {
            left_out.push(format!("the {key} of runs: `{line}`"));
        }
    }
    Native { text: file.to_string(), left_out }
}

fn strings<S: AsRef<str>>(all: impl IntoIterator<Item = S>) -> Value {
    Value::Array(all.into_iter().map(|s| Value::from(s.as_ref())).collect())
}

/// `$` begins an interpolation only before a brace.
fn literal(text: &str) -> Value {
    text.replace("${", "$${").into()
}

fn insert_env<'e>(table: &mut Table, env: impl Iterator<Item = &'e (String, String)>) {
    let env: Table = env.map(|(name, value)| (name.clone(), literal(value))).collect();
    if !env.is_empty() {
        table.insert("env".into(), env.into());
    }
}

/// `home` is the area's directory.
fn test(def: &TestDef, home: &str, left_out: &mut Vec<String>) -> Table {
    let name = &def.name;
    let mut table = Table::new();
    let ticket = def.env.iter().find(|(n, _)| n == TICKET_VARIABLE);
    let ticket = ticket.and_then(|(_, text)| Ticket::parse(text).ok()).unwrap_or_default();
    if !def.description.is_empty() {
        table.insert("description".into(), literal(&def.description));
    }
    if !def.owner.is_empty() {
        table.insert("owner".into(), def.owner.clone().into());
    }
    if !def.tags.is_empty() {
        table.insert("tags".into(), strings(&def.tags));
    }
    let inside = ticket.source.strip_prefix(home).and_then(|rest| rest.strip_prefix('/'));
    table.insert("dir".into(), literal(inside.unwrap_or(&ticket.source)));
    if let Kind::Steps { steps, items } = &def.kind {
        let steps = steps.iter().filter_map(|step| {
            let Line::Argv(argv) = &step.command.line else { return None };
            let command = argv.last()?;
            let mut made = Table::new();
            made.insert("name".into(), step.name.clone().into());
            made.insert("cmd".into(), Value::Array(vec!["bash".into(), "-c".into(), literal(command)]));
            Some(Value::Table(made))
        });
        table.insert("steps".into(), Value::Array(steps.collect()));
        match items {
            Items::None => {}
            Items::Listed(items) => self::items(name, items, &mut table, left_out),
            Items::Command(_) => left_out.push(format!(
                "the items of `{name}` are made by commands: `items-from` can name one that prints them"
            )),
        }
    }
    if !def.after.is_empty() {
        // What is waited for item by item is named once here.
        let twice = |a: &After| {
            a.mode == AfterMode::Ended
                && def.after.iter().any(|b| b.test == a.test && b.mode != AfterMode::Ended)
        };
        let all = def.after.iter().filter(|a| !twice(a)).map(after);
        table.insert("after".into(), Value::Array(all.collect()));
    }
    // Muster's own default is ten minutes, Megatest's none.
    let timeout = def.limits.timeout.map_or_else(|| "none".to_owned(), format_duration);
    table.insert("timeout".into(), timeout.into());
    if def.retries.count > 0 {
        table.insert("retries".into(), i64::from(def.retries.count).into());
    }
    if def.priority != 0 {
        table.insert("priority".into(), i64::from(def.priority).into());
    }
    if !def.needs.groups.is_empty() {
        let group: Table = [("group".to_owned(), strings(&def.needs.groups))].into_iter().collect();
        table.insert("needs".into(), group.into());
    }
    insert_env(&mut table, def.env.iter().filter(|(n, _)| n != TICKET_VARIABLE));
    for (has, what) in [
        (!ticket.logpro.is_empty(), "rules for logs"),
        (ticket.skip.is_some(), "its `[skip]` rule"),
        (!ticket.overrides.is_empty(), "`[pre-launch-env-overrides]`"),
        (!def.along.is_empty(), "`waitor`"),
    ] {
        if has {
            left_out.push(format!("of `{name}`: {what}"));
        }
    }
    table
}

fn items(name: &str, items: &[ItemDef], table: &mut Table, left_out: &mut Vec<String>) {
    let names = |item: &ItemDef| item.vars.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
    let first = items.first().map(names).unwrap_or_default();
    if items.iter().any(|item| names(item) != first) {
        left_out
            .push(format!("the items of `{name}`, which have different variables: split the test in two"));
        return;
    }
    let row =
        |item: &ItemDef| item.vars.iter().map(|(n, v)| (n.clone(), literal(v))).collect::<Table>().into();
    table.insert("table".into(), Value::Array(items.iter().map(row).collect()));
}

fn after(after: &After) -> Value {
    let mut table = Table::new();
    table.insert("test".into(), after.test.clone().into());
    match &after.mode {
        AfterMode::Passed => return after.test.clone().into(),
        AfterMode::Ended => drop(table.insert("mode".into(), "ended".into())),
        AfterMode::Exclusive => drop(table.insert("mode".into(), "exclusive".into())),
        AfterMode::MatchingItem { map } => {
            table.insert("mode".into(), "matching-item".into());
            if !map.is_empty() {
                let rules = map.iter().map(|rule| strings([&rule.pattern, &rule.replacement]));
                table.insert("map".into(), Value::Array(rules.collect()));
            }
        }
    }
    Value::Table(table)
}
