//! What the service manager is told: that this is ready, that it is well, that it ends. Without a manager
//! nothing is told to anybody.

use sd_notify::NotifyState;
use std::time::Duration;

/// It is ready. From now on the manager's watchdog, if it has one, hears of it as long as `is_well` says so.
pub(crate) fn ready(is_well: impl Fn() -> bool + Send + 'static) {
    tell(NotifyState::Ready);
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let every = (patience / 3).max(Duration::from_millis(1));
    let watch = move || {
        loop {
            if is_well() {
                tell(NotifyState::Watchdog);
            }
            std::thread::sleep(every);
        }
    };
    // Without the thread the manager hears nothing and starts this again, as it should.
    drop(std::thread::Builder::new().name("watchdog".into()).spawn(watch));
}

/// It is about to end.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    // A manager that cannot be told finds out in other ways.
    let _unheard = sd_notify::notify(&[state]);
}
