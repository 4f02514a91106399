//! Everything that a fuzzer found worth keeping, and everything that ever broke a reader, is read again, and damaged, by the
//! same functions that the fuzzer calls (`cargo xtask fuzz`).

#[path = "../../../../fuzz/harness.rs"]
mod harness;

use std::path::{Path, PathBuf};

/// All that is kept for a reader.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let entries = std::fs::read_dir(dir).expect("each reader has a folder in fuzz/corpus");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn readers_of_what_comes_from_outside_hold_against_the_whole_corpus() {
    for (name, reader) in harness::READERS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "fuzz/corpus/{name} is empty");
        for (path, bytes) in inputs {
            assert!(
                std::panic::catch_unwind(|| reader(&bytes)).is_ok(),
                "`{}` breaks the reader",
                path.display()
            );
        }
    }
}

/// The same numbers each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, max: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % max.max(1)
    }

    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let from = self.below(len + 1);
        from..from + self.below((len - from).min(64) + 1)
    }
}

/// Damages an input once.
fn damage(bytes: &mut Vec<u8>, others: &[(PathBuf, Vec<u8>)], numbers: &mut Numbers) {
    const TELLING: [u8; 12] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'/', b'.', b':', b'"', b' ', b'9'];
    let (range, at) = (numbers.range(bytes.len()), numbers.below(bytes.len() + 1));
    match numbers.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
        1 if at < bytes.len() => bytes[at] = TELLING[numbers.below(TELLING.len())],
        2 => drop(bytes.drain(range)),
        3 => bytes.truncate(at),
        4 => {
            let again = bytes[range].to_vec();
            drop(bytes.splice(at..at, again));
        }
        5 => {
            let other = &others[numbers.below(others.len())].1;
            let part = other[numbers.range(other.len())].to_vec();
            drop(bytes.splice(range, part));
        }
        _ => bytes.insert(at, TELLING[numbers.below(TELLING.len())]),
    }
}

/// What a fuzzer does without looking where it leads; MUSTER_MUTATIONS says how often each input is damaged.
#[test]
fn readers_of_what_comes_from_outside_hold_against_damage_of_the_corpus() {
    let said = std::env::var("MUSTER_MUTATIONS").ok();
    let rounds: u64 = said.map_or(30, |n| n.parse().expect("MUSTER_MUTATIONS is a number"));
    for (name, reader) in harness::READERS {
        let inputs = corpus(name);
        for (place, (path, whole)) in inputs.iter().enumerate() {
            // What breaks a reader does so in little.
            let whole = &whole[..whole.len().min(1 << 14)];
            for round in 0..rounds {
                let mut numbers =
                    Numbers(((round << 20) | place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
                let mut bytes = whole.to_vec();
                for _ in 0..=numbers.below(4) {
                    damage(&mut bytes, &inputs, &mut numbers);
                }
                if std::panic::catch_unwind(|| reader(&bytes)).is_err() {
                    let kept = std::env::temp_dir().join(format!("muster-{name}-{place}-{round}"));
                    std::fs::write(&kept, &bytes).unwrap();
                    panic!("`{}` breaks the reader; it was made of `{}`", kept.display(), path.display());
                }
            }
        }
    }
}
