//! `#{…}`: what values are computed from while a file is read.

use super::config::{Reader, What};
use super::scheme::{self, tidy_path};
use super::{NotRun, World};
use crate::area::source::Pos;
use std::collections::BTreeMap;

/// Expansions in one line.
// Limit: what people write has three; a line of a stranger's must not start processes by the thousand.
const EXPANSIONS_MAX: usize = 200;

/// Stand for `${` and `}` round a variable of the item while a line is expanded: braces would hide what is round
/// them. No file has these characters; they are private to whoever uses them.
const ITEM_BEGINS: char = '\u{f8fe}';
const ITEM_ENDS: char = '\u{f8fd}';

/// A text with its `#{…}` expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// Some of it could not be, and stands there as Megatest marks it: `#{( shell ) …}`.
    pub(super) has_unknown: bool,
}

/// The functions, each with its usual name.
const FUNCTIONS: &[(&str, Function)] = &[
    ("scheme", Function::Scheme),
    ("scm", Function::Scheme),
    ("system", Function::System),
    ("shell", Function::Shell),
    ("sh", Function::Shell),
    ("getenv", Function::Getenv),
    ("gv", Function::Getenv),
    ("get", Function::Get),
    ("g", Function::Get),
    ("runconfigs-get", Function::Rget),
    ("rget", Function::Rget),
    ("rp", Function::RealPath),
    ("realpath", Function::RealPath),
    ("mtrah", Function::AreaHome),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Scheme,
    System,
    Shell,
    Getenv,
    Get,
    Rget,
    RealPath,
    AreaHome,
}

/// The first `#{…}` from the right that has no braces inside: its place, function and text.
fn innermost(text: &str, before: usize) -> Option<(std::ops::Range<usize>, &str, &str)> {
    let mut before = before;
    loop {
        let start = text[..before].rfind("#{")?;
        let inside = &text[start + 2..];
        if let Some(end) = inside.find(['{', '}']).filter(|end| inside[*end..].starts_with('}')) {
            let body = inside[..end].trim_start();
            let (name, rest) = body.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((body, ""));
            if !name.starts_with('(') {
                return Some((start..start + 2 + end + 1, name, rest));
            }
        }
        before = start;
    }
}

/// Whether a line that begins with `#` is content to Megatest, because it begins with a function.
pub(super) fn begins_with_function(text: &str) -> bool {
    let Some(inside) = text.trim_start_matches([' ', '\t']).strip_prefix("#{") else { return false };
    let name = inside.split(|c: char| c.is_ascii_whitespace() || c == '}').next().unwrap_or("");
    FUNCTIONS.iter().any(|(known, _)| *known == name)
}

/// Whether Megatest would run something while it skips this comment.
pub(super) fn runs_in_comment(text: &str) -> bool {
    let inside = text.split("#{").skip(1).map(|rest| rest.trim_start());
    inside.into_iter().any(|rest| {
        let name = rest.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or("");
        let function = FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, f)| *f);
        rest.contains('}') && matches!(function, Some(Function::Scheme | Function::System | Function::Shell))
    })
}

