//! Which keys Megatest reads, so that a misspelt one is told.

use super::config::{Session, Table};

/// A section with the keys that are read in it.
type Known = (&'static str, &'static [&'static str]);

/// Sections of `megatest.config` whose keys are fixed. All others are free: names, or for `#{get …}`.
pub(super) const MAIN: &[Known] = &[
    (
        "setup",
        &[
            "linktree",
            "area-name",
            "testsuite",
            "executable",
            "monitordir",
            "dbdir",
            "testcopycmd",
            "max_concurrent_jobs",
            "launch-delay",
            "launchwait",
            "inter-test-delay",
            "runqueue",
            "maxretries",
            "reruns",
            "run-wait",
            "runtimelim",
            "deadtime",
            "incomplete-timeout",
            "give-up-waiting",
            "allow-auto-rerun",
            "rerunok",
            "test-stats-update-period",
            "minspace",
            "free-space-script",
            "dbdir-space-required",
            "log-expire-days",
            "use-wal",
            "sychronous",
            "num-tests-to-get",
            "do-not-use-db-file-timestamps",
            "do-not-use-query-timestamps",
            "use-cache",
            "htmlviewercmd",
            "editor",
            "editor-regex",
            "nodot",
            "waivercommentpatt",
            "blacklistvars",
            "pktsdirs",
            "pdbpath",
            "maxload",
            "allow-runs",
            "auto-migrate",
        ],
    ),
    (
        "server",
        &[
            "homehost",
            "hostname",
            "lowport",
            "force",
            "required",
            "timeout",
            "runtime",
            "numservers",
            "transport",
            "delay-on-busy",
            "daemonize",
            "minimum-intersync-delay",
            "sync-stale-seconds",
            "max-sync-duration",
        ],
    ),
    (
        "jobtools",
        &[
            "launcher",
            "useshell",
            "flexi-launcher",
            "maxload",
            "maxhomehostload",
            "waitdelay",
            "launch-window",
            "timezone",
            "use-launchers",
            "launch-lease",
        ],
    ),
    ("validvalues", &["state", "status", "cleanrerun-states", "cleanrerun-statuses"]),
    ("runs", &["pre-hook", "post-hook"]),
];

/// The other sections of `megatest.config` that Megatest reads.
pub(super) const MAIN_SECTIONS: &[&str] = &[
    "fields",
    "setup",
    "server",
    "jobtools",
    "host-types",
    "hosts",
    "launchers",
    "disks",
    "tests-paths",
    "jobgroups",
    "tokens",
    "env-override",
    "validvalues",
    "archive",
    "archive-disks",
    "triggers",
    "testrollup",
    "runs",
    "dashboard",
    "graph",
    "sync",
    "ext-sync",
    "client",
    "areas",
    "contours",
    "access",
    "accesstypes",
    "listeners",
    "listener",
    "testcopy",
];

/// Sections of a `testconfig` whose keys are fixed.
pub(super) const TEST: &[Known] = &[
    ("setup", &["runscript"]),
    (
        "requirements",
        &[
            "waiton",
            "waitor",
            "mode",
            "itemmap",
            "priority",
            "runtimelim",
            "diskspace",
            "memory",
            "launchlimiter",
            "launch-window",
            "tokens",
            "rerunok",
        ],
    ),
    ("skip", &["prevrunning", "fileexists", "rundelay"]),
    (
        "subrun",
        &[
            "run-area",
            "target",
            "run-name",
            "test-patt",
            "mode-patt",
            "tag-expr",
            "contour",
            "log",
            "msg",
            "start-dir",
            "logpro",
            "passfail",
            "runwait",
            "run-wait",
        ],
    ),
];

/// The other sections of a `testconfig` that Megatest reads.
pub(super) const TEST_SECTIONS: &[&str] = &[
    "setup",
    "ezsteps",
    "logpro",
    "requirements",
    "items",
    "itemstable",
    "itemmap",
    "skip",
    "disks",
    "waivers",
    "waiver_rules",
    "triggers",
    "pre-launch-env-vars",
    "pre-launch-env-overrides",
    "subrun",
    "test_meta",
];

/// Warns of keys that nobody reads, and of sections that look misspelt. Sections of other names are free:
/// their values are for `#{get …}`.
pub(super) fn check(table: &Table, known: &[Known], sections: &[&str], session: &mut Session<'_>) {
    let complaints = &mut session.complaints;
    for section in table.sections() {
        if let Some((name, keys)) = known.iter().find(|(name, _)| *name == section.name) {
            for entry in section.entries().filter(|e| !keys.contains(&e.key.as_str())) {
                let hint = complaints.nearest(&entry.key, keys.iter().copied());
                let message = format!("`{}` in `[{name}]` is not understood, by Megatest neither", entry.key);
                complaints.warning(entry.pos, message).maybe_hint(hint);
            }
        } else if !sections.contains(&section.name.as_str()) {
            let near = sections.iter().find(|known| {
                let (a, b) = (known.to_lowercase(), section.name.to_lowercase());
                a == b || (b.len() > 4 && strsim::jaro_winkler(&a, &b) > 0.93)
            });
            if let Some(near) = near {
                let message = format!("`[{}]` is a section of your own", section.name);
                complaints.warning(section.pos, message).hint(format!("did you mean `[{near}]`?"));
            }
        }
    }
}
