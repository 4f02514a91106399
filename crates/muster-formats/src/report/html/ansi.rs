//! An attempt's output as HTML: standard error and Muster's remarks marked, colours of the terminal as
//! colours (SGR, ECMA-48 §8.3.117, with the usual 256 and true colours), other terminal codes removed.

use crate::report::text::{self, escape_len, is_hidden};
use maud::{Escaper, PreEscaped};
use muster_core::output::Stream;
use std::fmt::Write as _;

/// The framed log as the inside of a `<pre>`.
pub(super) fn log(log: &[u8]) -> PreEscaped<String> {
    let mut html = String::new();
    let mut styles: [Style; 3] = Default::default();
    for piece in text::pieces(log, |_| true) {
        let class = match piece.stream {
            Stream::Stdout => "",
            Stream::Stderr => "err",
            Stream::Muster => "lab",
        };
        let style = &mut styles[piece.stream as usize - 1];
        if !class.is_empty() {
            put(&mut html, format_args!("<span class={class}>"));
        }
        coloured(&piece.text, style, &mut html);
        if !class.is_empty() {
            html.push_str("</span>");
        }
    }
    PreEscaped(html)
}

fn put(html: &mut String, what: std::fmt::Arguments<'_>) {
    html.write_fmt(what).expect("a string takes all");
}

fn coloured(text: &str, style: &mut Style, html: &mut String) {
    let mut open = style.open(html);
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(['\x1b', '\u{9b}', '\u{9d}', '\u{90}']).unwrap_or(rest.len());
        visible(&rest[..at], html);
        rest = &rest[at..];
        let (code, after) = rest.split_at(escape_len(rest));
        rest = after;
        let parameters = code.strip_prefix("\x1b[").or_else(|| code.strip_prefix('\u{9b}'));
        if let Some(parameters) = parameters.and_then(|p| p.strip_suffix('m')) {
            style.set(parameters);
            if open {
                html.push_str("</span>");
            }
            open = style.open(html);
        }
    }
    if open {
        html.push_str("</span>");
    }
}

/// Escaped text: of a rewritten line the last writing, without control characters.
fn visible(text: &str, html: &mut String) {
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |l| (l, "\n"));
        let line = line.trim_end_matches('\r');
        let last = line.rsplit('\r').next().unwrap_or(line);
        let mut escaper = Escaper::new(html);
        for c in last.chars().filter(|c| !is_hidden(*c)) {
            escaper.write_char(c).expect("a string takes all");
        }
        html.push_str(end);
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    fore: Option<Colour>,
    back: Option<Colour>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    /// 0 to 15: the page's palette, so that it suits light and dark.
    Named(u8),
    Exact(u8, u8, u8),
}

impl Style {
    /// Opens an element with this style; `false` where there is nothing to say.
    fn open(self, html: &mut String) -> bool {
        if self == Self::default() {
            return false;
        }
        let mut class = Vec::new();
        for (on, name) in [(self.bold, "b"), (self.dim, "d"), (self.italic, "i"), (self.underline, "u")] {
            if on {
                class.push(name.to_owned());
            }
        }
        let mut css = String::new();
        for (colour, prefix, property) in [(self.fore, 'f', "color"), (self.back, 'g', "background")] {
            match colour {
                None => {}
                Some(Colour::Named(n)) => class.push(format!("{prefix}{n}")),
                Some(Colour::Exact(r, g, b)) => {
                    put(&mut css, format_args!("{property}:#{r:02x}{g:02x}{b:02x};"));
                }
            }
        }
        put(html, format_args!("<span class=\"{}\"", class.join(" ")));
        if !css.is_empty() {
            put(html, format_args!(" style=\"{css}\""));
        }
        html.push('>');
        true
    }

    fn set(&mut self, parameters: &str) {
        let mut numbers = parameters
            .split([';', ':'])
            .map(|n| if n.is_empty() { 0 } else { n.parse().unwrap_or(u16::MAX) });
        while let Some(n) = numbers.next() {
            match n {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                30..=37 => self.fore = Some(Colour::Named(n as u8 - 30)),
                38 => self.fore = extended(&mut numbers).or(self.fore),
                39 => self.fore = None,
                40..=47 => self.back = Some(Colour::Named(n as u8 - 40)),
                48 => self.back = extended(&mut numbers).or(self.back),
                49 => self.back = None,
                90..=97 => self.fore = Some(Colour::Named(n as u8 - 82)),
                100..=107 => self.back = Some(Colour::Named(n as u8 - 92)),
                _ => {}
            }
        }
    }
}

/// What follows 38 and 48: `5;N` or `2;R;G;B`.
fn extended(numbers: &mut impl Iterator<Item = u16>) -> Option<Colour> {
    let mut byte = || numbers.next().and_then(|n| u8::try_from(n).ok());
    match byte()? {
        5 => Some(match byte()? {
            n @ 0..=15 => Colour::Named(n),
            n @ 16..=231 => {
                let level = |n: u8| if n == 0 { 0 } else { 55 + n * 40 };
                let n = n - 16;
                Colour::Exact(level(n / 36), level(n / 6 % 6), level(n % 6))
            }
            n @ 232.. => {
                let grey = 8 + (n - 232) * 10;
                Colour::Exact(grey, grey, grey)
            }
        }),
        2 => Some(Colour::Exact(byte()?, byte()?, byte()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::output::{self, Frame};

    fn html(stream: Stream, text: &str) -> String {
        let mut bytes = Vec::new();
        output::push(&mut bytes, Frame { stream, at_millis: 0, text: text.as_bytes() });
        log(&bytes).into_string()
    }

    #[test]
    fn colours_become_classes_and_markup_becomes_text() {
        assert_eq!(
            html(Stream::Stdout, "a<b>&\"\x1b[1;31m<x>\x1b[0m z"),
            "a&lt;b&gt;&amp;&quot;<span class=\"b f1\">&lt;x&gt;</span> z"
        );
        assert_eq!(
            html(Stream::Stderr, "e\x1b[92mg"),
            "<span class=err>e<span class=\"f10\">g</span></span>"
        );
        assert_eq!(
            html(Stream::Stdout, "\x1b[38;5;196mr\x1b[48;2;1;2;3mb\x1b[39m-\x1b[49m."),
            "<span class=\"\" style=\"color:#ff0000;\">r</span><span class=\"\" style=\"color:#ff0000;background:#010203;\">b</span><span class=\"\" style=\"background:#010203;\">-</span>."
        );
    }

    #[test]
    fn odd_codes_are_harmless() {
        for odd in [
            "\x1b[38;5m",
            "\x1b[38;2;300;1;1mx",
            "\x1b[99999999999m",
            "\x1b[",
            "\x1b]8;;javascript:alert(1)\x07x",
            "\x1b[?25lx\x1b[2K",
        ] {
            let html = html(Stream::Stdout, odd);
            assert!(!html.contains('\x1b') && !html.contains("javascript"), "{odd:?} → {html}");
            assert_eq!(html.matches("<span").count(), html.matches("</span>").count());
        }
    }

    #[test]
    fn a_rewritten_line_shows_its_last_writing() {
        assert_eq!(html(Stream::Stdout, "1%\r99%\r\nx\u{202e}y\x07\n"), "99%\nxy\n");
    }
}
