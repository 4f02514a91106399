//! From the parsed tree to typed values that know where they were written.
//!
//! Not serde's `Deserialize`: that stops at the first error, and a person who has made three mistakes
//! wants to hear of three. The macro [`section`] makes the type, its decoder and its JSON schema from one
//! list of keys, so that they cannot differ.

use super::error::Complaints;
use super::source::{At, Pos};
use toml::Spanned;
use toml::de::DeValue;

/// What decoding needs beside the value.
pub(super) struct Cx<'a> {
    /// The text it is in.
    pub(super) source: u16,
    /// Where errors go.
    pub(super) complaints: &'a mut Complaints,
    /// The table being read, for messages: `[test.boot]`.
    pub(super) table: String,
}

/// A value as it stands in the tree.
pub(super) type Node<'i> = Spanned<DeValue<'i>>;

/// A type that can be read from the tree.
pub(super) trait Decode: Sized {
    /// Reads it; `None` after having complained.
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self>;
}

/// A table with known keys.
pub(super) trait Section: Default {
    /// Every key, those of flattened parts too.
    fn keys(into: &mut Vec<&'static str>);
    /// Reads the value of a key; false where there is no such key.
    fn accept(&mut self, key: &str, node: &Node<'_>, cx: &mut Cx<'_>) -> bool;
}

impl Cx<'_> {
    pub(super) fn pos<T>(&self, node: &Spanned<T>) -> Pos {
        let span = node.span();
        let at = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Pos { source: self.source, start: at(span.start), end: at(span.end) }
    }

    /// A text that programs can be given.
    pub(super) fn text(&mut self, node: &Node<'_>, text: &str) -> Option<String> {
        if !text.contains('\0') {
            return Some(text.to_owned());
        }
        let pos = self.pos(node);
        self.complaints.error(pos, "a text cannot hold the character NUL");
        None
    }

    /// Complains that a value has the wrong type.
    pub(super) fn wrong_type<T>(&mut self, node: &Node<'_>, wanted: &str) -> Option<T> {
        let found = node.get_ref().type_str();
        let pos = self.pos(node);
        self.complaints.error(pos, format!("expected {wanted}, found {}", with_article(found)));
        None
    }

    /// Reads a table with any keys.
    pub(super) fn each_entry(
        &mut self,
        node: &Node<'_>,
        wanted: &str,
        mut each: impl FnMut(&mut Self, At<String>, &Node<'_>),
    ) -> Option<()> {
        let Some(table) = node.get_ref().as_table() else { return self.wrong_type(node, wanted) };
        for (key, value) in table {
            let pos = self.pos(key);
            each(self, At { value: key.get_ref().to_string(), pos }, value);
        }
        Some(())
    }

    /// Runs `f` with the name of an inner table.
    pub(super) fn in_table<T>(&mut self, name: &str, f: impl FnOnce(&mut Self) -> T) -> T {
        let len = self.table.len();
        if len > 0 {
            self.table.push('.');
        }
        self.table.push_str(name);
        let result = f(self);
        self.table.truncate(len);
        result
    }
}

fn with_article(word: &str) -> String {
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {word}")
}

/// Reads a table with known keys.
pub(super) fn decode_section<S: Section>(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<S> {
    let mut section = S::default();
    cx.each_entry(node, "a table", |cx, key, value| {
        if section.accept(&key.value, value, cx) {
            return;
        }
        let mut keys = Vec::new();
        S::keys(&mut keys);
        let place =
            if cx.table.is_empty() { "at the top level".into() } else { format!("in `[{}]`", cx.table) };
        let hint = cx.complaints.nearest(&key.value, keys.iter().copied()).or_else(|| {
            keys.sort_unstable();
            Some(format!("known keys: {}", keys.join(", ")))
        });
        cx.complaints
            .error(key.pos, format!("unknown key `{}` {place}", printable(&key.value)))
            .maybe_hint(hint);
    })?;
    Some(section)
}

/// A name from a file, fit for a message.
pub(super) fn printable(text: &str) -> String {
    let mut short: String =
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(80).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

impl<T: Decode> Decode for At<T> {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        let pos = cx.pos(node);
        T::decode(node, cx).map(|value| Self { value, pos })
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        T::decode(node, cx).map(Self::new)
    }
}

impl Decode for String {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::String(s) => cx.text(node, s),
            _ => cx.wrong_type(node, "a string"),
        }
    }
}

impl Decode for bool {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Boolean(b) => Some(*b),
            _ => cx.wrong_type(node, "true or false"),
        }
    }
}

impl Decode for f64 {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        let number = match node.get_ref() {
            DeValue::Float(f) => f.as_str().replace('_', "").parse::<Self>().ok(),
            DeValue::Integer(i) if i.radix() == 10 => i.as_str().replace('_', "").parse().ok(),
            _ => return cx.wrong_type(node, "a number"),
        };
        if let Some(number) = number.filter(|n| n.is_finite()) {
            return Some(number);
        }
        let pos = cx.pos(node);
        cx.complaints.error(pos, "expected a finite number");
        None
    }
}

