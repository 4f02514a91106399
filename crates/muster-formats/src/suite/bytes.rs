//! Looking for bytes in bytes.

/// Moves bytes to the end of `line`, up to and with the first line feed or all there are.
pub(super) fn take_line(bytes: &mut &[u8], line: &mut Vec<u8>) {
    let take = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |i| i + 1);
    line.extend_from_slice(&bytes[..take]);
    *bytes = &bytes[take..];
}

/// Where `needle` first is.
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// Where `needle` last is.
pub(super) fn rfind(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).rposition(|w| w == needle)
}

/// `NAME=VALUE` pairs that end in NUL: what `env -0` prints. What is not UTF-8 cannot be passed on by
/// name and is left out.
pub(super) fn parse_env(bytes: &[u8]) -> Vec<(String, String)> {
    let pairs = bytes.split(|b| *b == 0).filter_map(|pair| {
        let (key, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    });
    pairs.collect()
}