impl Reader<'_, '_> {
    /// Expands a line, inner before outer. What an expansion gives is not expanded again.
    pub(super) fn expand(&mut self, text: &str, pos: Pos) -> Expanded {
        let mut out = Expanded { text: text.to_owned(), has_unknown: false };
        let mut before = out.text.len();
        let mut count = 0;
        while let Some((range, name, body)) = innermost(&out.text, before) {
            before = range.start;
            count += 1;
            if count > EXPANSIONS_MAX {
                self.session.complaints.error(pos, "too many `#{…}` in one line");
                return out;
            }
            let Some(function) = FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, f)| *f) else {
                let message = format!("`#{{{name} …}}` is not among Megatest's functions; it stays as it is");
                let hint = self.session.complaints.nearest(name, FUNCTIONS.iter().map(|(n, _)| *n));
                self.session.complaints.warning(pos, message).maybe_hint(hint);
                continue;
            };
            let (name, body) = (name.to_owned(), body.trim_end().to_owned());
            let value = self.value_of(function, &body, pos).unwrap_or_else(|| {
                out.has_unknown = true;
                format!("#{{( {name} ) {body}}}")
            });
            out.text.replace_range(range, &value);
            if out.text.len() > super::line::LINE_BYTES_MAX {
                self.session.complaints.error(pos, "with its `#{…}` expanded this line is too long");
                return Expanded { text: String::new(), has_unknown: true };
            }
        }
        if out.text.contains(ITEM_BEGINS) {
            out.text = out.text.replace(ITEM_BEGINS, "${").replace(ITEM_ENDS, "}");
        }
        out
    }

    /// What a function gives; `None` where it cannot be said. Complains itself.
    fn value_of(&mut self, function: Function, body: &str, pos: Pos) -> Option<String> {
        if body.contains(ITEM_BEGINS) {
            self.session
                .complaints
                .warning(pos, "this depends on the item, and is not computed anew for each")
                .hint("a command of a step can do it: the variables of the item are in its environment");
            return None;
        }
        match function {
            // Known when the item is launched, to the shell that runs its commands.
            Function::Getenv if self.item_vars.contains(body.trim()) => {
                Some(format!("{ITEM_BEGINS}{}{ITEM_ENDS}", body.trim()))
            }
            Function::Getenv => {
                let name = body.trim();
                let found = self.session.env.get(name).cloned();
                if found.is_none() {
                    self.missing(pos, format!("the environment has no `{name}`"));
                }
                Some(found.unwrap_or_else(|| FALSE.to_owned()))
            }
            Function::Get => {
                let Some((section, key)) = body.trim().split_once(|c: char| c.is_ascii_whitespace()) else {
                    self.session
                        .complaints
                        .warning(pos, "`#{get …}` needs a section and a variable")
                        .hint("`#{get setup linktree}`");
                    return None;
                };
                let key = key.trim();
                let found = self.table.get(section, key).map(|entry| (entry.value.clone(), entry.is_known()));
                match found {
                    Some((value, true)) => Some(value),
                    // What it is made of has been told where it is written.
                    Some((_, false)) => None,
                    None => {
                        self.missing(pos, format!("up to here `[{section}]` has no `{key}`"));
                        Some(FALSE.to_owned())
                    }
                }
            }
            Function::Rget => self.rget(body.trim(), pos),
            Function::RealPath => Some(self.absolute(body.trim())),
            Function::AreaHome => {
                let area = &self.session.area;
                Some(if body.trim().is_empty() { area.clone() } else { format!("{area}/{}", body.trim()) })
            }
            Function::Shell => {
                let printed = self.session.run(&unescaped(body), pos, &BTreeMap::new())?;
                // As Megatest does: what fails gives nothing.
                if printed.status != 0 {
                    let message = format!("this command ended with exit code {}", printed.status);
                    self.session
                        .complaints
                        .warning(pos, message)
                        .hint("its value is empty, as Megatest has it");
                    return Some(String::new());
                }
                Some(on_one_line(&printed.text))
            }
            Function::System => {
                self.session.run(&unescaped(body), pos, &BTreeMap::new()).map(|p| p.status.to_string())
            }
            Function::Scheme => {
                let mut host = SchemeHost { reader: self };
                match scheme::eval(body, &mut host) {
                    Ok(value) => Some(value),
                    Err(why) => {
                        self.session
                            .complaints
                            .warning(pos, format!("this Scheme is not evaluated: {why}"))
                            .hint("say the same with `#{shell …}`, or write the value");
                        None
                    }
                }
            }
        }
    }

    fn rget(&mut self, name: &str, pos: Pos) -> Option<String> {
        let session = &mut *self.session;
        let target = session.target.as_deref().unwrap_or("default");
        let (table, elsewhere) = match self.what {
            What::Runconfigs | What::List => (&self.table, false),
            What::Main { runconfigs: Some(table) } | What::Test { runconfigs: table, .. } => (table, true),
            // The first of two passes; what it misses is there in the second.
            What::Main { runconfigs: None } => return Some(FALSE.to_owned()),
        };
        let hidden = format!("!{name}");
        let found = [target, "default"]
            .iter()
            .find_map(|section| table.get(section, name).or_else(|| table.get(section, &hidden)))
            .map(|entry| (entry.value.clone(), entry.is_known()));
        if elsewhere {
            session.rget_elsewhere.push(pos);
        }
        match found {
            Some((value, true)) => Some(value),
            Some((_, false)) => None,
            None => {
                self.missing(pos, format!("runconfigs have no `{name}` for this target"));
                Some(FALSE.to_owned())
            }
        }
    }

    /// An absolute path out of one that is relative to the area.
    fn absolute(&self, path: &str) -> String {
        match path.starts_with('/') {
            true => tidy_path(path),
            false => tidy_path(&format!("{}/{path}", self.session.area)),
        }
    }

    fn missing(&mut self, pos: Pos, message: String) {
        self.session.complaints.warning(pos, message).hint("Megatest makes `#f` of it, and so does Muster");
    }
}

