//! Debian packages: `muster` with the program, its manual pages and completions; `muster-server` and
//! `muster-agent` with their services.
//!
//! They are put together by `dpkg-deb` from files of this repository and what the program says of itself, and
//! looked at before they are given out: what is in them, whether systemd can read the units, whether dpkg
//! installs and removes them in a root of its own.

use anyhow::{Context as _, bail, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is made, and from what.
#[derive(clap::Args)]
pub(crate) struct DistArgs {
    /// Package this program in place of a release build
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where the packages go
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    out: PathBuf,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A service, its units, and the file that people edit.
struct Service {
    name: &'static str,
    units: &'static [&'static str],
    about: &'static str,
}

const SERVICES: [Service; 2] = [
    Service { name: "muster-server", units: &["muster-server.service"], about: "test lab: the server" },
    Service {
        name: "muster-agent",
        units: &["muster-agent.service", "muster-agent@.service"],
        about: "test lab: an agent that runs tests on this host",
    },
];

/// Makes packages of a program that is there, to see that they can be made.
pub(crate) fn rehearse(binary: PathBuf, root: &Path) -> anyhow::Result<()> {
    run(&DistArgs { binary: Some(binary), out: "target/dist-rehearsal".into() }, root)
}

/// Makes the packages.
pub(crate) fn run(args: &DistArgs, root: &Path) -> anyhow::Result<()> {
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => {
            super::cargo(&["build", "--release", "--locked", "--package", "muster"])?;
            root.join("target/release/muster")
        }
    };
    let out = root.join(&args.out);
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    let arch = said(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();
    // A program that is packaged to be looked at need not be small.
    let compression = if args.binary.is_some() { ["-Zgzip", "-z1"] } else { ["-Zxz", "-z6"] };
    let work = out.join("work");
    let mut packages = vec![program(root, &binary, &work, &arch)?];
    for service in &SERVICES {
        packages.push(of_service(root, service, &work)?);
    }
    let mut files = Vec::new();
    for Package { name, arch, tree } in &packages {
        let file = out.join(format!("{name}_{VERSION}_{arch}.deb"));
        let mut deb = Command::new("dpkg-deb");
        deb.arg("--root-owner-group").args(compression).arg("--build").arg(tree).arg(&file);
        said(&mut deb)?;
        files.push(file);
    }
    check(&packages, &files, &work)?;
    fs::remove_dir_all(&work)?;
    for file in &files {
        super::say(&format!("{}", file.display()));
    }
    Ok(())
}

struct Package {
    name: String,
    arch: String,
    tree: PathBuf,
}

fn program(root: &Path, binary: &Path, work: &Path, arch: &str) -> anyhow::Result<Package> {
    let tree = work.join("muster");
    let to = |path: &str| -> anyhow::Result<PathBuf> {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().expect("it is in the tree"))?;
        Ok(path)
    };
    fs::copy(binary, to("usr/bin/muster")?).with_context(|| format!("no program `{}`", binary.display()))?;
    for (shell, file) in [
        ("bash", "usr/share/bash-completion/completions/muster"),
        ("zsh", "usr/share/zsh/vendor-completions/_muster"),
        ("fish", "usr/share/fish/vendor_completions.d/muster.fish"),
    ] {
        fs::write(to(file)?, said(Command::new(binary).args(["completions", shell]))?)?;
    }
    let man = to("usr/share/man/man1/x")?;
    let man = man.parent().expect("it has one");
    said(Command::new(binary).arg("man").arg(man))?;
    let pages: Vec<PathBuf> = fs::read_dir(man)?.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
    ensure!(!pages.is_empty(), "`muster man` wrote no page");
    said(Command::new("gzip").args(["-9n", "--"]).args(&pages))?;
    documents(root, &tree, "muster")?;
    for file in ["master.cfg", "muster_buildbot.py", "README.md"] {
        let from = root.join("examples/buildbot").join(file);
        fs::copy(from, to(&format!("usr/share/doc/muster/examples/buildbot/{file}"))?)?;
    }
    let libc = "Depends: libc6 (>= 2.34)\nRecommends: git\n";
    control(&tree, "muster", arch, libc, "runs tests on this machine or on a lab of devices")?;
    Ok(Package { name: "muster".to_owned(), arch: arch.to_owned(), tree })
}

