//! Reads the texts: files with their includes, the environment, flags.

use super::decode::{Cx, Decode as _, Node, Section as _, printable};
use super::error::Complaints;
use super::file::File;
use super::source::{ENVIRONMENT, Pos, Sources};
use super::{Layer, LayerKind, LoadContext};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Files that include files.
// Limit: far more than anybody needs; a circle is found before.
const INCLUDE_DEPTH_MAX: usize = 16;

/// Longest text.
// Limit: places are 32-bit.
const TEXT_BYTES_MAX: usize = 256 << 20;

// Limit: of a text that is not TOML the first errors tell what is wrong, the others follow from them.
const SYNTAX_ERRORS_MAX: usize = 5;

/// Everything that was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) sources: Sources,
    /// Each kind's files, later ones win.
    pub(super) user: Vec<File>,
    pub(super) project: Vec<File>,
    /// The environment first, then flags.
    pub(super) above: Vec<File>,
}

/// The environment's variables and the keys they stand for.
const VARIABLES: [(&str, &str, &str); 6] = [
    ("MUSTER_JOBS", "limits", "jobs"),
    ("MUSTER_LOAD", "limits", "load"),
    ("MUSTER_DISK_FREE", "limits", "disk-free"),
    ("MUSTER_RUN_TIMEOUT", "limits", "run-timeout"),
    ("MUSTER_TEST_TIMEOUT", "override", "timeout"),
    ("MUSTER_TEST_RETRIES", "override", "retries"),
];

