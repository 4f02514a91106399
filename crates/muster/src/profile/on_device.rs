//! Profilers on a device that has no more than a shell and `/proc`.
//!
//! A shell starts them beside itself and then becomes the program of the step, with the number that they watch: what
//! comes of the program is seen as without them. A shell beside each profiler ends it when the program has ended,
//! whatever becomes of the connection. What they left is brought back before the attempt's directory is removed.

use super::programs::IOSTAT;
use super::{Tell, sampler};
use crate::far::Reached;
use crate::terminal::text::{add, quoted};
use anyhow::{Context as _, bail};
use muster_agent::tasks::{Profiler, ProfilerPlace};
use muster_package::own::{DevicePlace, Far as _};
use std::path::Path;

/// Where profilers leave their files, in the attempt's directory on the device.
const DIR: &str = ".muster-profile";

/// What the shell knows. The names are such that the program has no variables of these names in its environment.
///
/// `mu_watch NAME FILE PROGRAM…` starts a profiler that watches when there is something in the file. It is sent
/// SIGINT, and SIGTERM behind it: shells have what they start beside themselves ignore the first. After ten seconds
/// it is killed. Then its exit code is in `.NAME.code`. The shell that does so has the number in `.NAME.pid`.
const WATCH: &str = r#"
mu_d=$1; shift
mu_nap() { sleep 0.$1 2>/dev/null || sleep 1; }
mu_watch() {
    mu_n=$1 mu_f=$2; shift 2
    : > "$mu_d/.$mu_n.out" || return
    ( trap '' HUP
      { "$@" < /dev/null > "$mu_d/.$mu_n.out" 2> "$mu_d/.$mu_n.err" &
        mu_p=$!
        while [ -d /proc/$$ ] && kill -0 $mu_p; do mu_nap 3; done
        kill -INT $mu_p && mu_nap 5
        kill $mu_p; mu_i=0
        while kill -0 $mu_p && [ $mu_i -lt 50 ]; do mu_nap 2; mu_i=$((mu_i + 1)); done
        kill -9 $mu_p && echo 'it was not done in time, and what it left may not be whole' >> "$mu_d/.$mu_n.err"
        wait $mu_p
        echo $? > "$mu_d/.$mu_n.code"
      } < /dev/null > /dev/null 2>&1 &
      echo $! > "$mu_d/.$mu_n.pid" )
    mu_i=0
    while [ ! -s "$mu_f" ] && [ ! -e "$mu_d/.$mu_n.code" ] && [ $mu_i -lt 20 ]; do
        mu_nap 1; mu_i=$((mu_i + 1))
    done
}
mkdir -p "$mu_d" || exec "$@"
"#;

/// Waits until all profilers have ended, says what each came to, and removes what nobody wants to read.
const ENDED: &str = r#"
cd "$1" || exit 1
mu_i=0
for out in .*.out */.*.out; do
    [ -e "$out" ] || continue
    one=${out%.out} code=none last= shell=none
    [ -s "$one.pid" ] && read -r shell < "$one.pid"
    while [ ! -s "$one.code" ] && [ -d "/proc/$shell" ] && [ $mu_i -lt 75 ]; do
        sleep 0.2 2>/dev/null || sleep 1
        mu_i=$((mu_i + 1))
    done
    [ -s "$one.code" ] && read -r code < "$one.code"
    [ -s "$one.err" ] && last=$(tail -n 1 "$one.err")
    echo "$code ${one##*/.} $last"
    case $code in 0 | 130 | 143) rm -f "$out" "$one.err" "$one.code" ;; esac
    rm -f "$one.pid"
done
exit 0"#;

/// The words by which a program in the attempt's directory is started so that profilers watch it, which leave their
/// files for this step and tell in this directory of the host; its own words where nothing can watch it there.
pub(crate) fn argv(
    far: &Reached<'_>,
    dir: &str,
    (profilers, told, step): (&[Profiler], &str, &str),
    argv: &[String],
) -> Vec<String> {
    let mut tell = Tell::within(Path::new(told));
    match script(far, profilers, &mut tell) {
        Ok(script) => {
            let there = place(dir, step);
            let words = ["sh", "-c", &script, "sh", &there].map(str::to_owned);
            words.into_iter().chain(argv.iter().cloned()).collect()
        }
        Err(error) => {
            tell.line(&format!("it was not watched on the device: {error:#}"));
            argv.to_vec()
        }
    }
}

fn place(dir: &str, step: &str) -> String {
    if step.is_empty() { format!("{dir}/{DIR}") } else { format!("{dir}/{DIR}/{step}") }
}

