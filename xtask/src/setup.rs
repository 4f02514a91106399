//! Installs what the tests need that a machine with Rust on it may not have.

use anyhow::{Context as _, bail};
use std::process::Command;

/// Debian packages, each with a program or file that shows it is there.
const DEBIAN: [(&str, &str); 28] = [
    ("adb", "/usr/bin/adb"),
    ("binutils", "/usr/bin/strip"),
    ("bzip2", "/usr/bin/bzip2"),
    ("bubblewrap", "/usr/bin/bwrap"),
    ("busybox-static", "/bin/busybox"),
    ("cmake", "/usr/bin/cmake"),
    ("cpio", "/usr/bin/cpio"),
    ("gcc", "/usr/bin/gcc"),
    ("g++", "/usr/bin/g++"),
    ("curl", "/usr/bin/curl"),
    ("openssl", "/usr/bin/openssl"),
    ("git", "/usr/bin/git"),
    ("libgtest-dev", "/usr/include/gtest/gtest.h"),
    ("libxml2-utils", "/usr/bin/xmllint"),
    ("nginx", "/usr/sbin/nginx"),
    ("openssh-client", "/usr/bin/ssh"),
    ("openssh-server", "/usr/sbin/sshd"),
    ("perl", "/usr/bin/perl"),
    ("podman", "/usr/bin/podman"),
    ("python3", "/usr/bin/python3"),
    ("python3-venv", "/usr/share/doc/python3-venv"),
    ("qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
    ("qemu-utils", "/usr/bin/qemu-img"),
    ("runc", "/usr/sbin/runc"),
    ("strace", "/usr/bin/strace"),
    ("sysstat", "/usr/bin/iostat"),
    ("wget", "/usr/bin/wget"),
    ("zlib1g-dev", "/usr/include/zlib.h"),
];

/// Python packages with the module that shows they are there.
const PYTHON: [(&str, &str); 10] = [
    ("pytest", "pytest"),
    ("junitparser", "junitparser"),
    ("jsonschema", "jsonschema"),
    ("fissix", "fissix"),
    ("setuptools", "setuptools"),
    ("mozlog", "mozlog"),
    ("moznetwork", "moznetwork"),
    ("schemathesis", "schemathesis"),
    ("odfpy", "odf"),
    ("pydot", "pydot"),
];

/// Mozilla's client of the SUT protocol, in the last release that has it. It is for Python 2: a test
/// translates it, so that here it is only put where it can be found, and nothing it asks for with it.
const MOZDEVICE: &str = "0.48";

/// Buildbot, in an environment of its own, since it brings sixty packages: in `target/buildbot`.
const BUILDBOT: [&str; 3] = ["buildbot==4.3.0", "buildbot-worker==4.3.0", "buildbot-www==4.3.0"];

/// An emulator of management controllers that speak Redfish, in an environment of its own: in `target/redfish`.
const REDFISH: [&str; 1] = ["sushy-tools==2.2.0"];

/// Autotest, in the last release that was published: in `target/autotest`, with a Python for it.
const AUTOTEST: &str = "0.16.4";

pub(crate) fn install() -> anyhow::Result<()> {
    let missing: Vec<&str> = DEBIAN
        .iter()
        .filter(|(_, file)| !std::path::Path::new(file).exists())
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        apt(&["update", "-qq"])?;
        let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
        args.extend(&missing);
        apt(&args).with_context(|| format!("install these by hand: {}", missing.join(" ")))?;
        if missing.contains(&"nginx") {
            // It serves to everybody as soon as it is installed, where there is systemd. Tests start their own.
            let _none = Command::new("systemctl").args(["disable", "--now", "nginx"]).output();
        }
    }
    guest_kernel()?;
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let missing: Vec<&str> = PYTHON
        .iter()
        .filter(|(_, module)| {
            let there = Command::new(&python).args(["-c", &format!("import {module}")]).output();
            !there.is_ok_and(|o| o.status.success())
        })
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        if !Command::new(&python).args(["-m", "pip", "--version"]).output().is_ok_and(|o| o.status.success())
        {
            apt(&["install", "-y", "-qq", "python3-pip"])?;
        }
        let mut pip = Command::new(&python);
        // Debian's own Python asks for this where there is no virtual environment.
        pip.env("PIP_BREAK_SYSTEM_PACKAGES", "1").env("PIP_ROOT_USER_ACTION", "ignore");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(&missing);
        super::run(&mut pip)
            .with_context(|| format!("install these by hand with pip: {}", missing.join(" ")))?;
    }
    let there = format!("import importlib.metadata as m; assert m.version('mozdevice') == '{MOZDEVICE}'");
    if !Command::new(&python).args(["-c", &there]).output().is_ok_and(|o| o.status.success()) {
        let wanted = format!("mozdevice=={MOZDEVICE}");
        let mut pip = Command::new(&python);
        pip.env("PIP_BREAK_SYSTEM_PACKAGES", "1").env("PIP_ROOT_USER_ACTION", "ignore");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip.args(["--no-deps", "--no-compile", &wanted]);
        super::run(&mut pip).with_context(|| {
            format!("install it by hand: {python} -m pip install --no-deps --no-compile {wanted}")
        })?;
    }
    autotest()?;
    apart(&python, "redfish", &REDFISH)?;
    apart(&python, "buildbot", &BUILDBOT)
}

