//! The Scheme that stands in `#{scheme …}` of real areas: a handful of functions over texts, numbers and
//! lists. What is not among them is told, never guessed.

use super::sexpr::{self, Datum};

/// How deep expressions may be.
// Limit: what people write has five levels; the stack has room for many times this.
const DEPTH_MAX: usize = 64;

/// Steps of one evaluation.
// Limit: lists of numbers are made with it; a file of a stranger's must not keep anybody busy.
const STEPS_MAX: usize = 100_000;

/// Longest text or list that is made.
// Limit: as long as a value may be.
const LENGTH_MAX: usize = 1 << 20;

/// What expressions may ask for.
pub(super) trait Host {
    /// A variable of the environment.
    fn getenv(&mut self, name: &str) -> Option<String>;
    /// A flag of the command line, with its dash.
    fn flag(&mut self, name: &str) -> Option<String>;
    /// Makes a directory, with those above it.
    fn make_dir(&mut self, path: &str) -> Result<(), String>;
    /// Cores of the machine.
    fn cores(&mut self) -> u32;
    /// The machine's name.
    fn host_name(&mut self) -> String;
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Bool(bool),
    Number(f64),
    Text(String),
    Symbol(String),
    List(Vec<Value>),
    /// Parameters and body of a `lambda`.
    Function(Vec<String>, Vec<Value>),
    Nothing,
}

/// Evaluates expressions, and prints the last as `display` does.
pub(super) fn eval(text: &str, host: &mut dyn Host) -> Result<String, String> {
    let data = sexpr::read(text).map_err(|e| e.problem)?;
    let mut machine = Machine { host, steps: 0, names: Vec::new() };
    let mut last = None;
    for datum in &data {
        last = Some(machine.eval(&value_of(datum, 0)?, 0)?);
    }
    last.map(|value| display(&value)).ok_or_else(|| "there is no expression".to_owned())
}

fn display(value: &Value) -> String {
    match value {
        Value::Bool(true) => "#t".to_owned(),
        Value::Bool(false) => "#f".to_owned(),
        // Whole numbers have no point, as in Scheme.
        Value::Number(n) if n.fract() == 0.0 && n.abs() < 1e15 => format!("{n:.0}"),
        Value::Number(n) => n.to_string(),
        Value::Text(text) | Value::Symbol(text) => text.clone(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(display).collect();
            format!("({})", items.join(" "))
        }
        Value::Function(..) => "#<procedure>".to_owned(),
        Value::Nothing => String::new(),
    }
}

