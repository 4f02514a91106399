//! The first files of an area or a test, in Muster's own form and in Megatest's: what a person begins with and edits.
//!
//! What makes no sense in a file is refused here; whether the whole is a good area, those say who read areas.

use std::fmt::Write as _;
use thiserror::Error;

/// What an area is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewArea {
    /// Its name.
    pub name: String,
    /// What its targets name, in order.
    pub keys: Vec<String>,
}

/// What a test is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTest {
    /// Its name.
    pub name: String,
    /// Its steps, with their commands; at least one.
    pub steps: Vec<(String, String)>,
    /// Tests it comes after.
    pub after: Vec<String>,
    /// Variables with their values: an item for each combination.
    pub items: Vec<(String, Vec<String>)>,
    /// What it checks.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
    /// Words to select by.
    pub tags: Vec<String>,
    /// Its time limit, as `5m`.
    pub timeout: String,
}

/// Text that cannot stand in the file it is for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what} `{text}` cannot be written: {why}")]
pub struct Refused {
    what: &'static str,
    text: String,
    why: &'static str,
}

/// A file: its path below the area, and its text.
pub type File = (String, String);

fn refuse_if(bad: bool, what: &'static str, text: &str, why: &'static str) -> Result<(), Refused> {
    if bad { Err(Refused { what, text: text.escape_debug().to_string(), why }) } else { Ok(()) }
}

fn one_line(what: &'static str, text: &str) -> Result<(), Refused> {
    refuse_if(text.chars().any(char::is_control), what, text, "it has to be one line")
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A key of TOML: bare where it can be.
fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if is_bare { name.to_owned() } else { quoted(name) }
}

fn list(all: &[String]) -> String {
    format!("[{}]", all.iter().map(|t| quoted(t)).collect::<Vec<_>>().join(", "))
}

impl NewArea {
    /// The `muster.toml` of an area that has no tests yet.
    ///
    /// # Errors
    /// A name is no line of text.
    pub fn native(&self) -> Result<String, Refused> {
        one_line("the name", &self.name)?;
        self.keys.iter().try_for_each(|key| one_line("the key", key))?;
        let mut text = String::from(
            "# What to test here, for `muster run`. All keys: docs/reference/muster-toml.md\n\n[area]\n",
        );
        writeln!(text, "name = {}", quoted(&self.name)).ok();
        if !self.keys.is_empty() {
            writeln!(text, "keys = {}", list(&self.keys)).ok();
        }
        Ok(text)
    }

    /// The files of a Megatest area that has no tests yet.
    ///
    /// # Errors
    /// A name or key is none to Megatest, or there is no key.
    pub fn megatest(&self) -> Result<Vec<File>, Refused> {
        one_line("the name", &self.name)?;
        refuse_if(self.keys.is_empty(), "the target", "", "a Megatest area has at least one key")?;
        let mut fields = String::new();
        for key in &self.keys {
            let is_word = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            refuse_if(!is_word, "the key", key, "a key is a word of letters, digits and `_`")?;
            // Columns that Megatest has of its own.
            const TAKEN: [&str; 9] = [
                "runname",
                "state",
                "status",
                "owner",
                "event_time",
                "comment",
                "fail_count",
                "pass_count",
                "contour",
            ];
            let taken = TAKEN.contains(&key.to_ascii_lowercase().as_str());
            refuse_if(taken, "the key", key, "Megatest has something else of that name")?;
            writeln!(fields, "{key} TEXT").ok();
        }
        let main = format!(
            "# A Megatest area: what holds for all its tests.\n\n# What a target names, in order.\n[fields]\n{fields}\n[setup]\narea-name           {}\nlinktree            #{{getenv MT_RUN_AREA_HOME}}/links\nmax_concurrent_jobs 4\n\n# Where run directories are.\n[disks]\ndisk0 #{{getenv MT_RUN_AREA_HOME}}/runs\n",
            self.name
        );
        let runconfigs = format!(
            "# Variables of tests by target; later sections go over earlier ones.\n\n[default]\nLEVEL 1\n\n# For one target, `{}`; one value of it may be `%`, for any.\n# [value{}]\n# LEVEL 2\n",
            self.keys.join("/"),
            "/value".repeat(self.keys.len() - 1)
        );
        Ok(vec![("megatest.config".to_owned(), main), ("runconfigs.config".to_owned(), runconfigs)])
    }
}

impl NewTest {
    /// The table of `muster.toml` that says it, to be put at the end of one.
    ///
    /// # Errors
    /// A text is no line.
    pub fn native(&self) -> Result<String, Refused> {
        self.check()?;
        let mut text = format!("\n[test.{}]\n", key(&self.name));
        if !self.description.is_empty() {
            writeln!(text, "description = {}", quoted(&self.description)).ok();
        }
        match self.steps.as_slice() {
            [(_, command)] => writeln!(text, "run = {}", quoted(command)).ok(),
            steps => {
                text.push_str("steps = [\n");
                for (name, command) in steps {
                    writeln!(text, "  {{ name = {}, run = {} }},", quoted(name), quoted(command)).ok();
                }
                text.push_str("]\n");
                None
            }
        };
        if !self.items.is_empty() {
            let variables: Vec<String> =
                self.items.iter().map(|(name, values)| format!("{} = {}", key(name), list(values))).collect();
            writeln!(text, "matrix = {{ {} }}", variables.join(", ")).ok();
        }
        if !self.after.is_empty() {
            writeln!(text, "after = {}", list(&self.after)).ok();
        }
        for (key, value) in [("timeout", &self.timeout), ("owner", &self.owner)] {
            if !value.is_empty() {
                writeln!(text, "{key} = {}", quoted(value)).ok();
            }
        }
        if !self.tags.is_empty() {
            writeln!(text, "tags = {}", list(&self.tags)).ok();
        }
        Ok(text)
    }