/// Reads every layer.
pub(super) fn read(layers: &[Layer<'_>], context: &LoadContext<'_>, complaints: &mut Complaints) -> Read {
    let mut read = Read::default();
    let of_kind = |kind| layers.iter().filter(move |l| l.kind == kind);
    for layer in of_kind(LayerKind::User) {
        let file = parse(&mut read.sources, layer, complaints);
        read.user.extend(file);
    }
    for layer in of_kind(LayerKind::Project) {
        project(&mut read, layer, &mut Vec::new(), context, complaints);
    }
    environment(&mut read, context, complaints);
    for layer in of_kind(LayerKind::Flag) {
        let file = parse(&mut read.sources, layer, complaints);
        if let Some(file) = &file {
            flag(file, complaints);
        }
        read.above.extend(file);
    }
    if read.sources.is_empty() {
        // Complaints need a text to point at.
        read.sources.add("muster.toml", "");
    }
    read
}

fn project(
    read: &mut Read,
    layer: &Layer<'_>,
    including: &mut Vec<String>,
    context: &LoadContext<'_>,
    complaints: &mut Complaints,
) {
    let Some(mut file) = parse(&mut read.sources, layer, complaints) else { return };
    if let Some(overrides) = &file.overrides {
        let complaint = complaints.error(overrides.pos, "`override` is for flags");
        complaint.hint("`[defaults]` holds where a test says nothing itself");
    }
    including.push(layer.name.to_owned());
    for include in file.include.take().iter().flat_map(|i| &i.value) {
        if including.contains(&include.value) || including.len() > INCLUDE_DEPTH_MAX {
            let message = format!("`{}` includes itself", printable(&include.value));
            complaints.error(include.pos, message).hint(including.join(" → "));
            continue;
        }
        match context.files.text(&include.value) {
            Ok(text) => {
                let inner = Layer { name: &include.value, text: &text, kind: LayerKind::Project };
                project(read, &inner, including, context, complaints);
            }
            Err(e) => {
                let message = format!("`{}` cannot be read", printable(&include.value));
                complaints.error(include.pos, message).cause(e.to_string());
            }
        }
    }
    including.pop();
    read.project.push(file);
}

fn flag(file: &File, complaints: &mut Complaints) {
    let File {
        include,
        area: _,
        vars: _,
        env: _,
        target,
        limits: _,
        defaults: _,
        overrides: _,
        test,
        suite,
        expect,
        records: _,
    } = file;
    let places = [
        include.as_ref().map(|a| a.pos),
        target.as_ref().map(|a| a.pos),
        test.as_ref().map(|a| a.pos),
        suite.as_ref().map(|a| a.pos),
        expect.as_ref().map(|a| a.pos),
    ];
    for pos in places.into_iter().flatten() {
        let hint = "a flag may set `limits`, `defaults`, `override`, `records`, `vars`, `env` and `area`";
        complaints.error(pos, "a flag cannot say this").hint(hint);
    }
}

/// Parses one text; `None` where it could not be understood at all.
fn parse(sources: &mut Sources, layer: &Layer<'_>, complaints: &mut Complaints) -> Option<File> {
    parse_text(sources, layer.name, layer.text, complaints, |node, cx| {
        if layer.kind != LayerKind::User {
            return File::decode(node, cx);
        }
        let mut file = File::default();
        let table = node.get_ref().as_table().into_iter().flat_map(|t| t.iter());
        for (key, value) in table.filter(|(k, _)| matches!(k.get_ref().as_ref(), "limits" | "defaults")) {
            file.accept(key.get_ref(), value, cx);
        }
        Some(file)
    })
}

/// Parses a text and reads its tree; `None` where it could not be understood at all.
pub(super) fn parse_text<T>(
    sources: &mut Sources,
    name: &str,
    text: &str,
    complaints: &mut Complaints,
    read: impl FnOnce(&Node<'_>, &mut Cx<'_>) -> Option<T>,
) -> Option<T> {
    if text.len() > TEXT_BYTES_MAX {
        let source = sources.add(name, "")?;
        complaints.error(Pos { source, start: 0, end: 0 }, "the file is too large");
        return None;
    }
    // An editor's line ends are not part of what is written: a shell would take `\r` for a character.
    let text = &*text.replace("\r\n", "\n");
    let Some(source) = sources.add(name, text) else {
        complaints.error(Pos::default(), format!("`{}` is one file too many", printable(name)));
        return None;
    };
    // A byte order mark is no part of the text, but places count it.
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(SYNTAX_ERRORS_MAX) {
        let span = error.span().unwrap_or(0..0);
        let at = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let pos = Pos { source, start: at(span.start), end: at(span.end) };
        let complaint = complaints.error(pos, format!("not TOML: {}", error.message().trim_end()));
        complaint.maybe_hint(toml_hint(error.message()));
    }
    if !errors.is_empty() {
        return None;
    }
    let mut cx = Cx { source, complaints, table: String::new() };
    read(&Spanned::new(0..text.len(), DeValue::Table(tree.into_inner())), &mut cx)
}

fn toml_hint(message: &str) -> Option<String> {
    let hint = if message.contains("duplicate key") {
        "each key and each table may be there once"
    } else if message.contains("string values must be quoted") {
        "texts are written in quotes"
    } else {
        return None;
    };
    Some(hint.into())
}

fn environment(read: &mut Read, context: &LoadContext<'_>, complaints: &mut Complaints) {
    let mut text = String::new();
    let mut values = Vec::new();
    for (variable, table, key) in VARIABLES {
        let Some(value) = context.process_env.get(variable).filter(|v| !v.is_empty()) else { continue };
        let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(variable);
        text.push('=');
        let start = text.len();
        text.push_str(&value);
        values.push((table, key, value, start..text.len()));
        text.push('\n');
    }
    let Some(source) = (!values.is_empty()).then(|| read.sources.add(ENVIRONMENT, &text)).flatten() else {
        return;
    };
    let mut file = File::default();
    let mut cx = Cx { source, complaints, table: String::new() };
    for (table, key, value, span) in values {
        // Numbers are numbers, everything else is a text.
        let parsed = DeValue::parse(&value).ok().map(Spanned::into_inner);
        let number = parsed.filter(|v| v.is_integer() || v.is_float());
        let value = number.unwrap_or_else(|| DeValue::String(value.as_str().into()));
        let node: Node<'_> = Spanned::new(span.clone(), value);
        let pos = cx.pos(&node);
        if table == "limits" {
            file.limits.get_or_insert_with(|| super::source::At { value: Default::default(), pos });
            let limits = file.limits.as_mut().map(|l| &mut l.value);
            limits.map(|l| l.accept(key, &node, &mut cx));
        } else {
            file.overrides.get_or_insert_with(|| super::source::At { value: Default::default(), pos });
            let overrides = file.overrides.as_mut().map(|o| &mut o.value);
            overrides.map(|o| o.accept(key, &node, &mut cx));
        }
    }
    read.above.push(file);
}
