//! A comparison as a letter: an RFC 5322 message with a part of plain text and one of HTML, for any program that takes
//! such a message on its standard input. It is written and never sent.

use crate::report::text::one_line;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use muster_core::time::Time;
use std::io;
use thiserror::Error;

/// Limit: what lists of letters show.
const SUBJECT_CHARS_MAX: usize = 200;

/// What a letter says.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    /// Who writes it; as [`address`] takes it.
    pub from: &'a str,
    /// To whom; as [`address`] takes them.
    pub to: &'a [String],
    /// What it is about, in a line.
    pub subject: String,
    /// When it is written.
    pub date: Time,
    /// What it is called, before the `@`: the same for the same contents.
    pub id: String,
    /// For programs that show no HTML.
    pub text: String,
    /// For others.
    pub html: String,
}

/// Text that is no address of mail.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no mail address: it is written as `NAME@HOST`")]
pub struct BadAddress(String);

/// Refuses what is no address: anything a header could be ended or joined with. Whether somebody has it, nobody knows.
///
/// # Errors
/// [`BadAddress`]
pub fn address(text: &str) -> Result<String, BadAddress> {
    let bad = || BadAddress(text.escape_debug().to_string());
    let (name, host) = text.rsplit_once('@').ok_or_else(bad)?;
    let is_part = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[]\\,;:\"@".contains(c);
    let is_good = |part: &str| !part.is_empty() && part.chars().all(is_part);
    // Limit: as SMTP has it.
    if !is_good(name) || !is_good(host) || text.len() > 254 { Err(bad()) } else { Ok(text.to_owned()) }
}

/// The message, with CRLF line ends.
///
/// # Errors
/// Memory is full.
pub fn message(letter: &Letter<'_>) -> io::Result<Vec<u8>> {
    let to = letter.to.iter().map(|to| Address::new_address(None::<&str>, to.as_str()));
    let host = letter.from.rsplit_once('@').map_or("localhost", |(_, host)| host);
    let seconds = i64::try_from(letter.date.0 / 1_000_000).unwrap_or(i64::MAX);
    let mut message = MessageBuilder::new()
        .from(Address::new_address(Some("Muster"), letter.from))
        .subject(one_line(&letter.subject, SUBJECT_CHARS_MAX))
        .date(seconds)
        .message_id(format!("{}@{host}", letter.id))
        // So that nobody's absence answers it.
        .header("Auto-Submitted", mail_builder::headers::raw::Raw::new("auto-generated"));
    if !letter.to.is_empty() {
        message = message.to(Address::new_list(to.collect()));
    }
    message.text_body(letter.text.as_str()).html_body(letter.html.as_str()).write_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_taken() {
        assert_eq!(address("team@example.org"), Ok("team@example.org".to_owned()));
        for bad in ["team", "@example.org", "a@", "a b@c", "a@b\nBcc: x@y", "A <a@b>", "a@b,c@d"] {
            assert!(address(bad).is_err(), "{bad:?}");
        }
    }
}
