//! A guest as small as can be: a kernel, and in its memory a busybox and this program.

use muster_device::sut::{Agent, AgentConfig};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules by which a guest reaches its network card and its disk, each after those it needs.
const MODULES: [&str; 9] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/block/virtio_blk",
];

/// The first process of the guest.
const INIT: &str = "#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /tmp /root
for m in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover \\
         virtio_net virtio_blk; do insmod /lib/modules/$m.ko; done
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
export PATH=/bin HOME=/root
while read -r line; do echo \"the console heard $line\"; done </dev/ttyS0 >/dev/ttyS0 &
while :; do /agent --ignored --exact agent_of_the_guest --nocapture; sleep 1; done
";

/// Where `cargo xtask setup` has put the kernel.
fn kernel() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    let dir = cache.join("muster-test/guest-kernel");
    assert!(dir.join("boot").is_dir(), "`cargo xtask setup` puts a kernel into {}", dir.display());
    dir
}

/// The only entry of a directory that begins so.
fn only(dir: &Path, begin: &str) -> PathBuf {
    let mut found = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    found.find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(begin)).unwrap()
}

/// Makes kernel, memory image and disk, and the file that tells of them.
pub(crate) fn make(dir: &Path) -> PathBuf {
    let kernel = kernel();
    let root = dir.join("root");
    for name in ["bin", "dev", "etc", "lib/modules", "lib64", "proc", "sys", "tmp", "root"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let busybox = Path::new("/bin/busybox");
    assert!(busybox.exists(), "`cargo xtask setup` installs busybox-static, which this needs");
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    let list = Command::new(busybox).arg("--list").output().unwrap();
    for name in String::from_utf8(list.stdout).unwrap().lines().filter(|n| *n != "busybox") {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    let modules = only(&kernel.join("lib/modules"), "").join("kernel");
    for module in MODULES {
        let name = format!("{}.ko", module.rsplit('/').next().unwrap());
        fs::copy(modules.join(format!("{module}.ko")), root.join("lib/modules").join(name)).unwrap();
    }
    let me = std::env::current_exe().unwrap();
    // What is there for debuggers alone is ten times the rest.
    run(Command::new("strip").args(["--strip-all", "-o"]).arg(root.join("agent")).arg(&me));
    for program in [busybox, &me] {
        let needed = Command::new("ldd").arg(program).output().unwrap();
        let needed = String::from_utf8(needed.stdout).unwrap();
        for library in needed.split_whitespace().filter(|w| w.starts_with('/')) {
            let to = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(library, to).unwrap();
        }
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(root.join("init"), INIT).unwrap();
    run(Command::new("chmod").arg("755").arg(root.join("init")));
    let pack = format!("cd '{}' && find . | cpio --quiet -o -H newc | gzip -1 > ../initrd", root.display());
    run(Command::new("sh").args(["-c", &pack]));
    fs::copy(only(&kernel.join("boot"), "vmlinuz"), dir.join("kernel")).unwrap();
    fs::write(dir.join("disk.img"), vec![0; 1 << 20]).unwrap();
    let file = dir.join("guest.toml");
    let text = "kernel = \"kernel\"\ninitrd = \"initrd\"\nimage = \"disk.img\"\nformat = \"raw\"\n\
                append = \"console=ttyS0 quiet panic=-1\"\nboot = \"5m\"\n";
    fs::write(&file, text).unwrap();
    file
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "`cargo xtask setup` installs what this needs: {command:?}: {output:?}");
}

/// Serves the guest. It ends with the guest.
pub(crate) fn agent() {
    let mut config = AgentConfig::new("/tmp", "/root/state");
    config.bind = std::net::Ipv4Addr::UNSPECIFIED.into();
    // Whoever reaches it is QEMU, which lets nobody in but by a port of loopback.
    config.insecure = true;
    let _agent = Agent::start(config).unwrap();
    loop {
        std::thread::park();
    }
}
