//! Reads one of Megatest's files, with what it includes, into a table of sections.
//!
//! A file is read from its first line to its last, since what a line says may depend on all before it:
//! on values so far, and on the section it stands in.

use super::expand::{self, Expanded};
use super::line::{Joined, LINE_BYTES_MAX, Line, classify, joined};
use super::runconfigs;
use super::scheme::tidy_path;
use super::{Printed, World};
use crate::area::error::Complaints;
use crate::area::source::{Pos, Sources};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Files that include files.
// Limit: far more than anybody needs; a circle is found before.
const INCLUDE_DEPTH_MAX: usize = 16;
/// Files of one area, included ones counted as often as they are.
// Limit: a file that includes two that include two would be read for ever.
const FILES_MAX: usize = 60_000;
/// Bytes of all of them.
const BYTES_MAX: usize = 256 << 20;
/// Commands of one reading.
// Limit: real areas have a few hundred; each is a process.
const COMMANDS_MAX: usize = 20_000;

/// Sections in the order they were begun.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The beginning of its file.
    pub(super) pos: Pos,
    sections: Vec<Section>,
    index: HashMap<String, usize>,
}

/// The section of lines before any.
pub(super) const DEFAULT: &str = "default";

/// Keys and values in their order.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) pos: Pos,
    entries: Vec<Option<Entry>>,
    index: HashMap<String, usize>,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Lines of a continuation are joined by line ends.
    pub(super) value: String,
    pub(super) pos: Pos,
    pub(super) written: Written,
}

/// How a value stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Written {
    /// As it is.
    Known,
    /// Some of it could not be expanded: a command that is not run, Scheme that is not understood.
    Unknown,
    /// It is what this command prints when it is asked for.
    Lazy(String),
}

impl Entry {
    pub(super) fn is_known(&self) -> bool {
        self.written == Written::Known
    }
}

impl Section {
    fn new(name: &str, pos: Pos) -> Self {
        Self { name: name.to_owned(), pos, entries: Vec::new(), index: HashMap::new() }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries[*self.index.get(key)?].as_ref()
    }

    /// The last value of a key wins, and has its place.
    pub(super) fn set(&mut self, entry: Entry) {
        if let Some(before) = self.index.insert(entry.key.clone(), self.entries.len()) {
            self.entries[before] = None;
        }
        self.entries.push(Some(entry));
    }

    fn last(&mut self) -> Option<&mut Entry> {
        self.entries.last_mut().and_then(Option::as_mut)
    }
}

impl Table {
    pub(super) fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.index.get(name).map(|at| &self.sections[*at])
    }

    pub(super) fn get(&self, section: &str, key: &str) -> Option<&Entry> {
        self.section(section)?.get(key)
    }

    pub(super) fn entries(&self, section: &str) -> impl Iterator<Item = &Entry> {
        self.section(section).into_iter().flat_map(Section::entries)
    }

    /// The section of this name, begun here if it is not there.
    pub(super) fn open(&mut self, name: &str, pos: Pos) -> &mut Section {
        let at = *self.index.entry(name.to_owned()).or_insert_with(|| {
            self.sections.push(Section::new(name, pos));
            self.sections.len() - 1
        });
        &mut self.sections[at]
    }

    /// Takes a section out. Its place stays empty, under a name that no section has.
    pub(super) fn take(&mut self, name: &str) -> Option<Section> {
        let at = self.index.remove(name)?;
        let pos = self.sections[at].pos;
        Some(std::mem::replace(&mut self.sections[at], Section::new("", pos)))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|s| s.name.as_str()).filter(|n| !n.is_empty())
    }
}

/// One reading of an area: what its files have in common.
pub(super) struct Session<'w> {
    pub(super) world: &'w dyn World,
    /// The area's directory, absolute.
    pub(super) area: String,
    pub(super) sources: Sources,
    pub(super) complaints: Complaints,
    /// What `getenv` and commands see.
    pub(super) env: BTreeMap<String, String>,
    /// `a/b/c`, if there is one.
    pub(super) target: Option<String>,
    pub(super) run_name: Option<String>,
    /// Where commands stand that were not run, because the area is only looked at.
    pub(super) not_run: Vec<Pos>,
    /// Comments in which Megatest would run something.
    pub(super) in_comments: Vec<Pos>,
    /// Where `rget` stands outside of runconfigs.
    pub(super) rget_elsewhere: Vec<Pos>,
    /// Sections of runconfigs with more than one `%`.
    pub(super) several_wildcards: Vec<Pos>,
    files: usize,
    bytes: usize,
    commands: usize,
    /// There were too many includes; no more are read, so that the one error is not told ten thousand times.
    full: bool,
}