/// A datum as a value of ours. What only rule files have is no value.
fn value_of(datum: &Datum, depth: usize) -> Result<Value, String> {
    if depth > DEPTH_MAX {
        return Err("it is nested too deeply".to_owned());
    }
    Ok(match &datum.value {
        sexpr::Value::Symbol(name) => Value::Symbol(name.clone()),
        sexpr::Value::Text(text) => Value::Text(text.clone()),
        sexpr::Value::Number(number, _) => Value::Number(*number),
        sexpr::Value::Bool(truth) => Value::Bool(*truth),
        sexpr::Value::List(items) => {
            Value::List(items.iter().map(|item| value_of(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        sexpr::Value::Quoted(quoted) => {
            Value::List(vec![Value::Symbol("quote".to_owned()), value_of(quoted, depth + 1)?])
        }
        sexpr::Value::Keyword(word) => {
            return Err(format!("`{word}:` is not among what Muster knows of Scheme"));
        }
        sexpr::Value::Regex { source, .. } => {
            return Err(format!("`#/{source}/` is not among what Muster knows of Scheme"));
        }
    })
}

struct Machine<'h> {
    host: &'h mut dyn Host,
    steps: usize,
    /// Names that `let` and parameters gave; the last wins.
    names: Vec<(String, Value)>,
}

impl Machine<'_> {
    fn eval(&mut self, expression: &Value, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deeply".to_owned());
        }
        self.spend(1)?;
        let list = match expression {
            Value::Symbol(name) => {
                let known = self.names.iter().rev().find(|(n, _)| n == name);
                // Functions are passed by their names.
                let value = known.map_or_else(|| expression.clone(), |(_, value)| value.clone());
                self.spend(size(&value))?;
                return Ok(value);
            }
            Value::List(list) => list,
            other => return Ok(other.clone()),
        };
        let Some((head, rest)) = list.split_first() else { return Ok(Value::List(Vec::new())) };
        if let Value::Symbol(name) = head
            && let Some(special) = self.special(name, rest, depth)
        {
            return special;
        }
        let function = self.eval(head, depth + 1)?;
        let arguments: Vec<Value> = rest.iter().map(|e| self.eval(e, depth + 1)).collect::<Result<_, _>>()?;
        self.call(&function, arguments, depth)
    }

    /// Counts work that is done.
    fn spend(&mut self, steps: usize) -> Result<(), String> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > STEPS_MAX { Err("it takes too many steps".to_owned()) } else { Ok(()) }
    }

    /// What does not evaluate all its arguments.
    fn special(&mut self, name: &str, rest: &[Value], depth: usize) -> Option<Result<Value, String>> {
        Some(match (name, rest) {
            ("quote", [value]) => Ok(value.clone()),
            ("if", [test, yes, no @ ..]) => self.eval(test, depth + 1).and_then(|test| match (test, no) {
                (Value::Bool(false), [no]) => self.eval(no, depth + 1),
                (Value::Bool(false), _) => Ok(Value::Nothing),
                (_, _) => self.eval(yes, depth + 1),
            }),
            ("begin", all) => self.sequence(all, depth),
            ("and", all) => self.until(all, Value::Bool(true), |v| *v == Value::Bool(false), depth),
            ("or", all) => self.until(all, Value::Bool(false), |v| *v != Value::Bool(false), depth),
            ("lambda", [Value::List(names), body @ ..]) => {
                Ok(Value::Function(names.iter().map(display).collect(), body.to_vec()))
            }
            ("let" | "let*", [Value::List(pairs), body @ ..]) => self.bind(pairs, body, depth),
            ("case", [key, clauses @ ..]) => self.case(key, clauses, depth),
            ("cond", clauses) => self.cond(clauses, depth),
            _ => return None,
        })
    }

    fn sequence(&mut self, all: &[Value], depth: usize) -> Result<Value, String> {
        all.iter().try_fold(Value::Nothing, |_, e| self.eval(e, depth + 1))
    }

    fn until(
        &mut self,
        all: &[Value],
        empty: Value,
        stop: impl Fn(&Value) -> bool,
        depth: usize,
    ) -> Result<Value, String> {
        let mut last = empty;
        for expression in all {
            last = self.eval(expression, depth + 1)?;
            if stop(&last) {
                break;
            }
        }
        Ok(last)
    }

    fn bind(&mut self, pairs: &[Value], body: &[Value], depth: usize) -> Result<Value, String> {
        let before = self.names.len();
        for pair in pairs {
            let Value::List(pair) = pair else { return Err("`let` binds pairs".to_owned()) };
            let [Value::Symbol(name), value] = pair.as_slice() else {
                return Err("`let` binds pairs".to_owned());
            };
            let value = self.eval(value, depth + 1)?;
            self.names.push((name.clone(), value));
        }
        let result = self.sequence(body, depth);
        self.names.truncate(before);
        result
    }

    fn case(&mut self, key: &Value, clauses: &[Value], depth: usize) -> Result<Value, String> {
        let key = self.eval(key, depth + 1)?;
        for clause in clauses {
            let Value::List(clause) = clause else { return Err("`case` has clauses in brackets".to_owned()) };
            match clause.split_first() {
                Some((Value::Symbol(word), body)) if word == "else" => return self.sequence(body, depth),
                Some((Value::List(keys), body)) if keys.contains(&key) => return self.sequence(body, depth),
                Some(_) | None => {}
            }
        }
        Ok(Value::Nothing)
    }

    fn cond(&mut self, clauses: &[Value], depth: usize) -> Result<Value, String> {
        for clause in clauses {
            let Value::List(clause) = clause else { return Err("`cond` has clauses in brackets".to_owned()) };
            let Some((test, body)) = clause.split_first() else { continue };
            let is_else = matches!(test, Value::Symbol(word) if word == "else");
            if is_else || self.eval(test, depth + 1)? != Value::Bool(false) {
                return self.sequence(body, depth);
            }
        }
        Ok(Value::Nothing)
    }

    fn call(&mut self, function: &Value, arguments: Vec<Value>, depth: usize) -> Result<Value, String> {
        match function {
            Value::Function(names, body) => {
                if names.len() != arguments.len() {
                    return Err(format!(
                        "a function of {} values was given {}",
                        names.len(),
                        arguments.len()
                    ));
                }
                let before = self.names.len();
                self.names.extend(names.iter().cloned().zip(arguments));
                let result = self.sequence(body, depth + 1);
                self.names.truncate(before);
                result
            }
            Value::Symbol(name) => self.builtin(name, arguments, depth),
            other => Err(format!("`{}` is no function", display(other))),
        }
    }

    fn builtin(&mut self, name: &str, arguments: Vec<Value>, depth: usize) -> Result<Value, String> {
        self.spend(1 + arguments.iter().map(size).sum::<usize>())?;
        let or_false = |found: Option<String>| found.map_or(Value::Bool(false), Value::Text);
        Ok(match (name, arguments.as_slice()) {
            ("getenv" | "get-environment-variable", [Value::Text(name)]) => or_false(self.host.getenv(name)),
            ("args:get-arg", [Value::Text(name), rest @ ..]) => match (self.host.flag(name), rest) {
                (None, [default, ..]) => default.clone(),
                (found, _) => or_false(found),
            },
            ("create-directory", [Value::Text(path), ..]) => {
                self.host.make_dir(path)?;
                Value::Text(path.clone())
            }
            ("nice-path", [Value::Text(path)]) => Value::Text(tidy_path(path)),
            ("get-host-name", []) => Value::Text(self.host.host_name()),
            ("common:get-num-cpus", _) => Value::Number(f64::from(self.host.cores())),
            ("+", all) => Value::Number(numbers(all)?.iter().sum()),
            ("*", all) => Value::Number(numbers(all)?.iter().product()),
            ("-", all) => match numbers(all)?.as_slice() {
                [] => return Err("`-` needs a number".to_owned()),
                [one] => Value::Number(-one),
                [first, rest @ ..] => Value::Number(rest.iter().fold(*first, |a, b| a - b)),
            },
            ("/", all) => match numbers(all)?.as_slice() {
                [first, rest @ ..] if !rest.is_empty() && rest.iter().all(|n| *n != 0.0) => {
                    Value::Number(rest.iter().fold(*first, |a, b| a / b))
                }
                _ => return Err("`/` divides numbers, and not by 0".to_owned()),
            },
            ("max", [_, ..]) => Value::Number(numbers(&arguments)?.into_iter().fold(f64::MIN, f64::max)),
            ("min", [_, ..]) => Value::Number(numbers(&arguments)?.into_iter().fold(f64::MAX, f64::min)),
            ("=" | "<" | ">" | "<=" | ">=", [_, _]) => {
                let n = numbers(&arguments)?;
                Value::Bool(match name {
                    "=" => n[0] == n[1],
                    "<" => n[0] < n[1],
                    ">" => n[0] > n[1],
                    "<=" => n[0] <= n[1],
                    _ => n[0] >= n[1],
                })
            }
            ("not", [value]) => Value::Bool(*value == Value::Bool(false)),
            ("eq?" | "eqv?" | "equal?" | "string=?", [a, b]) => Value::Bool(a == b),
            ("conc" | "string-append", all) => {
                let text: String = all.iter().map(display).collect();
                bounded(text.len())?;
                Value::Text(text)
            }
            ("string->symbol", [Value::Text(text)]) => Value::Symbol(text.clone()),
            ("symbol->string", [Value::Symbol(text)]) => Value::Text(text.clone()),
            ("number->string", [value @ Value::Number(_)]) => Value::Text(display(value)),
            ("string->number", [Value::Text(text)]) => text.parse().map_or(Value::Bool(false), Value::Number),
            ("list", _) => Value::List(arguments),
            ("iota", [Value::Number(count), rest @ ..]) => {
                let rest = numbers(rest)?;
                let (first, step) =
                    (rest.first().copied().unwrap_or(0.0), rest.get(1).copied().unwrap_or(1.0));
                if !(0.0..=LENGTH_MAX as f64).contains(count) {
                    return Err("`iota` of so many numbers".to_owned());
                }
                self.spend(*count as usize)?;
                Value::List((0..*count as u32).map(|i| Value::Number(first + f64::from(i) * step)).collect())
            }
            ("string-split", [Value::Text(text), rest @ ..]) => {
                let at = match rest {
                    [Value::Text(at), ..] => at.as_str(),
                    _ => " \t\n",
                };
                let parts = text.split(|c| at.contains(c)).filter(|p| !p.is_empty());
                Value::List(parts.map(|p| Value::Text(p.to_owned())).collect())
            }
            ("string-intersperse", [Value::List(items), rest @ ..]) => {
                let between = match rest {
                    [Value::Text(between), ..] => between.as_str(),
                    _ => " ",
                };
                let text = items.iter().map(display).collect::<Vec<_>>().join(between);
                bounded(text.len())?;
                Value::Text(text)
            }
            ("map", [function, Value::List(items)]) => {
                let made = items.iter().map(|item| self.call(function, vec![item.clone()], depth + 1));
                Value::List(made.collect::<Result<_, _>>()?)
            }
            ("sort", [Value::List(items), Value::Symbol(order)]) => sorted(items.clone(), order)?,
            ("reverse", [Value::List(items)]) => Value::List(items.iter().rev().cloned().collect()),
            ("car", [Value::List(items)]) if !items.is_empty() => items[0].clone(),
            ("cdr", [Value::List(items)]) if !items.is_empty() => Value::List(items[1..].to_vec()),
            ("length", [Value::List(items)]) => Value::Number(items.len() as f64),
            _ => return Err(format!("`{name}` with such values is not among what Muster knows of Scheme")),
        })
    }
}

