//! Conditions: CEL expressions over facts, and expressions over tags.
//!
//! One language everywhere (`skip-when`, expectations, tags, later rules and selectors). An expression is
//! parsed once, checked against the facts it will meet, and evaluated to true or false; it has no other
//! results. Names and functions nobody knows are errors with a suggestion, not quiet falsehoods.
//!
//! What is deliberately absent: time, randomness, reading files. Whoever evaluates says all facts.

mod facts;
mod limits;
mod tags;

pub use facts::{Fact, Facts};
pub use tags::TagExpr;

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr as Node, IdedExpr, LiteralValue, SelectExpr};
use cel::{Context, Env, ExecutionError, Program, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

/// The standard environment, built once: building it costs more than evaluating most expressions.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// Functions an expression may call, beside operators and the macros, which are gone after parsing.
const FUNCTIONS: [&str; 12] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "type",
    "dyn",
    "env",
];

/// A parsed condition. Printed, compared and stored as its text.
#[derive(Clone)]
pub struct Expr {
    text: Arc<str>,
    program: Arc<Program>,
}

/// Why an expression cannot be used, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ExprError {
    /// What is wrong.
    pub kind: ExprErrorKind,
    /// Byte offset in the expression's text; always on a character boundary.
    pub at: usize,
    /// What would be right, where something near is known.
    pub hint: Option<String>,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExprErrorKind {
    /// There is nothing in it.
    #[error("the expression is empty")]
    Empty,
    /// It is longer than [`Expr::BYTES_MAX`].
    #[error("the expression has {0} bytes, more than the {max} allowed", max = Expr::BYTES_MAX)]
    TooLong(usize),
    /// Brackets, operators or macros are nested more deeply than is sensible.
    #[error("the expression is nested too deeply")]
    TooDeep,
    /// It is not CEL.
    #[error("{0}")]
    Syntax(String),
    /// A name no fact has.
    #[error("unknown name `{0}`")]
    UnknownName(String),
    /// A key a map of facts does not have.
    #[error("`{map}` has no `{key}`")]
    UnknownKey {
        /// The map's name.
        map: String,
        /// The key.
        key: String,
    },
    /// A function nobody has defined.
    #[error("unknown function `{0}`")]
    UnknownFunction(String),
    /// It came to something that is neither true nor false.
    #[error("the result is a value of type {0}, neither true nor false")]
    NotBool(String),
    /// It went wrong while it was evaluated: types that do not fit, a missing key, overflow.
    #[error("{0}")]
    Evaluation(String),
    /// What may stand in a tag expression is less than CEL.
    #[error("{0} has no meaning in a tag expression")]
    NotATagExpression(&'static str),
    /// A bug in the expression library, caught.
    #[error("the expression makes the interpreter fail")]
    Interpreter,
}

impl Expr {
    /// Longest text accepted, in bytes.
    // Limit: together with the depth limits it bounds what one evaluation can cost.
    pub const BYTES_MAX: usize = 2048;

    /// Parses an expression. Names are not looked up yet: see [`Self::check`].
    ///
    /// # Errors
    /// It is empty, too long, nested too deeply, not CEL, or calls a function nobody has defined.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        limits::check_text(text)?;
        let program = compile(text)?;
        limits::check_tree(program.expression(), &|id| offset(&program, text, id))?;
        let expr = Self { text: text.into(), program: Arc::new(program) };
        Walk { expr: &expr, facts: None, bound: Vec::new() }.node(expr.program.expression())?;
        Ok(expr)
    }

    /// The text it was parsed from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether every name it uses is known.
    ///
    /// # Errors
    /// A name or a key that `facts` do not have, with the nearest that they have.
    pub fn check(&self, facts: &Facts) -> Result<(), ExprError> {
        Walk { expr: self, facts: Some(facts), bound: Vec::new() }.node(self.program.expression())
    }

    /// Evaluates it. Never panics.
    ///
    /// # Errors
    /// As [`Self::check`]; and when types do not fit or the result is not a boolean.
    pub fn eval_bool(&self, facts: &Facts) -> Result<bool, ExprError> {
        self.check(facts)?;
        let at_start = |kind| ExprError { kind, at: 0, hint: None };
        let value = guarded(|| {
            let mut context = Context::with_env(ENV.clone());
            for name in self.program.references().variables() {
                if let Some(fact) = facts.get(name) {
                    context.add_variable_from_value(name, fact.to_value());
                }
            }
            if self.program.references().has_function("env") {
                let env = facts.env_shared();
                // The standard library has no function of this name, so adding it cannot fail.
                drop(context.add_function("env", move |name: Arc<String>| -> String {
                    env.get(name.as_str()).cloned().unwrap_or_default()
                }));
            }
            self.program.execute(&context)
        })
        .ok_or_else(|| at_start(ExprErrorKind::Interpreter))?
        .map_err(|e| at_start(ExprErrorKind::Evaluation(evaluation_message(&e))))?;
        match value {
            Value::Bool(b) => Ok(b),
            other => Err(at_start(ExprErrorKind::NotBool(other.type_of().to_string()))),
        }
    }
}