impl<'w> Session<'w> {
    pub(super) fn new(world: &'w dyn World, area: &str, env: BTreeMap<String, String>) -> Self {
        Self {
            world,
            area: area.trim_end_matches('/').to_owned(),
            sources: Sources::default(),
            complaints: Complaints::default(),
            env,
            target: None,
            run_name: None,
            not_run: Vec::new(),
            in_comments: Vec::new(),
            rget_elsewhere: Vec::new(),
            several_wildcards: Vec::new(),
            files: 0,
            bytes: 0,
            commands: 0,
            full: false,
        }
    }

    /// Forgets what was complained of: a file is read a second time.
    pub(super) fn forget_complaints(&mut self) {
        self.full = false;
        self.complaints = Complaints::default();
        self.not_run.clear();
        self.in_comments.clear();
        self.rget_elsewhere.clear();
        self.several_wildcards.clear();
    }

    /// The text of a file, without the mark that some editors begin theirs with.
    fn text(&self, path: &str) -> std::io::Result<String> {
        let text = self.world.text(path)?;
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }

    /// Runs a command, with more variables than it has anyway. `None` where it was not run to its end,
    /// which has been told.
    pub(super) fn run(&mut self, line: &str, pos: Pos, more: &BTreeMap<String, String>) -> Option<Printed> {
        self.commands += 1;
        if self.commands > COMMANDS_MAX {
            if self.commands == COMMANDS_MAX + 1 {
                self.complaints
                    .error(pos, format!("more than {COMMANDS_MAX} commands are run to read this area"));
            }
            return None;
        }
        let mut env = self.env.clone();
        env.extend(more.iter().map(|(k, v)| (k.clone(), v.clone())));
        match self.world.shell(line, &self.area, &env) {
            Ok(printed) => Some(printed),
            Err(why) => {
                expand::refuse(self, &why, pos);
                None
            }
        }
    }

    /// The name of a file for people: relative to the area, where it is in it.
    fn shown(&self, path: &str) -> String {
        let inside = path.strip_prefix(&self.area).and_then(|rest| rest.strip_prefix('/'));
        inside.unwrap_or(path).to_owned()
    }

    /// Takes in a text, if there may be another one. `None`: this has been told, or will be at `from`.
    fn add(&mut self, name: &str, text: &str, from: Option<Pos>) -> Option<u16> {
        self.files += 1;
        self.bytes += text.len();
        let full = self.files > FILES_MAX || self.bytes > BYTES_MAX;
        let number = if full { None } else { self.sources.add(name, text) };
        if number.is_none() && !std::mem::replace(&mut self.full, true) {
            let pos = from.unwrap_or_default();
            self.complaints.error(pos, "the files of this area and what they include are too much to read");
        }
        number
    }
}

