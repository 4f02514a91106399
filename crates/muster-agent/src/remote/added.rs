//! Devices that were added to this host at the server, remembered for when the server is away: an agent that is
//! started again must not take the devices it had for others.

use muster_core::exchange::DeviceOffer;
use std::fs;
use std::io;
use std::path::Path;

const FILE: &str = "added.json";

/// Those it was told of last; none if it never was.
pub(super) fn remembered(state_dir: &Path) -> Vec<DeviceOffer> {
    let text = fs::read(state_dir.join(FILE)).unwrap_or_default();
    // What cannot be read is told again by the server.
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Remembers them.
pub(super) fn remember(state_dir: &Path, added: &[DeviceOffer]) -> io::Result<()> {
    let new = state_dir.join("added.new");
    fs::write(&new, serde_json::to_vec(added)?)?;
    fs::rename(new, state_dir.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_remembered_and_nonsense_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(remembered(dir.path()), []);
        remember(dir.path(), &[DeviceOffer::named("b1")]).unwrap();
        assert_eq!(remembered(dir.path()), [DeviceOffer::named("b1")]);
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(remembered(dir.path()), []);
    }
}