/// What it costs to copy a value.
fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Symbol(text) => text.len() / 256,
        Value::List(items) => items.iter().map(|item| 1 + size(item)).sum(),
        Value::Function(..) => 16,
        Value::Bool(_) | Value::Number(_) | Value::Nothing => 0,
    }
}

fn sorted(mut items: Vec<Value>, order: &str) -> Result<Value, String> {
    match order {
        "string<?" => items.sort_by_key(display),
        "string>?" => items.sort_by_key(|v| std::cmp::Reverse(display(v))),
        "<" | ">" => {
            let mut all = numbers(&items)?;
            all.sort_by(f64::total_cmp);
            if order == ">" {
                all.reverse();
            }
            items = all.into_iter().map(Value::Number).collect();
        }
        _ => return Err(format!("`sort` by `{order}` is not among what Muster knows of Scheme")),
    }
    Ok(Value::List(items))
}

fn numbers(values: &[Value]) -> Result<Vec<f64>, String> {
    let number = |value: &Value| match value {
        Value::Number(n) => Ok(*n),
        other => Err(format!("`{}` is no number", display(other))),
    };
    values.iter().map(number).collect()
}

fn bounded(len: usize) -> Result<(), String> {
    if len > LENGTH_MAX { Err("it makes a text that is too long".to_owned()) } else { Ok(()) }
}

