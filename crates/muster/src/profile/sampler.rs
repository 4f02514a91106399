//! What `/proc` says of a process and all of its session, some times a second: processor time, memory, bytes read and
//! written. It is left as a table and as a plot.

use super::plot::{self, Line};
use anyhow::Context as _;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks, at first.
const INTERVAL: Duration = Duration::from_millis(50);
/// Most samples that are kept. Behind them every second is left out, and it is looked half as often.
// Limit: a test of hours has as long a table as one of minutes.
const SAMPLES_MAX: usize = 4_000;
/// Parts of a second in which `/proc` tells processor time, on every Linux that Muster runs on.
const TICKS: f64 = 100.0;

/// A sample of all processes.
#[derive(Clone, Copy, Default)]
struct Sample {
    seconds: f64,
    processes: u32,
    cpu_seconds: f64,
    rss_bytes: u64,
    read_bytes: u64,
    written_bytes: u64,
}

/// One that is at work.
pub(super) struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<Vec<Sample>>,
    left_out: Arc<Mutex<HashSet<u32>>>,
    dir: PathBuf,
}

impl Sampler {
    pub(super) fn start(pid: u32, dir: &Path) -> Result<Self, anyhow::Error> {
        let (stop, stopped) = mpsc::channel();
        let left_out = Arc::new(Mutex::new(HashSet::from([std::process::id()])));
        let out = Arc::clone(&left_out);
        let thread = std::thread::Builder::new().name("sampler".to_owned()).spawn(move || {
            let (begun, mut interval, mut seen, mut all) =
                (Instant::now(), INTERVAL, HashMap::new(), Vec::new());
            loop {
                let ended = stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout);
                let mut sample = look(pid, &out.lock().unwrap_or_else(PoisonError::into_inner), &mut seen);
                sample.seconds = begun.elapsed().as_secs_f64();
                all.push(sample);
                if ended {
                    return all;
                }
                if all.len() >= SAMPLES_MAX {
                    let mut at = 0;
                    all.retain(|_| {
                        at += 1;
                        at % 2 == 0
                    });
                    interval *= 2;
                }
            }
        })?;
        Ok(Self { stop, thread, left_out, dir: dir.to_owned() })
    }

    /// These are other profilers.
    pub(super) fn leave_out(&self, pids: &[u32]) {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).extend(pids);
    }

    /// Leaves its files.
    pub(super) fn end(self) -> Result<(), anyhow::Error> {
        drop(self.stop);
        let all = self.thread.join().map_err(|_| anyhow::anyhow!("its thread has ended"))?;
        leave(&self.dir, &all)
    }
}

/// Leaves samples as a table and as a plot.
fn leave(dir: &Path, all: &[Sample]) -> Result<(), anyhow::Error> {
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))
    };
    write("proc-sampler.csv", table(all))?;
    write("proc-sampler.svg", picture(all))
}

/// The same for a device that has no more than a shell: `$1` is the process, `$2` the file for what is seen. A line of
/// it is the time and, for each process, `NUMBER:USER:SYSTEM:PAGES:READ:WRITTEN`. Only what the first process has
/// started is looked at: a device may have one session for all it does. It is looked less often as time goes on.
pub(super) const ON_DEVICE: &str = r#"
    echo "$(getconf PAGESIZE 2>/dev/null || echo 4096)" > "$2" || exit 1
    root=$1 to=$2 known=" $1 " looks=0
    while [ -d "/proc/$root" ]; do
        read -r line _ < /proc/uptime
        for stat in /proc/[0-9]*/stat; do
            { read -r text < "$stat"; } 2>/dev/null || continue
            one=${stat#/proc/} one=${one%/stat}
            [ "$one" = $$ ] && continue
            set -- ${text##*) }
            case $known in
            *" $one "*) ;;
            *" $2 "*) known="$known$one " ;;
            *) continue ;;
            esac
            user=${12} system=${13} pages=${22} read=0 written=0
            { { read -r _ read; read -r _ written; } < "/proc/$one/io"; } 2>/dev/null
            line="$line $one:$user:$system:$pages:$read:$written"
        done
        echo "$line" >> "$to" || exit 1
        # What it watches is held back until it has seen it.
        [ $looks = 0 ] && echo watching
        looks=$((looks + 1)) pause=0.2
        [ $looks -gt 1500 ] && pause=2
        [ $looks -gt 3000 ] && pause=20
        sleep $pause 2>/dev/null || sleep 1
    done"#;