    /// The files of a Megatest test.
    ///
    /// # Errors
    /// A text is no line, or Megatest would read it as several.
    pub fn megatest(&self) -> Result<Vec<File>, Refused> {
        self.check()?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
        let named = |what, name: &str| {
            let good = !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(is_name);
            refuse_if(
                !good,
                what,
                name,
                "it is made of letters, digits and `._+-`, and is the name of a directory",
            )
        };
        named("the name", &self.name)?;
        let mut text = String::new();
        if !self.description.is_empty() {
            writeln!(text, "# {}\n", self.description).ok();
        }
        text.push_str("[ezsteps]\n");
        for (name, command) in &self.steps {
            named("the step", name)?;
            refuse_if(command.trim() != command, "the command", command, "blanks around it would be lost")?;
            writeln!(text, "{name} {command}").ok();
        }
        let mut section = |name: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                writeln!(text, "\n[{name}]\n{}", lines.join("\n")).ok();
            }
        };
        let mut requirements = Vec::new();
        if !self.after.is_empty() {
            self.after.iter().try_for_each(|test| named("the test", test))?;
            requirements.push(format!("waiton {}", self.after.join(" ")));
        }
        if !self.timeout.is_empty() {
            requirements.push(format!("runtimelim {}", self.timeout));
        }
        section("requirements", requirements);
        let mut items = Vec::new();
        for (name, values) in &self.items {
            let blank = |v: &&String| v.is_empty() || v.contains(char::is_whitespace);
            if let Some(value) = values.iter().find(blank) {
                refuse_if(true, "the value", value, "blanks stand between values")?;
            }
            items.push(format!("{name} {}", values.join(" ")));
        }
        section("items", items);
        let mut meta = Vec::new();
        if !self.owner.is_empty() {
            meta.push(format!("owner       {}", self.owner));
        }
        if !self.description.is_empty() {
            meta.push(format!("description {}", self.description));
        }
        if !self.tags.is_empty() {
            meta.push(format!("tags        {}", self.tags.join(",")));
        }
        section("test_meta", meta);
        Ok(vec![(format!("tests/{}/testconfig", self.name), text)])
    }

    fn check(&self) -> Result<(), Refused> {
        refuse_if(self.name.is_empty(), "the name", "", "a test has one")?;
        refuse_if(self.steps.is_empty(), "the test", &self.name, "it has nothing to run")?;
        let steps =
            self.steps.iter().flat_map(|(name, command)| [("the step", name), ("the command", command)]);
        let items = self.items.iter().flat_map(|(name, values)| {
            std::iter::once(("the variable", name)).chain(values.iter().map(|v| ("the value", v)))
        });
        let rest = [
            ("the name", &self.name),
            ("the description", &self.description),
            ("the owner", &self.owner),
            ("the time limit", &self.timeout),
        ];
        let lists =
            self.after.iter().map(|t| ("the test", t)).chain(self.tags.iter().map(|t| ("the tag", t)));
        for (what, text) in rest.into_iter().chain(steps).chain(items).chain(lists) {
            one_line(what, text)?;
        }
        for (name, values) in &self.items {
            let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            refuse_if(!is_word, "the variable", name, "it is a word of letters, digits and `_`")?;
            refuse_if(values.is_empty(), "the variable", name, "it has no values")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn boot() -> NewTest {
        let words = |all: &[&str]| all.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        NewTest {
            name: "boot".into(),
            steps: vec![("flash".into(), "./flash \"$BOARD\"".into()), ("boot".into(), "./boot".into())],
            after: words(&["build"]),
            items: vec![("BOARD".into(), words(&["a", "b"]))],
            description: "Boots.".into(),
            owner: "ana".into(),
            tags: words(&["smoke", "slow"]),
            timeout: "5m".into(),
        }
    }

    #[test]
    fn a_test_is_written_in_both_forms() {
        expect![[r#"

            [test.boot]
            description = "Boots."
            steps = [
              { name = "flash", run = './flash "$BOARD"' },
              { name = "boot", run = "./boot" },
            ]
            matrix = { BOARD = ["a", "b"] }
            after = ["build"]
            timeout = "5m"
            owner = "ana"
            tags = ["smoke", "slow"]
        "#]]
        .assert_eq(&boot().native().unwrap());
        let [(path, text)] = &boot().megatest().unwrap()[..] else { panic!("one file") };
        assert_eq!(path, "tests/boot/testconfig");
        expect![[r#"
            # Boots.

            [ezsteps]
            flash ./flash "$BOARD"
            boot ./boot

            [requirements]
            waiton build
            runtimelim 5m

            [items]
            BOARD a b

            [test_meta]
            owner       ana
            description Boots.
            tags        smoke,slow
        "#]]
        .assert_eq(text);
    }

    #[test]
    fn what_would_be_read_as_something_else_is_refused() {
        let refused = |change: fn(&mut NewTest)| {
            let mut test = boot();
            change(&mut test);
            test.megatest().unwrap_err().to_string()
        };
        assert!(refused(|t| t.name = "../up".into()).contains("name of a directory"));
        assert!(refused(|t| t.steps[0].1 = "a\n[disks]".into()).contains("one line"));
        assert!(refused(|t| t.items[0].1 = vec!["a b".into()]).contains("between values"));
        assert!(refused(|t| t.steps.clear()).contains("nothing to run"));
        let area = |key: &str| NewArea { name: "n".into(), keys: vec![key.into()] }.megatest();
        assert!(area("State").unwrap_err().to_string().contains("something else of that name"));
        assert!(area("OS").is_ok() && area("a b").is_err());
        assert!(NewArea::default().megatest().is_err());
    }
}
