//! Disks: room, inodes, and whether the file system keeps what it promises.

use super::{Finding, Subject};
use crate::context::RECORDS;
use crate::terminal::text::count;
use muster_formats::report::words::bytes;
use std::path::Path;

/// Less than this and runs end in the middle.
const FREE_BAD: u64 = 256 << 20;
/// Less than this and a build or a few core files fill it.
const FREE_LOW: u64 = 2 << 30;
/// Fewer free inodes than this.
const INODES_LOW: u64 = 20_000;

pub(super) fn look(subject: &Subject<'_>) -> Vec<Finding> {
    let temp = std::env::temp_dir();
    let mut all = room("disk", subject.area_dir);
    all.extend(room("temp", &temp));
    all.push(writable("records", subject.area_dir));
    all.push(kind(subject.area_dir));
    all
}

fn room(what: &'static str, dir: &Path) -> Vec<Finding> {
    let shown = dir.display();
    let Ok(stat) = rustix::fs::statvfs(dir) else {
        return vec![Finding::bad(
            what,
            format!("`{shown}` is not there"),
            format!("mkdir -p '{shown}', or set TMPDIR to a directory that is there"),
        )];
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!("{} free in `{shown}`", bytes(free));
    let fix = format!("make room: `du -xh '{shown}' | sort -h | tail` shows what takes it");
    let mut all = vec![match free {
        _ if free < FREE_BAD => Finding::bad(what, found, fix),
        _ if free < FREE_LOW => Finding::warn(what, found, fix),
        _ => Finding::ok(what, found),
    }];
    // Some file systems have no fixed number of inodes and say 0 of 0.
    if stat.f_files > 0 && stat.f_favail < INODES_LOW {
        all.push(Finding::warn(
            what,
            format!("{} inodes free in `{shown}`", count(stat.f_favail)),
            format!("remove small files: `du --inodes -x '{shown}' | sort -n | tail`"),
        ));
    }
    all
}

fn writable(what: &'static str, dir: &Path) -> Finding {
    let records = dir.join(RECORDS);
    let place = if records.is_dir() { records } else { dir.to_path_buf() };
    let shown = place.display();
    match rustix::fs::access(&place, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
        Ok(()) => Finding::ok(what, format!("`{shown}` can be written")),
        Err(e) => Finding::bad(
            what,
            format!("`{shown}` cannot be written: {e}"),
            format!("sudo chown -R \"$USER\" '{shown}'"),
        ),
    }
}

/// File systems by their magic number (`statfs(2)`, `linux/magic.h`) on which locks or write-ahead logs
/// are not to be trusted.
const REMOTE: [(u64, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x6573_5546, "FUSE"),
];

fn kind(dir: &Path) -> Finding {
    let what = "file system";
    let Ok(stat) = rustix::fs::statfs(dir) else {
        return Finding::warn(what, "its kind is not known", "look at `df -T .`");
    };
    // The field's type differs between architectures; magic numbers have 32 bits.
    let magic = stat.f_type as u64 & 0xffff_ffff;
    match REMOTE.iter().find(|(m, _)| *m == magic) {
        Some((_, name)) => Finding::warn(
            what,
            format!(
                "`{}` is on {name}: records there are slow, and safe with one machine only",
                dir.display()
            ),
            "keep the area on a local disk, or link `.muster` to one: `ln -s /var/tmp/muster .muster`",
        ),
        None => Finding::ok(what, "local"),
    }
}
