//! The directory of packages on a device: what is there, who uses it, and room for more.

use super::far::{Far, FarError, Said};
use super::look::{Eyes, MAGIC};
use super::sums::Tool;
use crate::own::about::Reference;
use crate::own::error::{At as _, PackageError};
use crate::own::lock::{Lock, write_file};
use crate::own::names::Published;
use crate::own::place::Place;
use muster_core::digest::Digest;
use serde::Serialize;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::PathBuf;

/// The directory, in a device's directory for tests.
const DIR: &str = "muster-packages";

/// Looks around: $1 is the directory, $2 who looks; the others are the packages that are meant. What another host
/// has begun and not ended is taken away when the device was restarted since, or when a day has passed.
const PROBE: &str = r#"umask 022
r=$1; m=$2; shift 2
for d in trees records names uses "incoming/$m"; do mkdir -p "$r/$d" || exit 9; done
cd "$r" || exit 9
b=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
for i in incoming/*; do
case $i in "incoming/$m") continue;; "incoming/$m".*) rm -rf "$i"; continue;; esac
[ -n "$b" ] && [ -f "$i/boot" ] && read -r x < "$i/boot" && [ "$x" != "$b" ] && rm -rf "$i"
done
find incoming -mindepth 1 -maxdepth 1 -mtime +1 ! -name "$m" -exec rm -rf {} \; 2>/dev/null
echo "$b" > "incoming/$m/new" && mv -f "incoming/$m/new" "incoming/$m/boot" || exit 9
for t in "incoming/$m"/*; do
n=${t##*/}
if [ "${#n}" -eq 64 ] && [ -d "$t" ]; then rm -rf "incoming/$m/old"; mv "$t" "incoming/$m/old"; fi
done
[ -d "incoming/$m/old" ] && echo left
s=
for c in cksum md5sum sha256sum tar readlink dd; do
if command -v $c >/dev/null 2>&1; then echo "tool $c"; case $c in *sum) s=$c;; esac; fi
done
df -kP . 2>/dev/null | while read -r l; do echo "df $l"; done
for n in names/*; do [ -f "$n" ] && read -r a < "$n" && echo "name ${n#names/} $a"; done
for t in trees/*; do [ -d "$t" ] && echo "tree ${t#trees/}"; done
for t in $(ls -t records 2>/dev/null); do
{ read -r x; read -r l; } < "records/$t"
[ "$x" = "MAGIC" ] && echo "record $t $l"
done
for u in uses/*; do [ -f "$u" ] && while read -r d; do echo "use ${u#uses/} $d"; done < "$u"; done
for d; do [ -n "$s" ] && [ -f "records/$d" ] && echo "sum $d $($s < "records/$d")"; done
echo end
"#;

/// Takes packages away: $1 is the directory, $2 who does it. Without its record one is nothing.
const EVICT: &str = r#"cd "$1" || exit 9
i=incoming/$2; shift 2
for d; do
rm -f "records/$d"
rm -rf "$i/gone"
[ -d "trees/$d" ] && mv "trees/$d" "$i/gone" && rm -rf "$i/gone"
done
exit 0
"#;

/// Takes away what this host has put together. It gets another name first: where the connection is lost now, this
/// goes on while the next install begins.
pub(super) const TIDY: &str =
    "cd \"$1\" && mv \"incoming/$2\" \"incoming/$2.$$\" && rm -rf \"incoming/$2.$$\"";

/// The packages of a device.
pub struct DevicePlace<'a> {
    pub(super) far: &'a dyn Far,
    pub(super) host: &'a Place,
    /// The directory there.
    pub(super) root: String,
    /// This host, as the device knows it.
    pub(super) me: String,
    /// Bytes that were sent.
    pub(super) sent: Cell<u64>,
    /// Nobody else of this host installs there.
    _lock: Lock,
}

/// Something that is installed on a device.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceEntry {
    /// What it is.
    pub package: Published,
    /// Where.
    pub dir: String,
    /// Whether it is what was installed last of its name.
    pub is_current: bool,
    /// Whether it was so before.
    pub is_last: bool,
    /// Who uses it.
    pub used_by: Vec<String>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Probe {
    pub(super) has_tar: bool,
    pub(super) has_readlink: bool,
    pub(super) has_dd: bool,
    pub(super) tool: Option<Tool>,
    pub(super) free: Option<u64>,
    /// Something of an install of this host that was cut off.
    pub(super) has_left: bool,
    /// What was installed last, and what before that.
    pub(super) names: BTreeMap<String, (Digest, Option<Digest>)>,
    pub(super) trees: HashSet<Digest>,
    /// Those used last come first.
    pub(super) records: Vec<Published>,
    pub(super) uses: Vec<(String, Digest)>,
    pub(super) record_sums: HashMap<Digest, String>,
}

impl Probe {
    pub(super) fn eyes(&self) -> Eyes {
        Eyes { tool: self.tool, readlink: self.has_readlink }
    }

    fn read(said: &[u8]) -> Result<Self, String> {
        let said = String::from_utf8_lossy(said);
        let mut probe = Self::default();
        let mut has_ended = false;
        for line in said.lines().map(str::trim_end) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "end" => has_ended = true,
                "left" => probe.has_left = true,
                "tool" => match rest {
                    "tar" => probe.has_tar = true,
                    "readlink" => probe.has_readlink = true,
                    "dd" => probe.has_dd = true,
                    name => {
                        let tool = Tool::ALL.into_iter().find(|tool| tool.word() == name);
                        probe.tool = tool.or(probe.tool);
                    }
                },
                // The last line is that of the file system; blocks are of 1024 bytes.
                "df" => {
                    let blocks = rest.split_whitespace().nth(3).and_then(|n| n.parse::<u64>().ok());
                    probe.free = blocks.map(|n| n.saturating_mul(1024));
                }
                "name" => {
                    let mut words = rest.split(' ');
                    let (name, current, last) = (words.next(), words.next(), words.next());
                    if let (Some(name), Some(Ok(current))) = (name, current.map(str::parse)) {
                        let last = last.and_then(|digest| digest.parse().ok());
                        probe.names.insert(name.to_owned(), (current, last));
                    }
                }
                "tree" => probe.trees.extend(rest.parse::<Digest>()),
                "record" => probe.records.extend(record(rest)),
                "use" => {
                    if let Some((holder, Ok(digest))) =
                        rest.split_once(' ').map(|(holder, digest)| (holder, digest.parse()))
                    {
                        probe.uses.push((holder.to_owned(), digest));
                    }
                }
                "sum" => {
                    if let Some((Ok(digest), sum)) =
                        rest.split_once(' ').map(|(digest, sum)| (digest.parse(), sum))
                        && let Some(sum) = probe.tool.and_then(|tool| tool.read(sum))
                    {
                        probe.record_sums.insert(digest, sum);
                    }
                }
                _ => return Err(format!("`{}`", line.escape_debug())),
            }
        }
        if has_ended { Ok(probe) } else { Err("an answer that ends too early".to_owned()) }
    }
}

/// `DIGEST # {…}`: nothing of it is shown or used that could not be a package.
fn record(text: &str) -> Option<Published> {
    let (digest, about) = text.split_once(" # ")?;
    let package: Published = serde_json::from_str(about).ok()?;
    let is_name = package.reference().to_string().parse::<Reference>().is_ok();
    (is_name && digest.parse() == Ok(package.digest)).then_some(package)
}

impl<'a> DevicePlace<'a> {
    /// The packages of a device, for what this host has in `host`. Waits until nobody else of this host works on
    /// the same.
    ///
    /// # Errors
    /// The device does not answer, or this host's directory cannot be written to.
    pub fn open(far: &'a dyn Far, host: &'a Place) -> Result<Self, PackageError> {
        let at = blake3::hash(far.shown().as_bytes()).to_hex();
        let lock = Lock::exclusive(&host.root().join(format!("locks/device-{at}")))?;
        let root = dir_of(far)?;
        let me = format!("{}-{}", name_of(host)?, &at[..8]);
        Ok(Self { far, host, root, me, sent: Cell::new(0), _lock: lock })
    }

    /// Where a package's files are when it is installed.
    pub fn tree(&self, digest: Digest) -> String {
        Self::tree_in(self.root.trim_end_matches(DIR), digest)
    }

    /// The same on a device with this directory for tests.
    pub fn tree_in(test_root: &str, digest: Digest) -> String {
        format!("{}/{DIR}/trees/{digest}", test_root.trim_end_matches('/'))
    }

    /// What is installed, by kind and name.
    ///
    /// # Errors
    /// The device's.
    pub fn list(&self) -> Result<Vec<DeviceEntry>, PackageError> {
        let probe = self.probe(&[])?;
        let mut all = Vec::new();
        for package in probe.records.iter().filter(|package| probe.trees.contains(&package.digest)) {
            let (digest, name) = (package.digest, probe.names.get(&name(package)));
            let used = probe.uses.iter().filter(|(_, of)| *of == digest);
            all.push(DeviceEntry {
                dir: self.tree(digest),
                is_current: name.is_some_and(|(current, _)| *current == digest),
                is_last: name.is_some_and(|(_, last)| *last == Some(digest)),
                used_by: used.map(|(holder, _)| holder.clone()).collect(),
                package: package.clone(),
            });
        }
        all.sort_by_cached_key(|e| (e.package.kind, e.package.name.clone(), !e.is_current, e.package.digest));
        Ok(all)
    }

    /// Takes away what crashes left, and what is neither current, nor the one before, nor used.
    ///
    /// # Errors
    /// The device's.
    pub fn collect(&self) -> Result<Vec<Published>, PackageError> {
        let probe = self.probe(&[])?;
        let gone = probe.spare(&BTreeSet::new());
        self.evict(&[probe.remains(), digests(&gone)].concat())?;
        self.clean()?;
        Ok(gone)
    }

    /// Says that somebody uses these packages, and no others any more: they stay until the same says that it
    /// uses none. What a holder that was cut off has left ends when it uses others.
    ///
    /// # Errors
    /// The device's.
    pub fn hold(&self, holder: &str, packages: &[Digest]) -> Result<(), PackageError> {
        hold(self.far, &self.root, holder, packages)
    }

    /// Says that somebody uses no packages of a device any more.
    ///
    /// # Errors
    /// The device's.
    pub fn let_go(far: &dyn Far, holder: &str) -> Result<(), PackageError> {
        hold(far, &dir_of(far)?, holder, &[])
    }

    pub(super) fn probe(&self, meant: &[Digest]) -> Result<Probe, PackageError> {
        let meant: Vec<String> = meant.iter().map(ToString::to_string).collect();
        let words = [&*self.root, &*self.me].into_iter().chain(meant.iter().map(String::as_str));
        let script = PROBE.replace("MAGIC", MAGIC);
        let said = self.shell("look at its packages", &script, words)?;
        Probe::read(&said).map_err(|what| self.nonsense("look at its packages", &what))
    }

    /// Makes room for so many bytes: the longest unused go first, and of those that are named the ones that
    /// nobody asks for just now. Says which went.
    pub(super) fn make_room(
        &self,
        probe: &Probe,
        needed: u64,
        wanted: &BTreeSet<Digest>,
    ) -> Result<Vec<Published>, PackageError> {
        // What is asked for has a version that works, which stays until the new one is there.
        let mut kept = wanted.clone();
        for package in &probe.records {
            let is_asked_for = |digest: &Digest| {
                self.host.record(*digest).is_some_and(|r| name(&r.package) == name(package))
            };
            if wanted.iter().any(is_asked_for)
                && let Some((current, _)) = probe.names.get(&name(package))
            {
                kept.insert(*current);
            }
        }
        let spare = probe.spare(&kept);
        let is_used = |digest: &Digest| probe.uses.iter().any(|(_, of)| of == digest);
        let others = probe.records.iter().rev().filter(|p| {
            !kept.contains(&p.digest) && !is_used(&p.digest) && !spare.iter().any(|s| s.digest == p.digest)
        });
        let mut victims: Vec<Published> = spare.iter().chain(others).cloned().collect();
        victims.reverse();
        let remains: Vec<Digest> = probe.remains().into_iter().filter(|d| !wanted.contains(d)).collect();
        self.evict(&remains)?;
        let (mut gone, mut freed) = (Vec::new(), 0);
        loop {
            if freed == 0 {
                let free = self.probe(&[])?.free.unwrap_or(u64::MAX);
                if free >= needed {
                    return Ok(gone);
                }
                if victims.is_empty() {
                    let dir = PathBuf::from(format!("{}:{}", self.far.shown(), self.root));
                    return Err(PackageError::NoRoom { dir, needed, free });
                }
            }
            // As much as should be enough, and then it is measured.
            let Some(next) = victims.pop() else {
                freed = 0;
                continue;
            };
            self.evict(&[next.digest])?;
            freed += next.bytes;
            if freed >= needed {
                freed = 0;
            }
            gone.push(next);
        }
    }

    fn evict(&self, packages: &[Digest]) -> Result<(), PackageError> {
        let words: Vec<String> = packages.iter().map(ToString::to_string).collect();
        for some in words.chunks(256) {
            let words = [&*self.root, &*self.me].into_iter().chain(some.iter().map(String::as_str));
            self.shell("make room", EVICT, words)?;
        }
        Ok(())
    }

    /// Takes away what this host has begun and not ended.
    pub(super) fn clean(&self) -> Result<(), PackageError> {
        self.shell("tidy up", TIDY, [&*self.root, &*self.me]).map(drop)
    }

    /// A file of what this host puts together.
    pub(super) fn incoming(&self, name: &str) -> String {
        format!("{}/incoming/{}/{name}", self.root, self.me)
    }

    pub(super) fn push(&self, doing: &str, bytes: &[u8], to: &str) -> Result<(), PackageError> {
        self.push_from(doing, &mut &*bytes, bytes.len() as u64, to)
    }

    pub(super) fn push_from(
        &self,
        doing: &str,
        from: &mut dyn std::io::Read,
        bytes: u64,
        to: &str,
    ) -> Result<(), PackageError> {
        self.sent.set(self.sent.get() + bytes);
        self.far.push(from, bytes, to).map_err(|e| failed(self.far, doing, e))
    }

    /// Runs a few lines and returns what they print.
    pub(super) fn shell<'w>(
        &self,
        doing: &str,
        lines: &str,
        words: impl IntoIterator<Item = &'w str>,
    ) -> Result<Vec<u8>, PackageError> {
        let said = shell(self.far, doing, lines, words)?;
        self.done(doing, said).map(|said| said.out)
    }

    /// Runs a script that is there.
    pub(super) fn script(&self, doing: &str, script: &str, words: &[&str]) -> Result<Said, PackageError> {
        let words = [&["sh", script], words].concat();
        self.far.run(&words).map_err(|e| failed(self.far, doing, e))
    }

    /// That it went well.
    pub(super) fn done(&self, doing: &str, said: Said) -> Result<Said, PackageError> {
        if said.code == 0 { Ok(said) } else { Err(failed(self.far, doing, refused(&said))) }
    }

    pub(super) fn nonsense(&self, doing: &str, what: &str) -> PackageError {
        failed(self.far, doing, format!("it answered something else than expected: {what}").into())
    }
}

impl Probe {
    /// What is neither current, nor the one before, nor used: the longest unused first.
    fn spare(&self, kept: &BTreeSet<Digest>) -> Vec<Published> {
        let is_named = |d: &Digest| self.names.values().any(|(c, l)| c == d || *l == Some(*d));
        let is_used = |d: &Digest| self.uses.iter().any(|(_, of)| of == d);
        let is_spare = |d: &Digest| !kept.contains(d) && !is_named(d) && !is_used(d);
        self.records.iter().rev().filter(|p| is_spare(&p.digest)).cloned().collect()
    }

    /// Trees without a record: what crashes left.
    fn remains(&self) -> Vec<Digest> {
        let recorded: HashSet<Digest> = self.records.iter().map(|p| p.digest).collect();
        self.trees.iter().filter(|digest| !recorded.contains(digest)).copied().collect()
    }
}

fn digests(packages: &[Published]) -> Vec<Digest> {
    packages.iter().map(|package| package.digest).collect()
}

/// What a package's name is kept under.
pub(super) fn name(package: &Published) -> String {
    format!("{}-{}", package.kind, package.name)
}

/// A name for a directory of this host, the same whenever it is asked for.
fn name_of(host: &Place) -> Result<String, PackageError> {
    let file = host.root().join("name");
    let read = || fs::read_to_string(&file).ok().filter(|n| n.len() == 16);
    if let Some(name) = read() {
        return Ok(name);
    }
    let _lock = Lock::exclusive(&host.root().join("locks/name"))?;
    if let Some(name) = read() {
        return Ok(name);
    }
    let fresh = tempfile::Builder::new().rand_bytes(16).tempfile_in(host.incoming()).at(&host.incoming())?;
    let name = blake3::hash(fresh.path().as_os_str().as_encoded_bytes()).to_hex()[..16].to_owned();
    write_file(&file, name.as_bytes(), &host.incoming())?;
    Ok(name)
}

/// The directory of packages on a device.
fn dir_of(far: &dyn Far) -> Result<String, PackageError> {
    let root = far.root().map_err(|e| failed(far, "say where its directory for tests is", e))?;
    Ok(format!("{}/{DIR}", root.trim_end_matches('/')))
}

fn hold(far: &dyn Far, root: &str, holder: &str, packages: &[Digest]) -> Result<(), PackageError> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let holder: String = holder.chars().map(plain).collect();
    let lines = r#"cd "$1" || exit 9
u=uses/$2; shift 2
if [ "$#" -eq 0 ]; then rm -f "$u"; exit 0; fi
for d; do echo "$d"; done > "$u""#;
    let packages: Vec<String> = packages.iter().map(ToString::to_string).collect();
    let words = [root, &*holder].into_iter().chain(packages.iter().map(String::as_str));
    let doing = "say what is used";
    let said = shell(far, doing, lines, words)?;
    if said.code == 0 { Ok(()) } else { Err(failed(far, doing, refused(&said))) }
}

fn shell<'w>(
    far: &dyn Far,
    doing: &str,
    lines: &str,
    words: impl IntoIterator<Item = &'w str>,
) -> Result<Said, PackageError> {
    let words: Vec<&'w str> = words.into_iter().collect();
    far.run(&[&["sh", "-c", lines, "sh"], &words[..]].concat()).map_err(|e| failed(far, doing, e))
}

fn refused(said: &Said) -> FarError {
    let text = String::from_utf8_lossy(&[&*said.out, b"\n", &*said.err].concat()).into_owned();
    let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing");
    format!("{} (code {})", last.trim(), said.code).into()
}

pub(super) fn failed(far: &dyn Far, doing: &str, source: FarError) -> PackageError {
    PackageError::Device { device: far.shown(), doing: doing.to_owned(), source }
}
