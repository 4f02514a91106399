//! Values written as text: durations, sizes, and texts that may be written as numbers.

use super::decode::{Cx, Decode, Node, whole};
use super::source::At;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::time::Duration;
use toml::de::DeValue;

/// Longest duration accepted: ten years.
// Limit: keeps sums of durations and times far from overflow.
const DURATION_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A duration: `"90s"`, `"1m30s"`, `"500ms"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span(pub(super) Duration);

/// A duration that may be `"none"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SpanOrNone(pub(super) Option<Duration>);

/// A number of bytes: `"512MiB"`, `"2GB"`, or a plain number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size(pub(super) u64);

/// A text that may be written as a number or truth value; the spelling is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scalar(pub(super) String);

/// One or several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OneOrMore<T>(pub(super) Vec<At<T>>);

/// Reads `1h30m`; `None` where it is no duration.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("us", 1),
        ("µs", 1),
    ];
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    let mut last = usize::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let place = UNITS.iter().position(|(u, _)| *u == unit)?;
        // Larger units first, each once.
        if last != usize::MAX && place <= last {
            return None;
        }
        last = place;
        let micros = if number.contains('.') {
            let n: f64 = number.parse().ok()?;
            let micros = n * UNITS[place].1 as f64;
            (micros.is_finite() && micros < 1e18).then_some(micros.round() as u64)?
        } else {
            number.parse::<u64>().ok()?.checked_mul(UNITS[place].1)?
        };
        total = total.checked_add(Duration::from_micros(micros))?;
        rest = after.trim_start();
    }
    (total <= DURATION_MAX).then_some(total)
}

/// Writes a duration as [`parse_duration`] reads it.
pub(crate) fn format_duration(d: Duration) -> String {
    let micros = u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
    if micros == 0 {
        return "0s".into();
    }
    let mut rest = micros;
    let mut text = String::new();
    for (unit, size) in [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)]
    {
        if rest >= size {
            text.push_str(&(rest / size).to_string());
            text.push_str(unit);
            rest %= size;
        }
    }
    text
}

/// Reads `512MiB`; `None` where it is no size.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    if number.contains('.') {
        let bytes = number.parse::<f64>().ok()? * unit as f64;
        return (bytes.is_finite() && bytes < 9e18).then_some(bytes.round() as u64);
    }
    // Limit: TOML and the store count bytes in signed 64-bit numbers.
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|n| i64::try_from(*n).is_ok())
}

/// Writes a size as [`parse_size`] reads it.
pub(super) fn format_size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

const DURATION_HINT: &str =
    "durations are written \"90s\", \"1m30s\", \"2h\" or \"500ms\", larger units first";

fn no_duration<T>(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<T> {
    let pos = cx.pos(node);
    let complaint = match node.get_ref() {
        DeValue::Integer(i) => {
            let seconds = format!("a duration has a unit: \"{}s\"", i.as_str());
            cx.complaints.error(pos, "expected a duration, found an integer").hint(seconds);
            return None;
        }
        DeValue::String(_) => cx.complaints.error(pos, "this is not a duration"),
        other => {
            let found = other.type_str();
            cx.complaints.error(pos, format!("expected a duration, found a value of type {found}"))
        }
    };
    complaint.hint(DURATION_HINT);
    None
}

impl Decode for Span {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        let parsed = node.get_ref().as_str().and_then(parse_duration);
        parsed.map_or_else(|| no_duration(node, cx), |d| Some(Self(d)))
    }
}

impl Decode for SpanOrNone {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        if node.get_ref().as_str() == Some("none") {
            return Some(Self(None));
        }
        let Span(d) = Span::decode(node, cx)?;
        if d.is_zero() {
            let pos = cx.pos(node);
            cx.complaints
                .error(pos, "a limit of zero ends everything at once")
                .hint("\"none\" means no limit");
            return None;
        }
        Some(Self(Some(d)))
    }
}

impl Decode for Size {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Integer(_) => whole(node, cx, 0, i64::MAX).map(|n| Self(n as u64)),
            DeValue::String(s) => parse_size(s).map(Self).or_else(|| {
                let pos = cx.pos(node);
                let complaint = cx.complaints.error(pos, "this is not a size");
                complaint.hint("sizes are written \"512MiB\", \"2GB\" or as a number of bytes");
                None
            }),
            _ => cx.wrong_type(node, "a size"),
        }
    }
}

impl Decode for Scalar {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::String(s) => cx.text(node, s).map(Self),
            DeValue::Integer(i) => Some(Self(i.to_string())),
            DeValue::Float(f) => Some(Self(f.as_str().to_owned())),
            DeValue::Boolean(b) => Some(Self(b.to_string())),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                cx.wrong_type(node, "a text, a number or a truth value")
            }
        }
    }
}

impl<T: Decode> Decode for OneOrMore<T> {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        if node.get_ref().is_array() {
            return Vec::decode(node, cx).map(Self);
        }
        At::decode(node, cx).map(|one| Self(vec![one]))
    }
}

macro_rules! schema {
    ($($ty:ty => $name:literal $json:tt)*) => {$(
        impl JsonSchema for $ty {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($json)
            }
        }
    )*};
}

schema! {
    Span => "Duration" {
        "description": "A duration: \"90s\", \"1m30s\", \"2h\", \"500ms\"; larger units first.",
        "type": "string", "pattern": "^([0-9.]+(d|h|m|s|ms|us|µs) ?)+$"
    }
    SpanOrNone => "Limit" {
        "description": "A duration, or \"none\" for no limit.",
        "type": "string", "pattern": "^(none|([0-9.]+(d|h|m|s|ms|us|µs) ?)+)$"
    }
    Size => "Size" {
        "description": "A number of bytes, or a text with a unit: \"512MiB\", \"2GB\".",
        "anyOf": [
            { "type": "string", "pattern": "^[0-9.]+ ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$" },
            { "type": "integer", "minimum": 0 }
        ]
    }
    Scalar => "Scalar" {
        "description": "A text; numbers and truth values are taken as they are written.",
        "type": ["string", "number", "boolean"]
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMore<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("One_or_more_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one.clone(), { "type": "array", "items": one }] })
    }
}