fn of_service(root: &Path, service: &Service, work: &Path) -> anyhow::Result<Package> {
    let Service { name, units, about } = service;
    let tree = work.join(name);
    let from = root.join("packaging");
    let copy = |from: PathBuf, to: &str| -> anyhow::Result<()> {
        let to = tree.join(to);
        fs::create_dir_all(to.parent().expect("it is in the tree"))?;
        fs::copy(&from, to).with_context(|| format!("no file `{}`", from.display()))?;
        Ok(())
    };
    for unit in *units {
        copy(from.join("systemd").join(unit), &format!("usr/lib/systemd/system/{unit}"))?;
    }
    // Each has its own name, so that both packages can be on one host.
    copy(from.join("sysusers.d/muster.conf"), &format!("usr/lib/sysusers.d/{name}.conf"))?;
    copy(from.join("tmpfiles.d/muster.conf"), &format!("usr/lib/tmpfiles.d/{name}.conf"))?;
    copy(from.join("default").join(name), &format!("etc/default/{name}"))?;
    documents(root, &tree, name)?;
    let depends = format!("Depends: muster (= {VERSION}), systemd\n");
    control(&tree, name, "all", &depends, about)?;
    let debian = tree.join("DEBIAN");
    fs::write(debian.join("conffiles"), format!("/etc/default/{name}\n"))?;
    // A lab is configured first and started then, so that nothing is started here.
    let after = format!(
        "#!/bin/sh\nset -e\nif [ \"$1\" = configure ] && [ -z \"$DPKG_ROOT\" ]; then\n    \
         systemd-sysusers {name}.conf\n    systemd-tmpfiles --create {name}.conf\n    \
         if [ -d /run/systemd/system ]; then\n        systemctl daemon-reload\n        \
         if [ -n \"$2\" ]; then\n            systemctl try-restart '{name}.service' '{name}@*.service'\n        fi\n    fi\nfi\n"
    );
    let before = format!(
        "#!/bin/sh\nset -e\nif [ \"$1\" = remove ] && [ -z \"$DPKG_ROOT\" ] && [ -d /run/systemd/system ]; then\n    \
         systemctl stop '{name}.service' '{name}@*.service'\nfi\n"
    );
    for (script, text) in [("postinst", after), ("prerm", before)] {
        let path = debian.join(script);
        fs::write(&path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(Package { name: (*name).to_owned(), arch: "all".to_owned(), tree })
}

fn documents(root: &Path, tree: &Path, name: &str) -> anyhow::Result<()> {
    let doc = tree.join("usr/share/doc").join(name);
    fs::create_dir_all(&doc)?;
    let text = "Muster is licensed under either of the Apache License, Version 2.0\n\
                (/usr/share/common-licenses/Apache-2.0) or the MIT license:\n\n";
    let mit = fs::read_to_string(root.join("LICENSE-MIT"))?;
    fs::write(doc.join("copyright"), format!("{text}{mit}"))?;
    fs::copy(root.join("CHANGELOG.md"), doc.join("changelog"))?;
    said(Command::new("gzip").arg("-9n").arg(doc.join("changelog")))?;
    Ok(())
}

fn control(tree: &Path, name: &str, arch: &str, depends: &str, about: &str) -> anyhow::Result<()> {
    // Modes are those of files in a package, whatever the umask is here.
    let kib = set_modes(tree)? / 1024;
    let text = format!(
        "Package: {name}\nVersion: {VERSION}\nArchitecture: {arch}\nMaintainer: Muster developers <muster@localhost>\n\
         Installed-Size: {kib}\nSection: devel\nPriority: optional\n{depends}Description: {about}\n \
         Muster plans, runs, records and reports whole test suites, whatever they are\n written in, and never loses a result.\n"
    );
    fs::create_dir_all(tree.join("DEBIAN"))?;
    Ok(fs::write(tree.join("DEBIAN/control"), text)?)
}

/// Sets the modes of a tree; how many bytes its files have.
fn set_modes(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            bytes += set_modes(&path)?;
        } else {
            let mode = if path.parent().is_some_and(|p| p.ends_with("usr/bin")) { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            bytes += path.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// What is wrong with the packages, if anything.
fn check(packages: &[Package], files: &[PathBuf], work: &Path) -> anyhow::Result<()> {
    let wanted = [
        (
            "muster_",
            &[
                "./usr/bin/muster",
                "./usr/share/man/man1/muster.1.gz",
                "./usr/share/man/man1/muster-run.1.gz",
                "./usr/share/bash-completion/completions/muster",
                "./usr/share/doc/muster/copyright",
            ][..],
        ),
        (
            "muster-server_",
            &["./usr/lib/systemd/system/muster-server.service", "./etc/default/muster-server"],
        ),
        (
            "muster-agent_",
            &["./usr/lib/systemd/system/muster-agent@.service", "./usr/lib/sysusers.d/muster-agent.conf"],
        ),
    ];
    for (file, (name, wanted)) in files.iter().zip(wanted) {
        ensure!(file.file_name().is_some_and(|f| f.to_string_lossy().starts_with(name)));
        let listed = said(Command::new("dpkg-deb").arg("--contents").arg(file))?;
        for path in wanted {
            ensure!(listed.lines().any(|l| l.ends_with(path)), "`{path}` is not in {}", file.display());
        }
        for line in listed.lines() {
            ensure!(line.contains(" root/root "), "{}: not root's: {line}", file.display());
            ensure!(
                !line[..10].contains(['s', 't']) && line.as_bytes()[8] != b'w',
                "{}: {line}",
                file.display()
            );
        }
    }
    // The units name the program where the package puts it.
    let root = work.join("root");
    fs::create_dir_all(root.join("var/lib/dpkg"))?;
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    for Package { tree, .. } in packages {
        said(Command::new("cp").arg("-a").arg(tree.join("usr")).arg(&root))?;
    }
    // And the shell where every system has it.
    fs::create_dir_all(root.join("bin"))?;
    fs::copy("/bin/sh", root.join("bin/sh"))?;
    if Path::new("/usr/bin/systemd-analyze").exists() {
        let mut verify = Command::new("systemd-analyze");
        verify.arg("verify").arg("--man=no").arg(format!("--root={}", root.display()));
        let output = verify
            .args(["muster-server.service", "muster-agent.service", "muster-agent@x.service"])
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        // Units of the system that are not in this root are no fault of ours.
        let wrong: Vec<&str> =
            text.lines().filter(|l| l.contains("muster") && !l.contains("not found")).collect();
        ensure!(wrong.is_empty(), "systemd does not like the units:\n{}", wrong.join("\n"));
    } else {
        super::say("there is no systemd-analyze here: nobody has read the units");
    }
    if said(Command::new("id").arg("-u"))?.trim() == "0" {
        installs(files, &root)?;
    }
    Ok(())
}

/// dpkg installs them in a root of their own and removes them, and keeps what people have edited.
fn installs(files: &[PathBuf], root: &Path) -> anyhow::Result<()> {
    fs::remove_dir_all(root)?;
    for dir in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    // What they depend on is of the host; the scripts are run with DPKG_ROOT set, not in a chroot.
    let dpkg = || {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", root.display()));
        dpkg.args(["--force-depends", "--force-script-chrootless", "--force-confold", "--log=/dev/null"]);
        dpkg
    };
    said(dpkg().arg("--install").args(files))?;
    let version = said(Command::new(root.join("usr/bin/muster")).arg("--version"))?;
    ensure!(version.contains(VERSION), "the installed program says `{}`", version.trim());
    let edited = root.join("etc/default/muster-agent");
    fs::write(&edited, "MUSTER_SERVER=http://lab:7117\n")?;
    said(dpkg().arg("--install").args(files))?;
    ensure!(fs::read_to_string(&edited)?.contains("lab:7117"), "an upgrade lost what was edited");
    said(dpkg().args(["--remove", "muster-agent", "muster-server", "muster"]))?;
    ensure!(!root.join("usr/bin/muster").exists() && edited.exists(), "removing is not purging");
    Ok(())
}

/// What a program says; it must succeed.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
