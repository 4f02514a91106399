//! The command that only Muster's own client and agent know: the line `muster1 BYTES`, that many bytes of
//! JSON ([`Request`]), and then what a program is to read or a file is to hold.
//!
//! The answer is frames, each a byte for its kind, four bytes of length (most significant first), and that
//! many bytes; the last frame is [`DONE`] or [`NO`], and the prompt of the protocol follows it. So output
//! may contain anything, streams stay apart, and every word arrives as it is. Other agents answer the
//! unknown word with a warning; other clients never say it.

use crate::device::{Entry, Exit, Process, Stat};
use serde::{Deserialize, Serialize};

/// The command word, with the version of all this.
pub(crate) const WORD: &str = "muster1";

/// Standard output.
pub(crate) const OUT: u8 = b'o';
/// Standard error.
pub(crate) const ERR: u8 = b'e';
/// A remark of the agent's.
pub(crate) const REMARK: u8 = b'r';
/// The end, with the answer as JSON.
pub(crate) const DONE: u8 = b'.';
/// The end, with a [`No`] as JSON.
pub(crate) const NO: u8 = b'!';

// Limit: longest frame of output, and so what either side keeps in memory for one.
pub(crate) const FRAME_BYTES_MAX: usize = 64 << 10;
// Limit: longest request, with the arguments and variables of a program.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 << 20;
// Limit: longest answer: a directory of some hundred thousand entries.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;
// Limit: longest input of a program; the agent keeps it in memory.
pub(crate) const STDIN_BYTES_MAX: u64 = 16 << 20;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Run a program.
    Exec {
        args: Vec<String>,
        env: Vec<(String, String)>,
        dir: Option<String>,
        user: Option<String>,
        limit_millis: Option<u64>,
        stdin_bytes: u64,
    },
    /// Write a file.
    Push { path: String, bytes: u64 },
    /// Read a file; it comes as frames of [`OUT`].
    Pull { path: String, offset: u64 },
    /// What a path leads to.
    Stat { path: String },
    /// What is in a directory.
    List { path: String },
    /// All processes.
    Processes,
    /// Send a signal.
    Signal { pid: u32, signal: i32 },
    /// Remove a path and all below it.
    Remove { path: String },
    /// Make a directory and those above it.
    MakeDir { path: String },
    /// Let a file be run.
    MakeExecutable { path: String },
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Exit(Exit),
    /// MD5 of the file written.
    Digest(String),
    Stat(Option<Stat>),
    Entries(Vec<Entry>),
    Processes(Vec<Process>),
    Nothing,
}

/// Why not.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct No {
    pub(crate) why: Why,
    /// For people.
    pub(crate) said: String,
}

/// Why not, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Why {
    NotFound,
    Full,
    Refused,
}
