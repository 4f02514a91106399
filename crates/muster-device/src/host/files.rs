//! The files of a [`Space`] as a device's: the one implementation for every device whose files this host
//! reaches by itself.

use crate::device::{Entry, Files, Stat};
use crate::error::DeviceError;
use crate::host::space::Space;
use crate::until::Until;
use rustix::io::Errno;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// How much is moved between two looks at the clock.
const CHUNK_BYTES: usize = 256 << 10;

/// Files of a device.
#[derive(Debug)]
pub(crate) struct HostFiles {
    pub(crate) space: Space,
    /// The device's address, for what is said to people.
    pub(crate) device: String,
    pub(crate) test_root: String,
}

impl HostFiles {
    /// What the system said about a path.
    fn told(&self, doing: impl FnOnce() -> String, path: &str, error: &io::Error) -> DeviceError {
        let device = self.device.clone();
        match Errno::from_io_error(error) {
            Some(Errno::NOENT) => DeviceError::NotFound { device, path: path.to_owned() },
            Some(Errno::NOSPC | Errno::DQUOT) => DeviceError::Full { device, path: path.to_owned() },
            _ => DeviceError::Refused { device, doing: doing(), said: error.to_string() },
        }
    }
}

pub(crate) fn absolute(path: &str) -> Result<&Path, DeviceError> {
    let path = Path::new(path);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(DeviceError::Senseless {
            what: format!("`{}`: paths on a device begin with `/`", path.display()),
        })
    }
}

impl Files for HostFiles {
    fn push(&self, from: &mut dyn Read, size: u64, to: &str, until: &Until) -> Result<(), DeviceError> {
        let doing = || format!("writing `{to}`");
        let wrong = |e: &io::Error| self.told(doing, to, e);
        let mut coming = self.space.create(absolute(to)?).map_err(|e| wrong(&e))?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut left = size;
        while left > 0 {
            until.check().map_err(|e| DeviceError::ended(&self.device, &doing(), e, until))?;
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let n = read_some(from, &mut buffer[..want])?;
            coming.file.write_all(&buffer[..n]).map_err(|e| wrong(&e))?;
            left -= n as u64;
        }
        coming.finish().map_err(|e| wrong(&e))
    }

    fn pull(&self, from: &str, offset: u64, to: &mut dyn Write, until: &Until) -> Result<u64, DeviceError> {
        let doing = || format!("reading `{from}`");
        let wrong = |e: &io::Error| self.told(doing, from, e);
        let mut file = self.space.read(absolute(from)?).map_err(|e| wrong(&e))?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(offset)).map_err(|e| wrong(&e))?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut moved = 0;
        loop {
            until.check().map_err(|e| DeviceError::ended(&self.device, &doing(), e, until))?;
            let n = match file.read(&mut buffer) {
                Ok(0) => return Ok(moved),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(wrong(&e)),
            };
            to.write_all(&buffer[..n])
                .map_err(|source| DeviceError::Output { device: self.device.clone(), source })?;
            moved += n as u64;
        }
    }

    fn list(&self, dir: &str, _until: &Until) -> Result<Vec<Entry>, DeviceError> {
        self.space.entries(absolute(dir)?).map_err(|e| self.told(|| format!("listing `{dir}`"), dir, &e))
    }

    fn stat(&self, path: &str, _until: &Until) -> Result<Option<Stat>, DeviceError> {
        self.space.stat(absolute(path)?).map_err(|e| self.told(|| format!("looking at `{path}`"), path, &e))
    }

    fn make_dir(&self, dir: &str, _until: &Until) -> Result<(), DeviceError> {
        self.space.make_dir(absolute(dir)?).map_err(|e| self.told(|| format!("making `{dir}`"), dir, &e))
    }

    fn remove(&self, path: &str, _until: &Until) -> Result<(), DeviceError> {
        self.space.remove(absolute(path)?).map_err(|e| self.told(|| format!("removing `{path}`"), path, &e))
    }

    fn make_executable(&self, path: &str, _until: &Until) -> Result<(), DeviceError> {
        let wrong = |e: io::Error| self.told(|| format!("making `{path}` a program"), path, &e);
        let stat = self.space.stat(absolute(path)?).map_err(wrong)?;
        let mode = stat.and_then(|s| s.mode).ok_or_else(|| wrong(Errno::NOENT.into()))?;
        // Who may read it may run it.
        self.space.set_mode(absolute(path)?, mode | (mode & 0o444) >> 2).map_err(wrong)
    }

    fn test_root(&self, _until: &Until) -> Result<String, DeviceError> {
        Ok(self.test_root.clone())
    }
}

/// Some bytes of a file that is being pushed.
pub(crate) fn read_some(from: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, DeviceError> {
    loop {
        let source = match from.read(buffer) {
            Ok(0) => io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"),
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => e,
        };
        return Err(DeviceError::Here { doing: "read", path: PathBuf::from("what is to be pushed"), source });
    }
}