/// The lines of the shell that becomes the program.
fn script(far: &Reached<'_>, profilers: &[Profiler], tell: &mut Tell) -> Result<String, anyhow::Error> {
    let has_proc = far.run(&["sh", "-c", "[ -d /proc/$$ ]"]).map_err(anyhow::Error::from_boxed)?;
    if has_proc.code != 0 {
        bail!("it has no shell, or no `/proc`");
    }
    let mut script = WATCH.to_owned();
    for profiler in profilers {
        match line(far, profiler) {
            Ok(line) => add!(script, "{line}\n"),
            Err(error) => tell.line(&format!("`{}` did not watch it: {error:#}", profiler.name)),
        }
    }
    script.push_str("exec \"$@\"");
    Ok(script)
}

/// The line that starts a profiler.
fn line(far: &Reached<'_>, profiler: &Profiler) -> Result<String, anyhow::Error> {
    let Profiler { name, place } = profiler;
    let package = match place {
        ProfilerPlace::BuiltIn => {
            return Ok(match name.as_str() {
                "proc-sampler" => format!(
                    "mu_watch proc-sampler \"$mu_d/.proc-sampler.out\" sh -c {} sh $$ \"$mu_d/{RAW}\"",
                    quoted(sampler::ON_DEVICE)
                ),
                "iostat" => format!(
                    "mu_watch iostat \"$mu_d/.iostat.out\" sh -c {} sh \"$mu_d/iostat.txt\"",
                    quoted(IOSTAT)
                ),
                "perf" => {
                    "mu_watch perf \"$mu_d/perf.data\" perf record -q -g -F 99 -o \"$mu_d/perf.data\" -p $$"
                        .to_owned()
                }
                "strace" => {
                    "mu_watch strace \"$mu_d/.strace.err\" strace -f -c -o \"$mu_d/strace.txt\" -p $$"
                        .to_owned()
                }
                _ => bail!("there is none of this name"),
            });
        }
        ProfilerPlace::Dir(dir) => dir.clone(),
        ProfilerPlace::OnDevice(digest) => {
            DevicePlace::tree_in(&far.root().map_err(anyhow::Error::from_boxed)?, *digest)
        }
        ProfilerPlace::Nowhere => bail!("its package is none of those that the run was given"),
    };
    let files = name.trim_start_matches("profiler:");
    let (said, files) = (quoted(files).into_owned(), format!("\"$mu_d\"/{}", quoted(files)));
    let program = quoted(&format!("{package}/profile")).into_owned();
    Ok(format!("mkdir -p {files} && mu_watch {said} \"$mu_d\"/.{said}.out {program} $$ {files}"))
}

/// What `proc-sampler` has seen, before it is a table and a plot.
const RAW: &str = "proc-sampler.raw";

/// Brings back what profilers left, into this directory, and tells there what went wrong.
pub(crate) fn bring_back(far: &Reached<'_>, dir: &str, into: &Path) {
    let mut tell = Tell::within(into);
    if let Err(error) = bring(far, dir, into, &mut tell) {
        tell.line(&format!("what was left on the device is not brought back: {error:#}"));
    }
}

fn bring(far: &Reached<'_>, dir: &str, into: &Path, tell: &mut Tell) -> Result<(), anyhow::Error> {
    let there = place(dir, "");
    let files = far.device.files()?;
    if files.stat(&there, far.until)?.is_none() {
        bail!("there is nothing");
    }
    let ended = far.run(&["sh", "-c", ENDED, "sh", &there]).map_err(anyhow::Error::from_boxed)?;
    for line in String::from_utf8_lossy(&ended.out).lines() {
        let mut words = line.splitn(3, ' ');
        let (code, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let last = words.next().filter(|last| !last.is_empty()).unwrap_or("it said nothing");
        match code {
            "0" | "130" | "143" => {}
            "none" => tell.line(&format!("`{name}` was ended on the device before it was done")),
            code => tell.line(&format!("`{name}` did not do its work on the device: {last} (code {code})")),
        }
    }
    std::fs::create_dir_all(into).with_context(|| format!("cannot make `{}`", into.display()))?;
    files.pull_path(&there, into, far.until)?;
    let steps = std::fs::read_dir(into).into_iter().flatten().flatten().map(|entry| entry.path());
    for dir in std::iter::once(into.to_owned()).chain(steps.filter(|path| path.is_dir())) {
        let raw = dir.join(RAW);
        if raw.is_file()
            && let Err(error) = sampler::seen_on_device(&raw)
        {
            tell.line(&format!("`proc-sampler` did not do its work on the device: {error:#}"));
        }
    }
    Ok(())
}
