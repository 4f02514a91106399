//! On what kind of file system records are kept, as far as it matters to them.

use std::path::Path;

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// On this machine's own disks, or in its memory.
    Local,
    /// On another machine. Write-ahead logging needs memory shared by all who have the database open, so
    /// it must not be opened from two machines at once; a store made here uses a rollback journal, which
    /// is slower and makes readers wait for writers.
    Network(&'static str),
    /// In user space (FUSE) or shared with a host: locks and shared memory may or may not work.
    Foreign(&'static str),
}

impl FileSystem {
    /// What holds this path, or, where that does not exist yet, its nearest directory that does.
    /// `None` where the system does not tell.
    pub fn of(path: &Path) -> Option<Self> {
        let known = path.ancestors().find(|p| p.exists())?;
        let known = if known.as_os_str().is_empty() { Path::new(".") } else { known };
        let magic = rustix::fs::statfs(known).ok()?.f_type;
        // The field's type differs between architectures; the numbers have 32 bits.
        Some(Self::from_magic(magic as u32))
    }

    /// Numbers from statfs(2) and Linux's `magic.h`.
    fn from_magic(magic: u32) -> Self {
        match magic {
            0x6969 => Self::Network("nfs"),
            0x517b => Self::Network("smb"),
            0xff53_4d42 => Self::Network("cifs"),
            0xfe53_4d42 => Self::Network("smb2"),
            0x5346_414f => Self::Network("afs"),
            0x00c3_6400 => Self::Network("ceph"),
            0x0bd0_0bd3 => Self::Network("lustre"),
            0x4750_4653 => Self::Network("gpfs"),
            0x7375_7245 => Self::Network("coda"),
            0x6573_5546 => Self::Foreign("fuse"),
            0x0102_1997 => Self::Foreign("9p"),
            0x786f_4256 => Self::Foreign("vboxsf"),
            _ => Self::Local,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_yet_is_judged_by_its_nearest_directory() {
        let dir = tempfile::tempdir().unwrap();
        let here = FileSystem::of(dir.path());
        assert!(here.is_some());
        assert_eq!(FileSystem::of(&dir.path().join("a/b/c")), here);
        assert_eq!(FileSystem::of(Path::new("/proc")), Some(FileSystem::Local));
        assert_eq!(FileSystem::from_magic(0x6969), FileSystem::Network("nfs"));
    }
}
