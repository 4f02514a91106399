//! What a device must be able to do so that packages can be installed on it.

use std::io::{Read, Write};

/// What went wrong with a device or on the way to it.
pub type FarError = Box<dyn std::error::Error + Send + Sync>;

/// How a program of the device ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its exit code; 128 and its number where a signal ended it.
    pub code: i32,
    /// What it printed.
    pub out: Vec<u8>,
    /// What it complained of.
    pub err: Vec<u8>,
}

/// A device, as the installer needs it.
pub trait Far {
    /// Its address, as it is shown.
    fn shown(&self) -> String;

    /// The directory on it that tests may write to.
    ///
    /// # Errors
    /// The device's.
    fn root(&self) -> Result<String, FarError>;

    /// Runs a program to its end.
    ///
    /// # Errors
    /// The device's; not that the program failed.
    fn run(&self, words: &[&str]) -> Result<Said, FarError>;

    /// Writes a file of so many bytes.
    ///
    /// # Errors
    /// The device's.
    fn push(&self, from: &mut dyn Read, bytes: u64, to: &str) -> Result<(), FarError>;

    /// Reads a file.
    ///
    /// # Errors
    /// The device's.
    fn pull(&self, from: &str, to: &mut dyn Write) -> Result<(), FarError>;
}