fn target() -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), std::path::PathBuf::from)
}

/// It is for Python 2.7 and cannot be installed, only unpacked. Where there is no such Python, what tests it
/// fails and says so; all else goes on.
fn autotest() -> anyhow::Result<()> {
    let dir = target().join("autotest");
    if dir.join("release/client/job.py").exists() && dir.join("python").exists() {
        return Ok(());
    }
    let named = std::env::var_os("PYTHON2").map(std::path::PathBuf::from);
    let mut pythons: Vec<std::path::PathBuf> = named.into_iter().collect();
    pythons.extend(["python2.7", "python2"].map(std::path::PathBuf::from));
    if let Some(home) = std::env::var_os("HOME") {
        let versions = std::fs::read_dir(std::path::Path::new(&home).join(".pyenv/versions"));
        let versions = versions.into_iter().flatten().flatten().map(|e| e.path());
        pythons.extend(versions.map(|version| version.join("bin/python2.7")));
    }
    // Some of these are scripts that stand for a Python that is not there.
    let is_it = "import sys; assert sys.version_info[:2] == (2, 7); print(sys.executable)";
    let found = pythons.iter().find_map(|python| {
        let said = Command::new(python).args(["-c", is_it]).output().ok()?;
        said.status.success().then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
    });
    let Some(python) = found else {
        println!("setup: no Python 2.7, so the tests with Autotest itself will fail; PYTHON2 names one");
        return Ok(());
    };
    std::fs::create_dir_all(&dir)?;
    let wanted = format!("autotest=={AUTOTEST}");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--no-binary", ":all:", &wanted, "--dest"]).arg(&dir);
    super::run(&mut pip)
        .with_context(|| format!("put the release of `{wanted}` into `{}`", dir.display()))?;
    let unpacked = dir.join("release");
    std::fs::create_dir_all(&unpacked)?;
    let archive = dir.join(format!("autotest-{AUTOTEST}.tar.gz"));
    super::run(
        Command::new("tar").arg("xzf").arg(&archive).args(["--strip-components=1", "-C"]).arg(&unpacked),
    )?;
    let link = dir.join("python");
    drop(std::fs::remove_file(&link));
    std::os::unix::fs::symlink(&python, &link).with_context(|| format!("cannot make {}", link.display()))
}

/// Python packages in an environment of their own, because of what they bring.
fn apart(python: &str, name: &str, packages: &[&str]) -> anyhow::Result<()> {
    let dir = target().join(name);
    let own = dir.join("bin/python");
    let there = "import importlib.metadata as m, sys; \
                 sys.exit(any(m.version(n) != v for n, v in (w.split('==') for w in sys.argv[1:])))";
    if Command::new(&own).args(["-c", there]).args(packages).output().is_ok_and(|o| o.status.success()) {
        return Ok(());
    }
    super::run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&dir))?;
    let mut pip = Command::new(own);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
    super::run(&mut pip)
        .with_context(|| format!("install these by hand in `{}`: {}", dir.display(), packages.join(" ")))
}

/// A kernel for guests, taken out of its package: installed, it would be this machine's.
fn guest_kernel() -> anyhow::Result<()> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
    let cache = match (cache, std::env::var_os("HOME")) {
        (Some(cache), _) => cache,
        (None, Some(home)) => std::path::PathBuf::from(home).join(".cache"),
        (None, None) => bail!("HOME is not set"),
    };
    let dir = cache.join("muster-test/guest-kernel");
    if dir.join("boot").is_dir() {
        return Ok(());
    }
    let depends = Command::new("apt-cache").args(["depends", "linux-image-cloud-amd64"]).output()?;
    let depends = String::from_utf8_lossy(&depends.stdout).into_owned();
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let package = package.context("apt knows no `linux-image-cloud-amd64`; apt-get update")?;
    let partial = cache.join("muster-test/guest-kernel.part");
    std::fs::create_dir_all(&partial)?;
    let get =
        format!("apt-get download -qq {package} && dpkg-deb -x {package}_*.deb . && rm {package}_*.deb");
    super::run(Command::new("sh").args(["-c", &get]).current_dir(&partial))?;
    std::fs::rename(&partial, &dir).with_context(|| format!("cannot make {}", dir.display()))
}

fn apt(args: &[&str]) -> anyhow::Result<()> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout == b"0\n");
    let mut apt = if root {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "apt-get"]);
        sudo
    };
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(args);
    match apt.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("apt-get {} ended with {status}", args.join(" ")),
        Err(e) => Err(e).context("apt-get cannot be started; this needs Debian or Ubuntu"),
    }
}
