//! Brings what running attempts print to the server, piece by piece, while somebody looks at it there.
//!
//! Nothing is remembered of what was brought: the server says where the next piece begins. So neither a restart of this
//! agent nor one of the server makes a gap, or brings anything twice.

use muster_api::Client;
use muster_core::id::{RunId, UnitId};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often outputs that somebody looks at are looked at here.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Bytes brought at once.
const PIECE_BYTES_MAX: usize = 256 << 10;

/// An output that somebody looks at: the unit that prints it, and the directory of its run here.
pub(super) type Followed = (UnitId, RunId, PathBuf);

/// Starts the thread that brings what is wanted: the last list that it was given. It ends when nothing can be given any
/// more.
pub(super) fn start(client: Client) -> io::Result<Sender<Vec<Followed>>> {
    let (wanted, inbox) = channel();
    let work = move || follow(&client, &inbox);
    std::thread::Builder::new().name("follow".into()).stack_size(512 << 10).spawn(work)?;
    Ok(wanted)
}

/// How far an output was brought.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    part: u16,
    at: u64,
}

fn follow(client: &Client, inbox: &Receiver<Vec<Followed>>) {
    let (mut wanted, mut places): (Vec<Followed>, BTreeMap<UnitId, Place>) = Default::default();
    loop {
        let news = if wanted.is_empty() {
            inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            inbox.recv_timeout(LOOK_EVERY)
        };
        match news {
            Ok(news) => wanted = inbox.try_iter().last().unwrap_or(news),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        places.retain(|unit, _| wanted.iter().any(|(of, ..)| of == unit));
        for (unit, _run, dir) in &wanted {
            let place = places.entry(*unit).or_default();
            // What does not arrive is tried again soon, if somebody still looks.
            while bring(client, *unit, dir, place) {}
        }
    }
}

/// Brings the next piece of a unit's outputs; whether there may be more at once.
fn bring(client: &Client, unit: UnitId, run_dir: &Path, place: &mut Place) -> bool {
    let path = |part: u16| run_dir.join(format!("out/{}/{}-{part}.frames", unit.0 / 1000, unit.0));
    let mut piece = vec![0; PIECE_BYTES_MAX];
    let read = File::open(path(place.part)).and_then(|file| file.read_at(&mut piece, place.at));
    let n = match read {
        Ok(n) => n,
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        Err(_) => return false,
    };
    if n == 0 {
        // A process that printed little has left no file, and those behind it may have.
        let Some(next) = place.part.checked_add(1).filter(|next| path(*next).exists()) else { return false };
        *place = Place { part: next, at: 0 };
        return true;
    }
    match client.put_live(unit, place.part, place.at, &piece[..n]) {
        Ok(None) => place.at += n as u64,
        // Of an earlier life of this agent, or the server has begun another one.
        Ok(Some(have)) => place.at = have,
        Err(_) => return false,
    }
    true
}
