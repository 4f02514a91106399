//! Guards against expressions that are cheap to write and dear to parse or evaluate.

use super::{Expr, ExprError, ExprErrorKind};
use cel::common::ast::{EntryExpr, Expr as Node, IdedExpr};

/// How deep the parser and the interpreter may recurse: an open bracket weighs 2, each
/// arithmetic or comparing operator before it 1.
// Limit: in a debug build one unit of weight takes 65 KiB of stack; threads have 2 MiB.
const WEIGHT_MAX: usize = 16;

/// Prefix operators in a row, and conditional operators in all.
const PREFIXES_MAX: usize = 16;

/// Operators of all kinds.
const OPERATORS_MAX: usize = 200;

/// Macros within macros: two nested loops over a text of 2,048 bytes stay below a second.
const LOOPS_MAX: usize = 2;

/// Looks at the text before the parser sees it, because the parser recurses on what it reads.
pub(super) fn check_text(text: &str) -> Result<(), ExprError> {
    let error = |kind, at| Err(ExprError { kind, at, hint: None });
    if text.len() > Expr::BYTES_MAX {
        return error(ExprErrorKind::TooLong(text.len()), 0);
    }
    if text.trim().is_empty() {
        return error(ExprErrorKind::Empty, 0);
    }
    let mut depth = Depth::default();
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        if matches!(bytes[i], b'"' | b'\'') {
            i = string_end(bytes, i);
            depth.prefixes = 0;
            continue;
        }
        depth.read(bytes, i);
        if depth.is_too_deep() {
            let at = (0..=i).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            return error(ExprErrorKind::TooDeep, at);
        }
        i += 1;
    }
    Ok(())
}

/// What is open at one place of the text.
#[derive(Default)]
struct Depth {
    /// Weight of everything open.
    weight: usize,
    /// Part of it since the last bracket, comma or logical operator.
    chain: usize,
    /// The chains that were interrupted by the open brackets.
    outer: Vec<usize>,
    prefixes: usize,
    conditionals: usize,
    operators: usize,
}

impl Depth {
    fn read(&mut self, bytes: &[u8], i: usize) {
        let b = bytes[i];
        match b {
            b'!' | b'-' => self.prefixes += 1,
            b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => self.prefixes = 0,
        }
        match b {
            b'(' | b'[' | b'{' => {
                self.outer.push(self.chain);
                self.chain = 0;
                self.weight += 2;
            }
            b')' | b']' | b'}' => {
                self.end_chain();
                if let Some(outer) = self.outer.pop() {
                    self.chain = outer;
                    self.weight -= 2;
                }
            }
            // The second sign of `==` and `<=` is not another operator.
            b'=' if i > 0 && matches!(bytes[i - 1], b'=' | b'<' | b'>') => {}
            b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' => {
                self.operators += 1;
                self.chain += 1;
                self.weight += 1;
            }
            b'i' if bytes[i..].starts_with(b"in") && (i == 0 || !bytes[i - 1].is_ascii_alphanumeric()) => {
                self.operators += 1;
            }
            b'&' | b'|' | b',' | b':' | b'?' => {
                self.end_chain();
                self.operators += 1;
                self.conditionals += usize::from(b == b'?');
            }
            b'.' | b'!' => self.operators += 1,
            _ => {}
        }
    }

    fn end_chain(&mut self) {
        self.weight -= self.chain;
        self.chain = 0;
    }

    fn is_too_deep(&self) -> bool {
        self.weight > WEIGHT_MAX
            || self.prefixes > PREFIXES_MAX
            || self.conditionals > PREFIXES_MAX
            || self.operators > OPERATORS_MAX
    }
}

/// The byte after a literal that begins at `start`; the end of the text where it is not closed.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let long = bytes[start..].starts_with(&[quote, quote, quote]);
    let mut i = start + if long { 3 } else { 1 };
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 1,
            b if b == quote && !long => return i + 1,
            b if b == quote && bytes[i..].starts_with(&[quote, quote, quote]) => return i + 3,
            _ => {}
        }
        i += 1;
    }
    bytes.len()
}

/// Looks at the tree for loops within loops.
pub(super) fn check_tree(root: &IdedExpr, offset: &dyn Fn(u64) -> usize) -> Result<(), ExprError> {
    let mut todo = vec![(root, 0usize)];
    while let Some((node, loops)) = todo.pop() {
        match &node.expr {
            Node::Unspecified | Node::Ident(_) | Node::Literal(_) => {}
            Node::Call(call) => {
                todo.extend(call.target.as_deref().into_iter().chain(&call.args).map(|n| (n, loops)));
            }
            Node::Comprehension(c) => {
                if loops == LOOPS_MAX {
                    return Err(ExprError { kind: ExprErrorKind::TooDeep, at: offset(node.id), hint: None });
                }
                todo.extend([(&c.iter_range, loops), (&c.accu_init, loops)]);
                todo.extend([&c.loop_cond, &c.loop_step, &c.result].map(|n| (n, loops + 1)));
            }
            Node::List(list) => todo.extend(list.elements.iter().map(|n| (n, loops))),
            Node::Select(select) => todo.push((&select.operand, loops)),
            Node::Map(map) => push_entries(&mut todo, map.entries.iter().map(|e| &e.expr), loops),
            Node::Struct(s) => push_entries(&mut todo, s.entries.iter().map(|e| &e.expr), loops),
        }
    }
    Ok(())
}

fn push_entries<'a>(
    todo: &mut Vec<(&'a IdedExpr, usize)>,
    entries: impl Iterator<Item = &'a EntryExpr>,
    loops: usize,
) {
    for entry in entries {
        match entry {
            EntryExpr::StructField(field) => todo.push((&field.value, loops)),
            EntryExpr::MapEntry(entry) => todo.extend([(&entry.key, loops), (&entry.value, loops)]),
        }
    }
}
