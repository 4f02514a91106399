//! The `muster.toml` that says the same as a Megatest area, as far as that can be said, and what cannot.

use super::ticket::{TICKET_VARIABLE, Ticket};
use super::{ITEM_DIR_VARIABLE, MegatestArea, SUBRUN, World, native_left};
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

/// Writes the area as it is for the target it was loaded for. `world`: where the tests' scripts are.
pub fn native(area: &MegatestArea, world: &dyn World) -> Native {
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
    insert_env(&mut file, env.clone());
    left_out.extend(env.filter_map(|(name, value)| uncomputed(name, value)));
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
        def.tests.iter().map(|t| (t.name.clone(), test(t, home, world, &mut left_out).into())).collect();
    let beyond = def.tests.iter().zip(&area.beyond);
    left_out.extend(beyond.flat_map(|(t, all)| all.iter().map(|what| format!("of `{}`: {what}", t.name))));
    if !tests.is_empty() {
        file.insert("test".into(), tests.into());
    }
    left_out.extend(
        native_left::of_main(&area.main).into_iter().map(|what| format!("of megatest.config: {what}")),
    );
    for entry in area.runconfigs.iter().flat_map(|s| &s.values) {
        match entry.path.strip_prefix('!') {
            Some(name) => left_out.push(format!(
                "`!{name}` of runconfigs.config is no variable: its value stands where it was read"
            )),
            None if entry.path == "TESTPATT" => left_out
                .push(format!("TESTPATT selects nothing: what ran was `{}`", entry.value.replace('\n', " "))),
            None => {}
        }
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

/// A variable whose value is known only when something is run.
fn uncomputed(name: &str, value: &str) -> Option<String> {
    if value.contains("#{") {
        Some(format!("the value of `{name}`, which is computed when it is read: `{value}`"))
    } else if value.contains("${") {
        Some(format!("the value of `{name}`, which is made of the item's variables: `{value}`"))
    } else {
        None
    }
}

/// Where a word of a command ends.
fn is_between(c: char) -> bool {
    c.is_whitespace() || ";&|()<>`\"'$={}".contains(c)
}

/// Whether a script or a command calls Megatest's own programs.
fn calls_megatest(text: &str) -> bool {
    let mut words =
        text.lines().filter(|l| !l.trim_start().starts_with('#')).flat_map(|l| l.split(is_between));
    words.any(|word| matches!(word.rsplit('/').next(), Some("megatest" | "mtutil")) || word == "MT_MEGATEST")
}

/// `home` is the area's directory.
fn test(def: &TestDef, home: &str, world: &dyn World, left_out: &mut Vec<String>) -> Table {
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
        let files = world.names(&ticket.source).unwrap_or_default();
        let mut made = Vec::new();
        for step in steps {
            let Line::Argv(argv) = &step.command.line else { continue };
            let Some(command) = argv.last() else { continue };
            if step.name == SUBRUN && ticket.subrun.is_some() {
                // Its section is told.
                continue;
            }
            let mut table = Table::new();
            table.insert("name".into(), step.name.clone().into());
            if command.contains("#{") {
                left_out.push(format!(
                    "of `{name}`: what its step `{}` runs is computed when it is read: `{command}`",
                    step.name
                ));
            }
            if calls_megatest(command) {
                left_out.push(format!("of `{name}`: its step `{}` calls `megatest`", step.name));
            }
            // Megatest finds the test's own scripts by PATH.
            let mut line = command.clone();
            for word in
                command.split(is_between).filter(|w| files.iter().any(|f| f == w.trim_start_matches("./")))
            {
                let file = word.trim_start_matches("./");
                let text = world.text(&format!("{}/{file}", ticket.source)).unwrap_or_default();
                let told = format!("of `{name}`: its file `{file}` calls `megatest`");
                if calls_megatest(&text) && !left_out.contains(&told) {
                    left_out.push(told);
                }
                if file == word && line == *command {
                    line = format!("PATH=\"$PATH:.\"; {command}");
                }
            }
            table.insert("cmd".into(), Value::Array(vec!["bash".into(), "-c".into(), literal(&line)]));
            made.push(Value::Table(table));
        }
        if made.is_empty() {
            let nothing = [("name", "nothing".into()), ("cmd", "true".into())];
            made.push(Value::Table(
                nothing.map(|(k, v): (&str, Value)| (k.to_owned(), v)).into_iter().collect(),
            ));
        }
        table.insert("steps".into(), Value::Array(made));
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
    let env = def.env.iter().filter(|(n, _)| n != TICKET_VARIABLE);
    insert_env(&mut table, env.clone());
    let all = env.chain(&ticket.overrides).filter_map(|(n, v)| uncomputed(n, v));
    left_out.extend(all.map(|what| format!("of `{name}`: {what}")));
    table
}

fn items(name: &str, items: &[ItemDef], table: &mut Table, left_out: &mut Vec<String>) {
    fn vars(item: &ItemDef) -> impl Iterator<Item = &(String, String)> {
        item.vars.iter().filter(|(n, _)| n != ITEM_DIR_VARIABLE)
    }
    let names = |item: &ItemDef| vars(item).map(|(n, _)| n.clone()).collect::<Vec<_>>();
    let first = items.first().map(names).unwrap_or_default();
    if items.iter().any(|item| names(item) != first) {
        left_out
            .push(format!("the items of `{name}`, which have different variables: split the test in two"));
        return;
    }
    let row = |item: &ItemDef| vars(item).map(|(n, v)| (n.clone(), literal(v))).collect::<Table>().into();
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