/// Runs code of the expression library; `None` if it panicked.
fn guarded<T>(f: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}

fn compile(text: &str) -> Result<Program, ExprError> {
    let interpreter = ExprError { kind: ExprErrorKind::Interpreter, at: 0, hint: None };
    guarded(|| Program::compile(text)).ok_or(interpreter)?.map_err(|errors| {
        let first = errors.errors.into_iter().min_by_key(|e| e.pos);
        let (pos, message) = first.map_or(((0, 0), String::new()), |e| (e.pos, e.msg));
        let hint = syntax_hint(text);
        let kind = ExprErrorKind::Syntax(syntax_message(&message));
        ExprError { kind, at: byte_of_line_col(text, pos), hint }
    })
}

/// ANTLR lists every token it could have read; nobody wants that list.
fn syntax_message(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    if message.contains("ParseError {") || message == "UNKNOWN" {
        return "not a CEL expression".into();
    }
    let message = message.split(" expecting {").next().unwrap_or(message);
    let message = message.replace("'<EOF>'", "end of the expression").replace("<EOF>", "its end");
    if message.is_empty() {
        "not a CEL expression".into()
    } else {
        format!("not a CEL expression: {}", message.trim_end())
    }
}

/// Habits from other languages that CEL spells differently.
fn syntax_hint(text: &str) -> Option<String> {
    let has_word = |w: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|t| t == w);
    if has_word("and") || has_word("or") || has_word("not") {
        return Some("write `&&`, `||` and `!` for and, or and not".into());
    }
    let single = text
        .as_bytes()
        .windows(3)
        .any(|w| w[1] == b'=' && !matches!(w[0], b'=' | b'!' | b'<' | b'>') && w[2] != b'=');
    single.then(|| "equality is written `==`".into())
}

/// The byte that a 1-based line and a 0- or 1-based column of the parser mean, as near as can be.
fn byte_of_line_col(text: &str, (line, col): (isize, isize)) -> usize {
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let col = usize::try_from(col).unwrap_or(0).saturating_sub(1);
    let rest = text.get(start..).unwrap_or("");
    start + rest.char_indices().nth(col).map_or(rest.len(), |(i, _)| i)
}

/// Where a node was written.
fn offset(program: &Program, text: &str, id: u64) -> usize {
    let at = program.source_info().offset_for(id).map_or(0, |(start, _)| start as usize);
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn evaluation_message(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("there is no key `{key}`"),
        ExecutionError::NoSuchOverload(o) => {
            let name = o.function().trim_matches('_').trim_start_matches('@');
            format!("`{name}` cannot be applied to ({})", o.argument_types().join(", "))
        }
        ExecutionError::UnexpectedType { got, want } => format!("a {got} stands where a {want} is needed"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".into(),
        ExecutionError::Overflow(..) => "a number is too large".into(),
        ExecutionError::IndexOutOfBounds(_) => "an index is outside its list".into(),
        other => {
            let mut text = other.to_string();
            if let Some((end, _)) = text.char_indices().nth(200) {
                text.truncate(end);
                text.push('…');
            }
            text
        }
    }
}

/// The nearest of `known`, as a hint.
fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let scored = known.into_iter().map(|k| (strsim::jaro_winkler(wrong, k), k)).filter(|(s, _)| *s > 0.8);
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, k)| format!("did you mean `{k}`?"))
}

