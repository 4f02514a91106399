//! Promises about processes, facts, and what a driver cannot do.

use super::{cases, said, soon};
use crate::device::Device;
use crate::error::{DeviceError, Fault};
use crate::until::{Cancel, Until};
use std::time::Duration;

cases![
    it_answers,
    processes_are_listed_and_signalled,
    a_process_that_is_not_there_cannot_be_signalled,
    facts_are_told,
    what_a_driver_lacks_is_said_with_its_name,
    a_cancelled_call_does_nothing,
    a_call_without_time_is_the_labs_fault,
];

fn it_answers(device: &dyn Device) {
    device.probe(&soon()).unwrap();
    assert!(device.address().starts_with(device.driver()));
}

fn processes_are_listed_and_signalled(device: &dyn Device) {
    let processes = device.processes().unwrap();
    let pid: u32 = said(device, "sleep 86400 & echo $!").trim().parse().unwrap();
    // It has the shell's name until it has become what it is to be; busybox is called so for all it does.
    loop {
        let list = processes.list(&soon()).unwrap();
        assert!(list.is_sorted_by_key(|p| p.pid));
        let found = list.iter().find(|p| p.pid == pid).unwrap();
        if ["sleep", "busybox"].contains(&&*found.name) {
            break;
        }
        assert!(found.name.ends_with("sh"), "{found:?}");
    }
    processes.signal(pid, 9, &soon()).unwrap();
    let runs = format!("grep -s '^State:.[^ZX]' /proc/{pid}/status || true");
    while !said(device, &runs).is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn a_process_that_is_not_there_cannot_be_signalled(device: &dyn Device) {
    let processes = device.processes().unwrap();
    // Above the largest number any Linux gives, and none at all.
    for pid in [4_194_305, 0, u32::MAX] {
        let error = processes.signal(pid, 15, &soon()).unwrap_err();
        assert_eq!(error.fault(), Fault::Asker, "{error}");
    }
}

fn facts_are_told(device: &dyn Device) {
    let info = device.info().unwrap();
    let all = info.all(&soon()).unwrap();
    assert!(all.iter().any(|(name, value)| name == "os" && !value.is_empty()), "{all:?}");
    assert!(!info.one("os", &soon()).unwrap().is_empty());
    assert!(info.one("no-such-fact", &soon()).is_err());
}

fn what_a_driver_lacks_is_said_with_its_name(device: &dyn Device) {
    let lacking = [
        device.exec().err(),
        device.files().err(),
        device.processes().err(),
        device.info().err(),
        device.power().err(),
        device.supply().err(),
        device.console().err(),
        device.screen().err(),
        device.packages().err(),
    ];
    for error in lacking.into_iter().flatten() {
        assert!(matches!(error, DeviceError::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("`{}`", device.driver())), "{error}");
    }
}

fn a_cancelled_call_does_nothing(device: &dyn Device) {
    let cancel = Cancel::new().unwrap();
    cancel.cancel();
    let error = device.probe(&soon().or(&cancel)).unwrap_err();
    assert!(matches!(error, DeviceError::Cancelled { .. }), "{error:?}");
}

fn a_call_without_time_is_the_labs_fault(device: &dyn Device) {
    let error = device.probe(&Until::within(Duration::ZERO)).unwrap_err();
    assert!(matches!(error, DeviceError::Timeout { .. }), "{error:?}");
    assert_eq!(error.fault(), Fault::Lab);
}
