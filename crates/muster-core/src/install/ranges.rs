//! How a long file is made of another one of the same place, so that only what is new of it must be brought.
//!
//! What is taken from the old file and what is zeros is told in whole blocks, which every `dd` can copy; what is left
//! over at their ends is brought with what is new.

use std::collections::HashMap;
use std::hash::Hash;

/// A part of a file that is cut by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<C> {
    /// What it is; `None`: zeros.
    pub content: Option<C>,
    /// How many bytes.
    pub len: u64,
}

/// A part of the new file. One behind the other they are all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Blocks of the old file.
    Old {
        /// The first.
        block: u64,
        /// How many.
        blocks: u64,
    },
    /// Blocks of zeros.
    Zeros {
        /// How many.
        blocks: u64,
    },
    /// Bytes that must be brought.
    New {
        /// Where they are in the new file.
        from: u64,
        /// How many.
        len: u64,
    },
}

impl Part {
    /// How many bytes of it must be brought.
    pub fn brought(&self) -> u64 {
        match self {
            Self::Old { .. } | Self::Zeros { .. } => 0,
            Self::New { len, .. } => *len,
        }
    }
}

/// Where the bytes of a part of the new file are, to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Old { from: u64 },
    Zeros,
    New,
}

/// How the new file is made of the old one.
pub fn plan<C: Eq + Hash>(old: &[Piece<C>], new: &[Piece<C>], block: u64) -> Vec<Part> {
    let begins = |at: &mut u64, piece: &Piece<C>| {
        let begin = *at;
        *at += piece.len;
        Some(begin)
    };
    let starts: Vec<u64> = old.iter().scan(0, begins).collect();
    let mut first = HashMap::new();
    for (place, piece) in old.iter().enumerate() {
        if let Some(content) = &piece.content {
            first.entry((content, piece.len)).or_insert(place);
        }
    }
    // What touches in both files is one.
    let mut runs: Vec<(Origin, u64)> = Vec::new();
    let mut behind_last = None;
    for piece in new {
        let follows = |place: &usize| old.get(*place) == Some(piece);
        let found = piece.content.as_ref().and_then(|content| {
            behind_last.filter(follows).or_else(|| first.get(&(content, piece.len)).copied())
        });
        behind_last = found.map(|place| place + 1);
        let origin = match (&piece.content, found) {
            (None, _) => Origin::Zeros,
            (Some(_), Some(place)) => Origin::Old { from: starts[place] },
            (Some(_), None) => Origin::New,
        };
        match (runs.last_mut(), origin) {
            (Some((Origin::Old { from }, len)), Origin::Old { from: next }) if *from + *len == next => {
                *len += piece.len;
            }
            (Some((Origin::Zeros, len)), Origin::Zeros) | (Some((Origin::New, len)), Origin::New) => {
                *len += piece.len;
            }
            (Some(_) | None, origin) => runs.push((origin, piece.len)),
        }
    }
    let (mut parts, mut at) = (Vec::new(), 0);
    for (origin, len) in runs {
        match origin {
            Origin::New => bring(&mut parts, at, len),
            Origin::Zeros => {
                let blocks = len / block;
                if blocks > 0 {
                    parts.push(Part::Zeros { blocks });
                }
                bring(&mut parts, at + blocks * block, len % block);
            }
            Origin::Old { from } => {
                let before = (from.next_multiple_of(block) - from).min(len);
                let blocks = (len - before) / block;
                bring(&mut parts, at, before);
                if blocks > 0 {
                    parts.push(Part::Old { block: (from + before) / block, blocks });
                }
                let whole = before + blocks * block;
                bring(&mut parts, at + whole, len - whole);
            }
        }
        at += len;
    }
    parts
}

fn bring(parts: &mut Vec<Part>, at: u64, len: u64) {
    match parts.last_mut() {
        _ if len == 0 => {}
        Some(Part::New { len: before, .. }) => *before += len,
        _ => parts.push(Part::New { from: at, len }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 4;

    fn piece(name: char) -> Piece<char> {
        let len = match name {
            'a' => 3,
            'b' => 5,
            'c' => 8,
            _ => 9,
        };
        Piece { content: Some(name).filter(|name| *name != '0'), len }
    }

    fn bytes(file: &[Piece<char>]) -> Vec<u8> {
        let of = |piece: &Piece<char>| match piece.content {
            Some(name) => (0..piece.len as u8).map(|n| name as u8 ^ (n << 3) ^ 0x80).collect(),
            None => vec![0; piece.len as usize],
        };
        file.iter().flat_map(of).collect()
    }

    /// As the device does it: it has the old file, and of the new one what was brought.
    fn carried_out(parts: &[Part], old: &[u8], new: &[u8]) -> Vec<u8> {
        let mut made = Vec::new();
        for part in parts {
            match *part {
                Part::Old { block, blocks } => {
                    let from = (block * BLOCK) as usize;
                    made.extend_from_slice(&old[from..from + (blocks * BLOCK) as usize]);
                }
                Part::Zeros { blocks } => made.resize(made.len() + (blocks * BLOCK) as usize, 0),
                Part::New { from, len } => {
                    assert_eq!(made.len() as u64, from);
                    made.extend_from_slice(&new[from as usize..(from + len) as usize]);
                }
            }
        }
        made
    }

    fn all() -> Vec<Vec<Piece<char>>> {
        let mut all = vec![vec![]];
        let mut last = all.clone();
        for _ in 0..4 {
            last = last
                .iter()
                .flat_map(|file: &Vec<Piece<char>>| {
                    ['a', 'b', 'c', '0'].map(|name| file.iter().cloned().chain([piece(name)]).collect())
                })
                .collect();
            all.extend(last.clone());
        }
        all
    }

    #[test]
    fn what_is_planned_makes_the_new_file_of_any_old_one() {
        let files = all();
        for old in &files {
            let there = bytes(old);
            for new in &files {
                let wanted = bytes(new);
                let parts = plan(old, new, BLOCK);
                assert_eq!(carried_out(&parts, &there, &wanted), wanted, "{old:?} {new:?} {parts:?}");
                let two = |pair: &[Part]| matches!(pair, [Part::New { .. }, Part::New { .. }]);
                assert!(!parts.windows(2).any(two), "{parts:?}");
            }
        }
    }

    #[test]
    fn of_what_is_there_only_the_ends_of_blocks_are_brought() {
        let of = |old: &str, new: &str| {
            let file = |names: &str| names.chars().map(piece).collect::<Vec<_>>();
            plan(&file(old), &file(new), BLOCK)
        };
        assert_eq!(
            of("ccc", "ccc"),
            [Part::Old { block: 0, blocks: 6 }],
            "in one go, though all are the same"
        );
        assert_eq!(of("", "0"), [Part::Zeros { blocks: 2 }, Part::New { from: 8, len: 1 }]);
        assert_eq!(
            of("acc", "cac"),
            [
                Part::New { from: 0, len: 1 },
                Part::Old { block: 1, blocks: 1 },
                Part::New { from: 5, len: 3 },
                Part::Old { block: 0, blocks: 2 },
                Part::New { from: 16, len: 3 },
            ]
        );
        assert!(of("ab", "c").iter().all(|part| matches!(part, Part::New { from: 0, len: 8 })));
        assert_eq!(of("c", "cc").iter().map(Part::brought).sum::<u64>(), 0);
    }
}