/// What Megatest makes of a value that is missing.
const FALSE: &str = "#f";

/// The text of a command: it is written inside of a Scheme text, so quotes in it may have a `\`.
fn unescaped(text: &str) -> String {
    text.replace("\\\"", "\"")
}

/// What a command printed, as a value: lines are joined by blanks.
pub(super) fn on_one_line(text: &str) -> String {
    text.trim_end_matches(['\n', '\r']).replace("\r\n", " ").replace('\n', " ")
}

struct SchemeHost<'r, 's, 'w> {
    reader: &'r mut Reader<'s, 'w>,
}

impl SchemeHost<'_, '_, '_> {
    fn world(&self) -> &dyn World {
        self.reader.session.world
    }
}

impl scheme::Host for SchemeHost<'_, '_, '_> {
    fn getenv(&mut self, name: &str) -> Option<String> {
        self.reader.session.env.get(name).cloned()
    }

    fn flag(&mut self, name: &str) -> Option<String> {
        match name {
            "-target" | "-reqtarg" => self.reader.session.target.clone(),
            "-runname" | ":runname" => self.reader.session.run_name.clone(),
            _ => None,
        }
    }

    fn make_dir(&mut self, path: &str) -> Result<(), String> {
        let path = self.reader.absolute(path);
        self.world().make_dir(&path).map_err(|e| format!("`{path}` cannot be made: {e}"))
    }

    fn cores(&mut self) -> u32 {
        self.world().cores()
    }

    fn host_name(&mut self) -> String {
        self.world().host_name()
    }
}

/// Why a command was not run, as a complaint or a place to sum up.
pub(super) fn refuse(session: &mut super::config::Session<'_>, why: &NotRun, pos: Pos) {
    match why {
        NotRun::OnlyLooking => session.not_run.push(pos),
        NotRun::Failed(why) => {
            session.complaints.error(pos, "this command could not be run").cause(why.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_comes_first_and_marks_are_left_alone() {
        let text = "a #{get x #{getenv B}} #{( shell ) c}";
        let (range, name, body) = innermost(text, text.len()).unwrap();
        assert_eq!((&text[range.clone()], name, body), ("#{getenv B}", "getenv", "B"));
        assert_eq!(innermost("a #{get x {y}}", 13), None);
        assert_eq!(innermost("#{mtrah}", 8).map(|(_, n, b)| (n, b)), Some(("mtrah", "")));
    }

    #[test]
    fn comments_that_megatest_would_run_are_known() {
        assert!(runs_in_comment("# x #{shell rm -rf /}"));
        assert!(runs_in_comment("#x #{scheme (f)}"));
        assert!(!runs_in_comment("# #{getenv X} #{shell"));
        assert!(begins_with_function("#{getenv X} y"));
        assert!(!begins_with_function("#{what X} y"));
        assert!(!begins_with_function("# #{getenv X}"));
    }
}
