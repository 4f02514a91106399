//! The tree that is delivered: the same on every machine, in two versions.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

const DIRS: usize = 200;
const FILES_PER_DIR: usize = 100;
/// One in so many files is edited for the second version.
const CHANGED: usize = 100;

/// Files of words, numbers and some noise, the same on every machine; they compress to about a seventh.
pub(super) fn write_tree(dir: &Path, version: u8) -> anyhow::Result<()> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words: Vec<String> = (0..3_000).map(|_| format!("{:x}", next() >> (24 + next() % 32))).collect();
    for d in 0..DIRS {
        let sub = dir.join(format!("lib{:02}/mod{d:03}", d % 20));
        fs::create_dir_all(&sub)?;
        for f in 0..FILES_PER_DIR {
            // From 1 to 20 kB, so 200 MB in all.
            let len = 1_000 + usize::try_from(next() % 18_000)?;
            let mut text = String::with_capacity(len + 200);
            while text.len() < len {
                let line = usize::try_from(next() % 3_000)?;
                for n in 0..8 {
                    text.push_str(&words[(line * 7 + n) % 3_000]);
                    text.push(' ');
                }
                text.push_str(&words[usize::try_from(next() % 3_000)?]);
                text.push('\n');
            }
            let is_edited = version > 1 && (d * FILES_PER_DIR + f).is_multiple_of(CHANGED);
            if is_edited {
                text.insert_str(text.len() / 2, "this line is new in the second version\n");
            }
            let path = sub.join(format!("file{f:03}.txt"));
            fs::write(&path, text)?;
            // What was not edited has its old time: rsync goes by that.
            let time =
                SystemTime::UNIX_EPOCH + Duration::from_secs(if is_edited { 2_000_000 } else { 1_000_000 });
            fs::File::options().write(true).open(&path)?.set_modified(time)?;
        }
    }
    Ok(())
}
