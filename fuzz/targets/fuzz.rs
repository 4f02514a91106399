//! One program for all readers: MUSTER_FUZZ names the one that is fed.

#![no_main]

#[path = "../harness.rs"]
mod harness;

use std::sync::OnceLock;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static READER: OnceLock<harness::Reader> = OnceLock::new();
    let reader = READER.get_or_init(|| {
        let name = std::env::var("MUSTER_FUZZ").expect("MUSTER_FUZZ names a reader");
        let known = harness::READERS.iter().find(|(known, _)| *known == name);
        known.unwrap_or_else(|| panic!("`{name}` is no reader")).1
    });
    reader(bytes);
});
