//! What conditions are decided by: named values of the target, the build and the host.

use cel::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A value a condition can look at.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// Several values.
    List(Vec<Self>),
    /// Named values: `target.os`.
    Map(BTreeMap<String, Self>),
}

/// Everything a condition may look at. Holds the environment too, so it is not meant to be recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    values: BTreeMap<String, Fact>,
    env: Arc<BTreeMap<String, String>>,
}

impl Facts {
    /// Adds or replaces a fact.
    pub fn set(&mut self, name: impl Into<String>, fact: impl Into<Fact>) {
        self.values.insert(name.into(), fact.into());
    }

    /// What `env("NAME")` answers from; a name that is not there is the empty text.
    pub fn set_env(&mut self, env: BTreeMap<String, String>) {
        self.env = Arc::new(env);
    }

    /// The fact of this name.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.values.get(name)
    }

    /// Every name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// All facts, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.values.iter().map(|(name, fact)| (name.as_str(), fact))
    }

    /// The names for people, at most twelve.
    pub(super) fn listing(&self) -> String {
        let mut names: Vec<_> = self.names().take(12).collect();
        if self.values.len() > names.len() {
            names.push("…");
        }
        names.join(", ")
    }

    pub(super) fn env_shared(&self) -> Arc<BTreeMap<String, String>> {
        self.env.clone()
    }
}

impl Fact {
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Bool(b) => Value::Bool(*b),
            Self::Int(i) => Value::Int(*i),
            Self::Float(f) => Value::Float(*f),
            Self::Text(s) => Value::String(Arc::new(s.clone())),
            Self::List(l) => Value::List(Arc::new(l.iter().map(Self::to_value).collect())),
            Self::Map(m) => {
                let map: HashMap<String, Value> = m.iter().map(|(k, v)| (k.clone(), v.to_value())).collect();
                Value::Map(map.into())
            }
        }
    }
}

impl From<bool> for Fact {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<i64> for Fact {
    fn from(i: i64) -> Self {
        Self::Int(i)
    }
}

impl From<f64> for Fact {
    fn from(f: f64) -> Self {
        Self::Float(f)
    }
}

impl From<&str> for Fact {
    fn from(s: &str) -> Self {
        Self::Text(s.into())
    }
}

impl From<String> for Fact {
    fn from(s: String) -> Self {
        Self::Text(s)
    }
}

impl From<BTreeMap<String, Self>> for Fact {
    fn from(m: BTreeMap<String, Self>) -> Self {
        Self::Map(m)
    }
}
