//! The `local` driver keeps the promises of every driver.

use muster_device::{Device as _, Local, contract};

#[test]
fn this_host_is_a_device() {
    let local = Local::new().unwrap();
    assert_eq!(local.address(), "local:");
    contract::check_all(&local);
}