/// Looks names up over the whole tree, variables of macros aside.
struct Walk<'a> {
    expr: &'a Expr,
    facts: Option<&'a Facts>,
    bound: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn error(&self, id: u64, kind: ExprErrorKind, hint: Option<String>) -> ExprError {
        ExprError { kind, at: offset(&self.expr.program, &self.expr.text, id), hint }
    }

    fn node(&mut self, node: &'a IdedExpr) -> Result<(), ExprError> {
        match &node.expr {
            Node::Unspecified | Node::Literal(_) => Ok(()),
            Node::Ident(name) => self.name(node.id, name),
            Node::Call(call) => {
                let written = call.func_name.starts_with(|c: char| c.is_alphabetic());
                if written && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    let hint =
                        nearest(&call.func_name, FUNCTIONS.into_iter().chain(["has", "exists", "all"]));
                    return Err(self.error(
                        node.id,
                        ExprErrorKind::UnknownFunction(call.func_name.clone()),
                        hint,
                    ));
                }
                call.target.as_deref().into_iter().chain(&call.args).try_for_each(|n| self.node(n))
            }
            Node::Comprehension(c) => self.comprehension(c),
            Node::List(list) => list.elements.iter().try_for_each(|n| self.node(n)),
            Node::Map(map) => self.entries(map.entries.iter().map(|e| &e.expr)),
            Node::Struct(s) => self.entries(s.entries.iter().map(|e| &e.expr)),
            Node::Select(select) => {
                self.select(node.id, select)?;
                self.node(&select.operand)
            }
        }
    }

    fn entries(&mut self, entries: impl Iterator<Item = &'a EntryExpr>) -> Result<(), ExprError> {
        for entry in entries {
            match entry {
                EntryExpr::StructField(field) => self.node(&field.value)?,
                EntryExpr::MapEntry(entry) => {
                    self.node(&entry.key)?;
                    self.node(&entry.value)?;
                }
            }
        }
        Ok(())
    }

    fn comprehension(&mut self, c: &'a ComprehensionExpr) -> Result<(), ExprError> {
        self.node(&c.iter_range)?;
        self.node(&c.accu_init)?;
        let depth = self.bound.len();
        self.bound.extend([c.iter_var.as_str(), c.accu_var.as_str()]);
        self.bound.extend(c.iter_var2.as_deref());
        self.node(&c.loop_cond)?;
        self.node(&c.loop_step)?;
        self.node(&c.result)?;
        self.bound.truncate(depth);
        Ok(())
    }

    fn name(&self, id: u64, name: &str) -> Result<(), ExprError> {
        // Type names are values in CEL: `type(x) == string`.
        const TYPES: [&str; 10] =
            ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"];
        let Some(facts) = self.facts else { return Ok(()) };
        let known = facts.get(name).is_some() || self.bound.contains(&name) || name.starts_with('@');
        if known || TYPES.contains(&name) {
            return Ok(());
        }
        let hint = nearest(name, facts.names()).or_else(|| {
            let looks_like_text = self.facts.is_some() && !name.is_empty();
            looks_like_text
                .then(|| format!("a text is written `\"{name}\"`; known names: {}", facts.listing()))
        });
        Err(self.error(id, ExprErrorKind::UnknownName(name.into()), hint))
    }

    fn select(&self, id: u64, select: &SelectExpr) -> Result<(), ExprError> {
        let (Some(facts), Node::Ident(map), false) = (self.facts, &select.operand.expr, select.test) else {
            return Ok(());
        };
        let Some(Fact::Map(known)) = facts.get(map).filter(|_| !self.bound.contains(&map.as_str())) else {
            return Ok(());
        };
        if known.contains_key(&select.field) {
            return Ok(());
        }
        let kind = ExprErrorKind::UnknownKey { map: map.clone(), key: select.field.clone() };
        Err(self.error(id, kind, nearest(&select.field, known.keys().map(String::as_str))))
    }
}

/// The text of a literal string.
fn literal_text(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Node::Literal(LiteralValue::String(s)) => Some(s.inner()),
        _ => None,
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expr").field(&self.text).finish()
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expr {}

impl Serialize for Expr {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Expr {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