/// Which file is read.
pub(super) enum What<'a> {
    /// `megatest.config`; runconfigs where they have been read.
    Main { runconfigs: Option<&'a Table> },
    /// `runconfigs.config`
    Runconfigs,
    /// The same, only for the names of its sections.
    List,
    /// A `testconfig`.
    Test { runconfigs: &'a Table },
}

/// What reads a file.
pub(super) struct Reader<'s, 'w> {
    pub(super) session: &'s mut Session<'w>,
    pub(super) table: Table,
    pub(super) what: What<'s>,
    section: String,
    trim: bool,
    /// A key was just read that lines with leading blanks continue, with the indent of the first of them.
    continues: Option<Option<usize>>,
    /// Files that are being read, outermost first.
    open: Vec<String>,
    /// Variables that only an item knows.
    pub(super) item_vars: HashSet<String>,
}

/// Reads a file and what it includes. `None` where it is not there or cannot be read.
///
/// # Errors
/// What the system said.
pub(super) fn read(session: &mut Session<'_>, path: &str, what: What<'_>) -> std::io::Result<Table> {
    let text = session.text(path)?;
    let mut reader = Reader {
        session,
        table: Table::default(),
        what,
        section: DEFAULT.to_owned(),
        trim: false,
        continues: None,
        open: vec![path.to_owned()],
        item_vars: HashSet::new(),
    };
    if let What::Test { .. } = reader.what {
        reader.item_vars = item_vars(&text);
    }
    if let What::Runconfigs = reader.what {
        runconfigs::prepare(&mut reader);
    }
    let name = reader.session.shown(path);
    if let Some(source) = reader.session.add(&name, &text, None) {
        reader.table.pos = Pos { source, start: 0, end: 0 };
        reader.text(&text, source);
    }
    reader.leave_section();
    Ok(reader.table)
}

/// The variables of the items that a `testconfig` lists: they may stand behind where they are used.
fn item_vars(text: &str) -> HashSet<String> {
    let (mut vars, mut inside) = (HashSet::new(), false);
    for line in joined(text) {
        match classify(&line.text) {
            Line::Section(name) => inside = matches!(name, "items" | "itemstable"),
            Line::Value { key, .. } | Line::System { key, .. } if inside => {
                vars.insert(key.to_owned());
            }
            _ => {}
        }
    }
    vars
}

impl Reader<'_, '_> {
    /// The section that is being read.
    pub(super) fn section(&self) -> &str {
        &self.section
    }

    fn text(&mut self, text: &str, source: u16) {
        for line in joined(text) {
            self.line(&line, source);
        }
    }

    fn line(&mut self, line: &Joined, source: u16) {
        let at = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let pos = Pos { source, start: at(line.start), end: at(line.end) };
        if line.text.len() > LINE_BYTES_MAX {
            self.session.complaints.error(pos, format!("this line is longer than {LINE_BYTES_MAX} bytes"));
            return;
        }
        let raw = line.text.as_str();
        let is_comment = matches!(classify(raw), Line::Comment) && !expand::begins_with_function(raw);
        if is_comment {
            if expand::runs_in_comment(raw) {
                self.session.in_comments.push(pos);
            }
            self.continues = None;
            return;
        }
        // What stands in a section that is for another target is neither run nor complained of.
        let is_header = matches!(classify(raw), Line::Section(_));
        let expanded = if is_header || self.matters() {
            self.expand(raw, pos)
        } else {
            Expanded { text: raw.to_owned(), has_unknown: raw.contains("#{") }
        };
        self.expanded(&expanded, pos);
    }

    fn expanded(&mut self, line: &Expanded, pos: Pos) {
        let written = if line.has_unknown { Written::Unknown } else { Written::Known };
        let was_continuing = self.continues.take();
        match classify(&line.text) {
            Line::Comment | Line::Blank => {}
            Line::Setting { name, value } => match name {
                "trim-trailing-spaces" => self.trim = value == "yes",
                _ => {
                    let message = format!("Megatest knows no setting `{name}`");
                    self.session.complaints.warning(pos, message).hint("`trim-trailing-spaces yes` is one");
                }
            },
            Line::Include(path) => self.include(path, line.has_unknown, pos),
            Line::ScriptInclude(command) => self.script(command, line.has_unknown, pos),
            Line::Section(name) => {
                self.leave_section();
                self.section = name.to_owned();
                self.table.open(name, pos);
                runconfigs::begin(self, pos);
            }
            Line::System { key, command } => self.system(key, command, written, pos),
            Line::Value { key, value } => {
                let value = if self.trim { value.trim_end() } else { value };
                self.set(key, value.to_owned(), written, pos);
            }
            Line::Continuation(text) => match was_continuing {
                Some(indent) => self.continuation(text, indent, line.has_unknown, pos),
                None => {
                    self.session
                        .complaints
                        .warning(pos, "this line begins with a blank and continues nothing; it is left out")
                        .hint("a key begins its line");
                }
            },
        }
    }

    fn set(&mut self, key: &str, value: String, written: Written, pos: Pos) {
        let entry = Entry { key: key.to_owned(), value, pos, written };
        self.table.open(&self.section, pos).set(entry);
        self.continues = Some(None);
    }

    fn continuation(&mut self, text: &str, indent: Option<usize>, has_unknown: bool, pos: Pos) {
        let blanks = text.len() - text.trim_start_matches([' ', '\t']).len();
        // The first line's indent is taken off all; what goes deeper keeps the rest of its own.
        let indent = indent.unwrap_or(blanks);
        let text = &text[indent.min(blanks)..];
        let text = if self.trim { text.trim_end() } else { text };
        self.continues = Some(Some(indent));
        let Some(entry) = self.table.open(&self.section, pos).last() else { return };
        if entry.value.len() + text.len() > LINE_BYTES_MAX {
            self.session.complaints.error(pos, "this value is too long");
            return;
        }
        entry.value.push('\n');
        entry.value.push_str(text);
        entry.pos.end = entry.pos.end.max(if entry.pos.source == pos.source { pos.end } else { 0 });
        if has_unknown && entry.written == Written::Known {
            entry.written = Written::Unknown;
        }
    }

    fn system(&mut self, key: &str, command: &str, written: Written, pos: Pos) {
        let is_items = matches!(self.section.as_str(), "items" | "itemstable");
        if matches!(self.what, What::Test { .. }) && is_items && written == Written::Known {
            // Asked when the test's prerequisites have ended, which may make what it prints.
            self.set(key, format!("[system {command}]"), Written::Lazy(command.to_owned()), pos);
            return;
        }
        let printed = match (&written, self.matters()) {
            (Written::Known, true) => {
                let more = self.section_vars();
                self.session.run(command, pos, &more)
            }
            _ => None,
        };
        match printed {
            Some(printed) => self.set(key, expand::on_one_line(&printed.text), Written::Known, pos),
            None => self.set(key, format!("[system {command}]"), Written::Unknown, pos),
        }
    }

    /// The variables of section `default` and of this one.
    fn section_vars(&self) -> BTreeMap<String, String> {
        let known = |section: &str| {
            let entries = self.table.entries(section).filter(|e| e.is_known());
            entries.map(|e| (e.key.clone(), e.value.clone())).collect::<Vec<_>>()
        };
        known(DEFAULT).into_iter().chain(known(&self.section)).collect()
    }

    fn include(&mut self, path: &str, has_unknown: bool, pos: Pos) {
        if has_unknown {
            self.session.complaints.warning(pos, "what is included here is not known, so it is left out");
            return;
        }
        let from = self.open.last().map_or("", String::as_str);
        let dir = from.rsplit_once('/').map_or("", |(dir, _)| dir);
        let path = tidy_path(&if path.starts_with('/') { path.to_owned() } else { format!("{dir}/{path}") });
        if self.open.contains(&path) {
            let message = format!("`{}` includes itself", self.session.shown(&path));
            let way: Vec<String> = self.open.iter().map(|p| self.session.shown(p)).collect();
            self.session.complaints.error(pos, message).hint(way.join(" → "));
            return;
        }
        if self.session.full {
            return;
        }
        if self.open.len() > INCLUDE_DEPTH_MAX {
            self.session.full = true;
            self.session.complaints.error(pos, "files include files too deeply");
            return;
        }
        match self.session.text(&path) {
            Ok(text) => {
                let name = self.session.shown(&path);
                if let Some(source) = self.session.add(&name, &text, Some(pos)) {
                    self.open.push(path);
                    self.text(&text, source);
                    self.open.pop();
                }
            }
            Err(e) => {
                let message = format!("`{}` cannot be read, so it is left out", self.session.shown(&path));
                self.session.complaints.warning(pos, message).cause(e.to_string());
            }
        }
    }

    fn script(&mut self, command: &str, has_unknown: bool, pos: Pos) {
        if !self.matters() {
            return;
        }
        let more = self.section_vars();
        let printed = if has_unknown { None } else { self.session.run(command, pos, &more) };
        let Some(printed) = printed else { return };
        if printed.status != 0 {
            let message =
                format!("this script ended with exit code {}; what it printed is left out", printed.status);
            self.session.complaints.error(pos, message);
            return;
        }
        if let Some(source) = self.session.add(&format!("[scriptinc {command}]"), &printed.text, Some(pos)) {
            self.text(&printed.text, source);
        }
    }

    /// Whether values of this section are used: runconfigs are for one target at a time.
    fn matters(&self) -> bool {
        match self.what {
            What::Runconfigs => runconfigs::matters(&self.section, self.session.target.as_deref()),
            What::Main { .. } | What::Test { .. } => true,
            What::List => false,
        }
    }

    fn leave_section(&mut self) {
        if let What::Runconfigs = self.what {
            let section = std::mem::take(&mut self.section);
            runconfigs::end(self, &section);
        }
    }
}
