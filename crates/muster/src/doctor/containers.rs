//! Whether devices can be containers. Nothing else needs them, so what is not there is only told.

use super::Finding;
use muster_device::container::{bwrap_trouble, podman_trouble};

pub(super) fn look() -> Vec<Finding> {
    let engines = [("bubblewrap", bwrap_trouble()), ("podman", podman_trouble())];
    let working: Vec<&str> = engines.iter().filter(|(_, t)| t.is_none()).map(|(name, _)| *name).collect();
    let found = match &*working {
        [] => "none can be started as a device".to_owned(),
        working => format!("devices can be those of {}", working.join(" and ")),
    };
    let mut all = vec![Finding::ok("containers", found)];
    for (_, trouble) in engines {
        let Some((why, fix)) = trouble else { continue };
        all.push(Finding { fix: Some(fix), ..Finding::ok("containers", why) });
    }
    all
}