/// Makes table and plot of what was seen on a device. The file goes.
///
/// # Errors
/// It is not what it should be, or the others cannot be written.
pub(super) fn seen_on_device(file: &Path) -> Result<(), anyhow::Error> {
    let text = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let all = samples(&String::from_utf8_lossy(&text)).context("what it saw on the device is not whole")?;
    leave(file.parent().context("it is nowhere")?, &all)?;
    fs::remove_file(file).with_context(|| format!("cannot remove `{}`", file.display()))
}

/// What was seen on a device. A line that was cut is left out, and so is what it saw nothing in.
fn samples(text: &str) -> Option<Vec<Sample>> {
    let mut lines = text.lines();
    let page: u64 = lines.next()?.trim().parse().ok()?;
    let (mut begun, mut known, mut all) = (None, Known::new(), Vec::new());
    for line in lines {
        let mut words = line.split(' ');
        let Some(at) = words.next().and_then(|at| at.parse::<f64>().ok()) else { continue };
        let mut sample = Sample { seconds: at - *begun.get_or_insert(at), ..Sample::default() };
        for word in words {
            let numbers: Vec<u64> = word.split(':').filter_map(|n| n.parse().ok()).collect();
            let [process, user, system, pages, read, written] = numbers[..] else { continue };
            #[expect(clippy::cast_precision_loss, reason = "it is drawn")]
            let cpu = user.saturating_add(system) as f64 / TICKS;
            known.insert(u32::try_from(process).ok()?, (cpu, read, written));
            sample.processes += 1;
            sample.rss_bytes = sample.rss_bytes.saturating_add(pages.saturating_mul(page));
        }
        if sample.processes > 0 {
            sample.add(&known);
            all.push(sample);
        }
    }
    (!all.is_empty()).then_some(all)
}

/// What processes had used when they were seen last: what has ended counts on.
type Known = HashMap<u32, (f64, u64, u64)>;

fn look(pid: u32, left_out: &HashSet<u32>, known: &mut Known) -> Sample {
    let session = stat(pid).map_or(0, |stat| stat.session);
    let mut sample = Sample::default();
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for other in pids.filter(|pid| !left_out.contains(pid)) {
        let Some(stat) = stat(other) else { continue };
        if other != pid && (session == 0 || stat.session != session) && !known.contains_key(&stat.parent) {
            continue;
        }
        let (read, written) = io(other).unwrap_or_default();
        known.insert(other, (stat.cpu_seconds, read, written));
        sample.processes += 1;
        sample.rss_bytes += rss(other).unwrap_or(0);
    }
    sample.add(known);
    sample
}

impl Sample {
    /// Adds what all processes have used so far.
    fn add(&mut self, known: &Known) {
        for (cpu, read, written) in known.values() {
            self.cpu_seconds += cpu;
            self.read_bytes = self.read_bytes.saturating_add(*read);
            self.written_bytes = self.written_bytes.saturating_add(*written);
        }
    }
}

struct Stat {
    parent: u32,
    session: u32,
    cpu_seconds: f64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything.
    let words: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| words.get(at)?.parse::<u32>().ok();
    let ticks: f64 = [11, 12].iter().filter_map(|at| words.get(*at)?.parse::<f64>().ok()).sum();
    Some(Stat { parent: number(1)?, session: number(3)?, cpu_seconds: ticks / TICKS })
}

fn rss(pid: u32) -> Option<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:").map(|kib| kib * 1024)
}