/// Reads a whole number within bounds.
pub(super) fn whole(node: &Node<'_>, cx: &mut Cx<'_>, min: i64, max: i64) -> Option<i64> {
    let DeValue::Integer(i) = node.get_ref() else { return cx.wrong_type(node, "a whole number") };
    let number = i64::from_str_radix(&i.as_str().replace('_', ""), i.radix()).ok();
    if let Some(number) = number.filter(|n| (min..=max).contains(n)) {
        return Some(number);
    }
    let pos = cx.pos(node);
    cx.complaints.error(pos, format!("expected a whole number from {min} to {max}"));
    None
}

impl Decode for i32 {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        whole(node, cx, Self::MIN.into(), Self::MAX.into()).map(|n| n as Self)
    }
}

impl Decode for u32 {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        whole(node, cx, 0, Self::MAX.into()).map(|n| n as Self)
    }
}

impl Decode for u16 {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        whole(node, cx, 0, Self::MAX.into()).map(|n| n as Self)
    }
}

impl<T: Decode> Decode for Vec<At<T>> {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        let Some(array) = node.get_ref().as_array() else { return cx.wrong_type(node, "a list") };
        // Every element is read, so that every error is told.
        let read: Vec<_> = array.iter().map(|n| At::decode(n, cx)).collect();
        read.into_iter().collect()
    }
}

/// A table with any keys, in the order written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table<T>(pub(super) Vec<(At<String>, At<T>)>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Decode> Decode for Table<T> {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        let mut entries = Vec::new();
        cx.each_entry(node, "a table", |cx, key, value| {
            let read = cx.in_table(&key.value, |cx| At::decode(value, cx));
            entries.extend(read.map(|value| (key, value)));
        })?;
        Some(Self(entries))
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for Table<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Table_of_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let value = generator.subschema_for::<T>();
        schemars::json_schema!({ "type": "object", "additionalProperties": value })
    }
}

/// Declares a table with known keys: its type, its decoder and its JSON schema.
macro_rules! section {
    (
        $(#[$meta:meta])*
        $name:ident {
            $($(#[$field_meta:meta])* $key:literal $field:ident: $ty:ty,)*
            $(..$flat:ident: $flat_ty:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(in crate::area) struct $name {
            $($(#[$field_meta])* #[schemars(rename = $key)] pub(in crate::area) $field: Option<$crate::area::source::At<$ty>>,)*
            $(#[schemars(flatten)] pub(in crate::area) $flat: $flat_ty,)*
        }

        impl $crate::area::decode::Section for $name {
            fn keys(into: &mut Vec<&'static str>) {
                into.extend([$($key),*]);
                $(<$flat_ty as $crate::area::decode::Section>::keys(into);)*
            }

            fn accept(
                &mut self,
                key: &str,
                node: &$crate::area::decode::Node<'_>,
                cx: &mut $crate::area::decode::Cx<'_>,
            ) -> bool {
                match key {
                    $($key => self.$field = cx.in_table($key, |cx| $crate::area::decode::Decode::decode(node, cx)),)*
                    _ => return false $(|| self.$flat.accept(key, node, cx))*,
                }
                true
            }
        }

        impl $crate::area::decode::Decode for $name {
            fn decode(node: &$crate::area::decode::Node<'_>, cx: &mut $crate::area::decode::Cx<'_>) -> Option<Self> {
                $crate::area::decode::decode_section(node, cx)
            }
        }
    };
}
pub(super) use section;

/// Declares a choice between words: its decoder and its JSON schema.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident: $ty:ty { $($word:literal => $value:expr,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(in crate::area) struct $name(pub(in crate::area) $ty);

        impl $crate::area::decode::Decode for $name {
            fn decode(node: &$crate::area::decode::Node<'_>, cx: &mut $crate::area::decode::Cx<'_>) -> Option<Self> {
                let word = <String as $crate::area::decode::Decode>::decode(node, cx)?;
                match Self::ALL.iter().find(|(known, _)| *known == word) {
                    Some((_, value)) => Some(Self(*value)),
                    None => $crate::area::decode::wrong_word(node, cx, &word, Self::ALL.iter().map(|(w, _)| *w)),
                }
            }
        }

        impl $name {
            /// Every word with what it means.
            pub(in crate::area) const ALL: &[(&str, $ty)] = &[$(($word, $value),)*];
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($word),*] })
            }
        }
    };
}
pub(super) use words;

/// Complains about a word that is none of the known ones.
pub(super) fn wrong_word<T>(
    node: &Node<'_>,
    cx: &mut Cx<'_>,
    word: &str,
    known: impl Iterator<Item = &'static str> + Clone,
) -> Option<T> {
    let pos = cx.pos(node);
    let list: Vec<_> = known.clone().map(|k| format!("`{k}`")).collect();
    let hint = cx.complaints.nearest(word, known);
    let message = format!("`{}` is none of {}", printable(word), list.join(", "));
    cx.complaints.error(pos, message).maybe_hint(hint);
    None
}