/// A path without `.`, `..` and doubled slashes, as text.
pub(super) fn tidy_path(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(last) if *last != ".." => drop(parts.pop()),
                None if absolute => {}
                Some(_) | None => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Fake {
        made: Vec<String>,
    }

    impl Host for Fake {
        fn getenv(&mut self, name: &str) -> Option<String> {
            (name == "datapath").then(|| "two".to_owned())
        }
        fn flag(&mut self, name: &str) -> Option<String> {
            (name == "-target").then(|| "a/b".to_owned())
        }
        fn make_dir(&mut self, path: &str) -> Result<(), String> {
            self.made.push(path.to_owned());
            Ok(())
        }
        fn cores(&mut self) -> u32 {
            8
        }
        fn host_name(&mut self) -> String {
            "host".to_owned()
        }
    }

    #[test]
    fn what_stands_in_real_areas_is_understood() {
        let cases = [
            ("(+ 5 6 7)", "18"),
            ("(* 2 (common:get-num-cpus #f))", "16"),
            ("(max (- (common:get-num-cpus #f) 2) 1)", "6"),
            ("(if (getenv \"USEHTTP\") \"http\" \"fs\")", "fs"),
            ("(getenv \"nothing\")", "#f"),
            ("(args:get-arg \"-target\")", "a/b"),
            ("(get-host-name)", "host"),
            ("(nice-path \"/a/./b/../c//d\")", "/a/c/d"),
            (
                "(case (string->symbol (conc (getenv \"datapath\"))) ((one) \"/1\") ((two three) \"/2\") (else \"/x\"))",
                "/2",
            ),
            ("(string-intersperse (map conc (sort '(3 1 2) >)) \" \")", "3 2 1"),
            ("(string-intersperse (map (lambda (x) (conc \"n\" x)) (list 1 2)) \",\")", "n1,n2"),
            ("(let ((a 1) (b 2)) (- a b))", "-1"),
            ("(/ 1 4)", "0.25"),
            ("\"a\\\"b\"", "a\"b"),
        ];
        for (text, expected) in cases {
            assert_eq!(eval(text, &mut Fake::default()), Ok(expected.to_owned()), "{text}");
        }
        let mut host = Fake::default();
        assert_eq!(eval("(create-directory \"/tmp/x\" #t)", &mut host), Ok("/tmp/x".to_owned()));
        assert_eq!(host.made, ["/tmp/x"]);
    }

    #[test]
    fn what_is_not_known_is_told() {
        for text in ["(delete-file \"x\")", "(+ 1", ")", "(system \"rm\")", "", "(1 2)", "(/ 1 0)", "\"open"]
        {
            assert!(eval(text, &mut Fake::default()).is_err(), "{text}");
        }
    }

    #[test]
    fn no_expression_keeps_anybody_busy() {
        let deep = format!("{}1{}", "(+ ".repeat(10_000), ")".repeat(10_000));
        assert!(eval(&deep, &mut Fake::default()).is_err());
        let long = "(map (lambda (x) (map (lambda (y) y) (iota 1000))) (iota 1000))";
        assert!(eval(long, &mut Fake::default()).is_err());
        assert!(eval("(iota 1e12)", &mut Fake::default()).is_err());
        let itself = "(let ((f (lambda (g) (g g)))) (f f))";
        assert!(eval(itself, &mut Fake::default()).is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[()'\"\\\\a-z0-9 #;.+*-]{0,80}") {
            drop(eval(&text, &mut Fake::default()));
        }
    }
}
