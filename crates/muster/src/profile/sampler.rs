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
        let write = |name: &str, text: String| {
            let path = self.dir.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))
        };
        write("proc-sampler.csv", table(&all))?;
        write("proc-sampler.svg", picture(&all))
    }
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
    for (cpu, read, written) in known.values() {
        sample.cpu_seconds += cpu;
        sample.read_bytes += read;
        sample.written_bytes += written;
    }
    sample
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
}
