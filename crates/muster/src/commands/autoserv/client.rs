//! The client on the device: installed where it is another, and started.

use super::shelf::Shelf;
use crate::error::Complaint;
use muster_device::{Captured, Command, Device, DeviceError, Exit, Until};
use muster_package::autotest::{Location, PackageName};
use std::fmt::Write as _;
use std::fs::File;
use std::time::Duration;

/// The control file of a job, as Autotest's own server names it.
const CONTROL: &str = "control.autoserv";

/// Unpacks a client beside the one that is there and puts it in its place: $1 is the directory, $2 the package,
/// $3 its sum. Packages, results and what tests keep in `tmp` stay.
const INSTALL: &str = r#"set -e
new="$1.new"; old="$1.old"
rm -rf "$new" "$old"; mkdir -p "$new" "$1"
tar -xjf "$2" -C "$new" --no-same-owner
for kept in packages results tmp; do
  if [ -e "$1/$kept" ]; then rm -rf "$new/$kept"; mv "$1/$kept" "$new/$kept"; fi
done
printf '%s\n' "$3" > "$new/.checksum"
mv "$1" "$old"; mv "$new" "$1"; rm -rf "$old" "$2"
"#;

/// A client on a device.
pub(super) struct Client<'a> {
    pub(super) device: &'a dyn Device,
    /// Where it is installed.
    pub(super) autodir: String,
    pub(super) python: String,
    pub(super) tag: String,
}

impl Client<'_> {
    /// Has the client of the shelf there, and says how.
    pub(super) fn install(&self, shelf: &Shelf, until: &Until) -> Result<String, anyhow::Error> {
        let file = PackageName::client().file();
        let package = shelf.get(&file).map_err(|why| {
            Complaint::lab("there is no client to install")
                .because(why)
                .hint("`--sources DIR` has it in `client/`; a repository has it as `client-autotest.tar.bz2`")
        })?;
        let sum = package.md5.to_string();
        if self.read(".checksum", until)?.trim() == sum {
            return Ok(format!("{sum}, which is there"));
        }
        let files = self.device.files()?;
        let to = format!("{}.package", self.autodir);
        let parent = self.autodir.rsplit_once('/').map_or("/", |(parent, _)| parent);
        files.make_dir(if parent.is_empty() { "/" } else { parent }, until)?;
        let mut from = File::open(package.path())?;
        files.push(&mut from, package.bytes, &to, until)?;
        let (exit, said) = self.shell(INSTALL, &[&self.autodir, &to, &sum], until)?;
        if exit != Exit::Code(0) {
            return Err(Complaint::lab("the client cannot be installed on the device").because(said).into());
        }
        Ok(format!("{sum} from {}, installed in {}", package.from, self.autodir))
    }

    /// A file of the client; empty where there is none.
    pub(super) fn read(&self, name: &str, until: &Until) -> Result<String, DeviceError> {
        let path = format!("{}/{name}", self.autodir);
        let files = self.device.files()?;
        if files.stat(&path, until)?.is_none() {
            return Ok(String::new());
        }
        let mut bytes = Vec::new();
        files.pull(&path, 0, &mut bytes, until)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Puts the control file there, behind the lines that Autotest's server puts before it.
    pub(super) fn put_control(
        &self,
        control: &[u8],
        args: &[String],
        pull: &[Location],
        until: &Until,
    ) -> Result<(), anyhow::Error> {
        let mut text = format!("args = {}\n", python_list(args.iter().map(String::as_str)));
        // The client tries the last of them first.
        let urls: Vec<String> = pull.iter().rev().filter_map(|l| l.url().map(str::to_owned)).collect();
        if !urls.is_empty() {
            writeln!(text, "job.add_repository({})", python_list(urls.iter().map(String::as_str)))?;
        }
        let mut text = text.into_bytes();
        text.extend_from_slice(control);
        let to = format!("{}/{CONTROL}", self.autodir);
        // What an earlier job left there would be gone on with.
        self.shell("rm -f \"$1\" \"$1.state\" \"$1.init.state\"", &[&to], until)?;
        Ok(self.device.files()?.push(&mut &*text, text.len() as u64, &to, until)?)
    }

    /// What starts the client. Its descriptor 3 is standard error, all that it prints is standard output.
    pub(super) fn command(&self, goes_on: bool, user: &str, until: &Until) -> Result<Command, DeviceError> {
        let here = |name: &str| format!("{}/{name}", self.autodir);
        let files = self.device.files()?;
        // Autotest's own name, and that of the fork.
        let mut program = here("autotest-local");
        if files.stat(&program, until)?.is_none() {
            program = here("bin/autotest");
        }
        let mut args: Vec<String> =
            ["sh", "-c", "exec \"$@\" 3>&2 2>&1 </dev/null", "sh", &self.python, "-u", "-B", &program]
                .map(str::to_owned)
                .into();
        args.extend(["-H", "autoserv", "--verbose", "-t", &self.tag].map(str::to_owned));
        args.push(format!("--user={user}"));
        args.extend(goes_on.then(|| "-c".to_owned()));
        args.push(here(CONTROL));
        let mut command = Command::new(args);
        command.env.push(("AUTODIR".to_owned(), self.autodir.clone()));
        command.dir = Some(self.autodir.clone());
        Ok(command)
    }

    /// Which boot the device is in.
    pub(super) fn boot(&self, until: &Until) -> Result<String, DeviceError> {
        let (_, said) = self.shell("cat /proc/sys/kernel/random/boot_id", &[], until)?;
        Ok(said)
    }

    /// A few lines of shell, and what they print. No argument is read by the shell.
    pub(super) fn shell(
        &self,
        lines: &str,
        args: &[&str],
        until: &Until,
    ) -> Result<(Exit, String), DeviceError> {
        self.shell_within(lines, args, until.left(), until)
    }

    /// As above, and killed after this long.
    pub(super) fn shell_within(
        &self,
        lines: &str,
        args: &[&str],
        limit: Duration,
        until: &Until,
    ) -> Result<(Exit, String), DeviceError> {
        let mut command = Command::new(["sh", "-c", lines, "sh"].iter().chain(args).copied());
        command.time_limit = Some(limit);
        let mut said = Captured::default();
        let exit = self.device.exec()?.run(&command, &mut said, until)?;
        said.stdout.extend_from_slice(&said.stderr);
        Ok((exit, String::from_utf8_lossy(&said.stdout).trim().to_owned()))
    }
}

/// As Python writes it.
fn python_list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = texts.map(python_text).collect();
    format!("[{}]", quoted.join(", "))
}

fn python_text(text: &str) -> String {
    let mut quoted = String::from("'");
    for byte in text.bytes() {
        match byte {
            b'\'' | b'\\' => quoted.extend(['\\', byte.into()]),
            b' '..=b'~' => quoted.push(byte.into()),
            _ => drop(write!(quoted, "\\x{byte:02x}")),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_reads_is_what_was_meant() {
        assert_eq!(python_list(["a", "it's\n", "\\ü"].into_iter()), r"['a', 'it\'s\x0a', '\\\xc3\xbc']");
        assert_eq!(python_list([].into_iter()), "[]");
    }
}
