//! What conditions are decided by: the facts, and the words that stand for themselves.

use muster_core::expr::{Fact, Facts};
use std::collections::BTreeMap;

/// A value a condition can look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
}

/// Everything the conditions of a status file may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    values: BTreeMap<String, Value>,
    variants: Vec<String>,
}

/// V8's build facts; false where nothing else is known.
const BOOLEANS: [&str; 14] = [
    "asan",
    "msan",
    "tsan",
    "deopt_fuzzer",
    "gc_stress",
    "gcov_coverage",
    "isolates",
    "no_i18n",
    "no_snap",
    "simulator",
    "simulator_run",
    "dcheck_always_on",
    "novfp3",
    "predictable",
];

/// Words that stand for themselves: architectures, modes, systems, byte orders.
const CONSTANTS: [&str; 41] = [
    "android",
    "android_arm",
    "android_arm64",
    "android_ia32",
    "android_x64",
    "aix",
    "arm",
    "arm64",
    "big",
    "chromeos",
    "debug",
    "freebsd",
    "fuchsia",
    "ia32",
    "ios",
    "linux",
    "little",
    "loong64",
    "macos",
    "mips",
    "mips64",
    "mips64el",
    "mipsel",
    "nacl_ia32",
    "nacl_x64",
    "netbsd",
    "openbsd",
    "optdebug",
    "ppc",
    "ppc64",
    "release",
    "riscv64",
    "s390",
    "s390x",
    "slowrelease",
    "solaris",
    "tryrelease",
    "windows",
    "x32",
    "x64",
    "x87",
];

/// V8's variants at the seed revision.
const VARIANTS: [&str; 10] = [
    "default",
    "stress",
    "turbofan",
    "turbofan_opt",
    "noturbofan",
    "noturbofan_stress",
    "fullcode",
    "nooptimization",
    "asm_wasm",
    "wasm_traps",
];

impl World {
    /// The world of these facts.
    ///
    /// Facts that are true or false, and texts, have their own names. Beside them there are V8's names:
    /// its build facts (false where nothing is known), its architectures, modes, systems and variants as
    /// words for themselves, and each text that is some fact's value. `system` is the fact `os` and
    /// `byteorder` follows from `arch` where they are not facts themselves; an `arch` in the words of
    /// `uname` is translated to V8's (`x86_64` to `x64`).
    pub fn new(facts: &Facts) -> Self {
        let mut values = BTreeMap::new();
        let mut word = |w: &str| {
            values.insert(w.to_owned(), Value::Text(w.to_owned()));
        };
        CONSTANTS.into_iter().chain(VARIANTS).for_each(&mut word);
        facts.iter().filter_map(|(_, f)| text_of(f)).filter(|t| is_name(t)).for_each(|t| word(&t));
        for name in BOOLEANS {
            values.insert(name.to_owned(), Value::Bool(false));
        }
        for (name, fact) in facts.iter() {
            let value = match fact {
                Fact::Bool(b) => Some(Value::Bool(*b)),
                other => text_of(other).map(Value::Text),
            };
            if let Some(value) = value {
                values.insert(name.to_owned(), value);
            }
        }
        let text = |values: &BTreeMap<String, Value>, name: &str| match values.get(name) {
            Some(Value::Text(t)) => Some(t.clone()),
            Some(Value::Bool(_)) | None => None,
        };
        if facts.get("system").is_none()
            && let Some(os) = text(&values, "os")
        {
            values.insert(os.clone(), Value::Text(os.clone()));
            values.insert("system".to_owned(), Value::Text(os));
        }
        if let Some(arch) = text(&values, "arch") {
            let arch = v8_arch(&arch).to_owned();
            if facts.get("byteorder").is_none() {
                let big = ["mips", "mips64", "ppc", "s390", "s390x"].contains(&arch.as_str());
                let order = if big { "big" } else { "little" };
                values.insert("byteorder".to_owned(), Value::Text(order.to_owned()));
            }
            values.insert("arch".to_owned(), Value::Text(arch));
        }
        let mut variants: Vec<String> = VARIANTS.map(str::to_owned).to_vec();
        if let Some(own) = text(&values, "variant").filter(|own| !variants.contains(own)) {
            variants.push(own);
        }
        Self { values, variants }
    }

    /// Takes other variants than V8's.
    #[must_use]
    pub fn with_variants(mut self, variants: &[&str]) -> Self {
        self.variants = variants.iter().map(|v| (*v).to_owned()).collect();
        for variant in variants {
            self.values.entry((*variant).to_owned()).or_insert_with(|| Value::Text((*variant).to_owned()));
        }
        self
    }

    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Every name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The variants there are.
    pub fn variants(&self) -> &[String] {
        &self.variants
    }

    /// The variant that is run, where a fact says so.
    pub fn variant(&self) -> Option<&str> {
        match self.values.get("variant") {
            Some(Value::Text(variant)) => Some(variant),
            Some(Value::Bool(_)) | None => None,
        }
    }
}

fn text_of(fact: &Fact) -> Option<String> {
    match fact {
        Fact::Text(text) => Some(text.clone()),
        Fact::Int(n) => Some(n.to_string()),
        Fact::Bool(_) | Fact::Float(_) | Fact::List(_) | Fact::Map(_) => None,
    }
}

/// It could stand in a condition as a bare word.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// V8's word for an architecture that Rust and `uname` call otherwise.
fn v8_arch(arch: &str) -> &str {
    match arch {
        "x86_64" | "amd64" => "x64",
        "x86" | "i386" | "i586" | "i686" => "ia32",
        "aarch64" => "arm64",
        "armv6l" | "armv7l" | "armv7" => "arm",
        "powerpc64" | "powerpc64le" | "ppc64le" => "ppc64",
        "powerpc" => "ppc",
        "loongarch64" => "loong64",
        "riscv64gc" => "riscv64",
        other => other,
    }
}