fn io(pid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    Some((field(&text, "rchar:")?, field(&text, "wchar:")?))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn table(all: &[Sample]) -> String {
    let mut text = "seconds,processes,cpu_seconds,rss_bytes,read_bytes,written_bytes\n".to_owned();
    for Sample { seconds, processes, cpu_seconds, rss_bytes, read_bytes, written_bytes } in all {
        // A string takes all that is written to it.
        let _ = writeln!(
            text,
            "{seconds:.3},{processes},{cpu_seconds:.2},{rss_bytes},{read_bytes},{written_bytes}"
        );
    }
    text
}

fn picture(all: &[Sample]) -> String {
    let rate = |value: fn(&Sample) -> f64| {
        let pairs = all.windows(2).map(move |two| {
            let seconds = (two[1].seconds - two[0].seconds).max(1e-3);
            (two[1].seconds, (value(&two[1]) - value(&two[0])).max(0.0) / seconds)
        });
        pairs.collect::<Vec<_>>()
    };
    #[expect(clippy::cast_precision_loss, reason = "it is drawn")]
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let memory = all.iter().map(|s| (s.seconds, megabytes(s.rss_bytes))).collect();
    #[expect(clippy::cast_precision_loss, reason = "it is drawn")]
    let [read, written] = [rate(|s| s.read_bytes as f64 / 1e6), rate(|s| s.written_bytes as f64 / 1e6)];
    plot::svg(&[
        ("processors", vec![Line { name: "busy", points: rate(|s| s.cpu_seconds) }]),
        ("memory, MB", vec![Line { name: "resident", points: memory }]),
        ("bytes, MB/s", vec![Line { name: "read", points: read }, Line { name: "written", points: written }]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_and_its_children_use_is_seen_and_left_as_table_and_plot() {
        let dir = tempfile::tempdir().unwrap();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 0.3 & head -c 30000000 /dev/zero | wc -c; wait";
        let mut child = std::process::Command::new("sh").args(["-c", busy]).spawn().unwrap();
        let sampler = Sampler::start(child.id(), dir.path()).unwrap();
        child.wait().unwrap();
        sampler.end().unwrap();
        let table = fs::read_to_string(dir.path().join("proc-sampler.csv")).unwrap();
        let last: Vec<f64> = table.lines().last().unwrap().split(',').map(|n| n.parse().unwrap()).collect();
        assert!(last[0] >= 0.2 && last[2] > 0.0, "{table}");
        assert!(
            table.lines().skip(1).any(|l| l.split(',').nth(3).unwrap().parse::<u64>().unwrap() > 100_000),
            "{table}"
        );
        let plot = fs::read_to_string(dir.path().join("proc-sampler.svg")).unwrap();
        assert!(plot.starts_with("<svg") && plot.matches("<polyline").count() == 4, "{plot}");
    }

    #[test]
    fn what_a_shell_sees_becomes_the_same_table_and_plot() {
        let dir = tempfile::tempdir().unwrap();
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 0.3 & head -c 30000000 /dev/zero | wc -c; wait";
        let mut child = std::process::Command::new("sh").args(["-c", busy]).spawn().unwrap();
        let raw = dir.path().join("raw");
        let words = ["-c", ON_DEVICE, "sh", &child.id().to_string(), &raw.display().to_string()];
        let mut sampler =
            std::process::Command::new("sh").args(words).stdout(std::process::Stdio::null()).spawn().unwrap();
        child.wait().unwrap();
        assert!(sampler.wait().unwrap().success());
        seen_on_device(&raw).unwrap();
        assert!(!raw.exists());
        let table = fs::read_to_string(dir.path().join("proc-sampler.csv")).unwrap();
        let last: Vec<f64> = table.lines().last().unwrap().split(',').map(|n| n.parse().unwrap()).collect();
        assert!(last[0] >= 0.2 && last[2] > 0.0, "{table}");
        assert!(last[3] > 100_000.0, "{table}");
        assert!(dir.path().join("proc-sampler.svg").exists());
    }

    #[test]
    fn lines_of_a_device_that_are_cut_or_nonsense_are_left_out() {
        let all = samples("4096\n10.50 7:1:2:3:4\n10.70 7:100:50:2:10:20 x\nnonsense\n11.70 8:1:0:1:0:0\n")
            .unwrap();
        let told: Vec<_> = all.iter().map(|s| (s.processes, s.rss_bytes, s.read_bytes)).collect();
        assert_eq!(told, [(1, 8192, 10), (1, 4096, 10)]);
        assert!((all[1].cpu_seconds - 1.51).abs() < 1e-9);
        for wrong in ["", "x\n", "4096\n", "4096\n1.0\n"] {
            assert!(samples(wrong).is_none(), "{wrong}");
        }
    }
}
