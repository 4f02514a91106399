//! `muster artifacts`: files that an attempt left.

use super::typed::address_text;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::records::{Found, Records};
use crate::terminal::style::{self, DIM, HEAD, INFO};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text;
use clap::Args;
use muster_core::artifact::{Artifact, Artifacts, is_path};
use muster_core::digest::Digest;
use muster_core::outcome::ExitCode;
use muster_core::view::AttemptView;
use muster_formats::report::{wire, words};
use std::fs;
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Arguments of `muster artifacts`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What an attempt leaves in MUSTER_WORK_DIR is kept if it was not good, or if its test pulls files from its device.

Examples:
  muster artifacts boot/arm64                  lists what the last attempt left in the latest run
  muster artifacts boot/arm64 core.txt         prints one file
  muster artifacts 42/boot#1 --into .          copies all
  muster artifacts 42/boot#1 out --into .      copies what is in the directory `out`")]
pub(crate) struct ArtifactsArgs {
    /// Which attempt: `[RUN/]TEST[/ITEM][#ATTEMPT]`; without `#ATTEMPT` the last that left something
    #[arg(value_name = "ADDRESS", value_parser = address_text, allow_negative_numbers = true)]
    pub(crate) address: String,
    /// Only these: files, or directories with all that is in them; one file alone is printed
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Copy them into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
}

/// Lists, prints or copies.
pub(crate) fn run(args: &ArtifactsArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let records = Records::open_for(context, &args.address)?;
    let address = records.address(&args.address)?;
    let found = records.find_item(&address)?;
    let (number, kept) = attempt(&found)?;
    let left = Left { records: &records, found: &found, number, kept };
    match (&args.into, args.paths.as_slice()) {
        (Some(dir), paths) => left.copy(&left.chosen(paths)?, &context.dir.join(dir), context)?,
        (None, []) => left.list(context)?,
        (None, [path]) if kept.find(path).is_some() => {
            let mut out = io::stdout().lock();
            for file in left.chosen(std::slice::from_ref(path))? {
                left.bring(file, &mut out)?;
            }
            out.flush()?;
        }
        (None, paths) => {
            let n = left.chosen(paths)?.len();
            return Err(Complaint::usage(format!("{n} files are not printed together"))
                .hint("name one, or say with `--into DIR` where they are to be copied")
                .into());
        }
    }
    Ok(ExitCode::Passed)
}

/// The attempt that is meant, and what it left.
fn attempt(found: &Found) -> Result<(u16, &Artifacts), anyhow::Error> {
    let item = found.item();
    let kept = |a: &'_ AttemptView| a.result.artifacts.is_some();
    let wanted = match found.attempt {
        Some(number) => item.attempts.iter().find(|a| a.number == number),
        None => item.attempts.iter().rfind(|a| kept(a)).or(item.attempts.last()),
    };
    let address = found.address();
    let Some(wanted) = wanted else {
        let asked = found.attempt.map_or_else(|| "no attempt".to_owned(), |n| format!("no attempt {n}"));
        return Err(Complaint::new(ExitCode::NothingRan, format!("{address} has {asked} that has ended"))
            .hint(format!("`muster why {}` tells more", text::quoted(&address)))
            .into());
    };
    match &wanted.result.artifacts {
        Some(kept) => Ok((wanted.number, kept)),
        None => {
            let said = format!("nothing is kept of what {address}#{} left", wanted.number);
            let why = if wanted.result.outcome.is_good() {
                "what a good attempt leaves is kept only where its test pulls files from its device"
            } else {
                "a test leaves files in the directory that MUSTER_WORK_DIR names"
            };
            Err(Complaint::new(ExitCode::NothingRan, said).hint(why).into())
        }
    }
}

/// What an attempt left.
struct Left<'a> {
    records: &'a Records,
    found: &'a Found,
    number: u16,
    kept: &'a Artifacts,
}

impl<'a> Left<'a> {
    fn address(&self) -> String {
        format!("{}#{}", self.found.address(), self.number)
    }

    /// The files that are named, or all.
    fn chosen(&self, paths: &[String]) -> Result<Vec<&'a Artifact>, anyhow::Error> {
        if paths.is_empty() {
            return Ok(self.kept.files.iter().collect());
        }
        let mut chosen: Vec<&Artifact> = Vec::new();
        for path in paths {
            let path = path.trim_end_matches('/');
            let within = |file: &&Artifact| {
                file.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let before = chosen.len();
            chosen.extend(self.kept.files.iter().filter(within));
            if chosen.len() == before {
                let known = self.kept.files.iter().map(|f| f.path.as_str());
                let complaint = Complaint::usage(format!("{} left no `{path}`", self.address()));
                return Err(match crate::records::nearest(path, known) {
                    Some(near) => complaint.hint(format!("did you mean `{near}`?")),
                    None => complaint.hint(format!(
                        "`muster artifacts {}` lists what it left",
                        text::quoted(&self.address())
                    )),
                }
                .into());
            }
        }
        chosen.sort_by(|a, b| a.path.cmp(&b.path));
        chosen.dedup_by(|a, b| a.path == b.path);
        Ok(chosen)
    }

    fn list(&self, context: &Context) -> Result<(), anyhow::Error> {
        let mut out = BufWriter::new(context.stdout());
        if context.output == OutputMode::Json {
            serde_json::to_writer_pretty(&mut out, &wire::Artifacts::from(self.kept))?;
            writeln!(out)?;
            return Ok(out.flush()?);
        }
        if context.output == OutputMode::Human {
            let place = match self.records.artifacts_dir(self.found, self.kept) {
                Some(dir) => format!(" in {}", text::visible(&dir.display().to_string())),
                None => String::new(),
            };
            let head = style::paint(HEAD, text::visible(&self.address()));
            writeln!(out, "{head} left {}{place}", words::artifacts(self.kept))?;
        }
        let mut table = Table::new(&[("", Column::Right), ("", Column::Left)]);
        for file in &self.kept.files {
            table.row(vec![Cell::new(words::bytes(file.bytes), DIM), file.path.as_str().into()]);
        }
        for line in table.lines(usize::MAX) {
            writeln!(out, "{line}")?;
        }
        for left in &self.kept.left_out {
            writeln!(out, "left out: {}: {}", text::visible(&left.path), text::visible(&left.why))?;
        }
        if self.kept.unnamed > 0 {
            writeln!(out, "left out: {} more", self.kept.unnamed)?;
        }
        if context.output == OutputMode::Human && !self.kept.files.is_empty() {
            let again = format!("muster artifacts {} --into DIR", text::quoted(&self.address()));
            writeln!(out, "{}", style::paint(INFO, again))?;
        }
        Ok(out.flush()?)
    }

    fn copy(&self, files: &[&Artifact], into: &Path, context: &Context) -> Result<(), anyhow::Error> {
        let mut bytes = 0;
        for file in files {
            // The server is believed as little as the test.
            if !is_path(&file.path) {
                return Err(
                    Complaint::lab(format!("`{}` is no name of a file", text::visible(&file.path))).into()
                );
            }
            let path = into.join(&file.path);
            let write = || -> Result<(), anyhow::Error> {
                fs::create_dir_all(path.parent().unwrap_or(into))?;
                // Under a name that nobody else has: any other could be that of a file among them.
                let partial = tempfile::Builder::new()
                    .prefix(".muster-")
                    .permissions(fs::Permissions::from_mode(0o666))
                    .tempfile_in(path.parent().unwrap_or(into))?;
                // If it does not come whole it is not there, and that is said.
                self.bring(file, &mut partial.as_file())?;
                partial.persist(&path)?;
                Ok(())
            };
            write().map_err(|e| {
                let said = format!("`{}` cannot be copied to {}", text::visible(&file.path), into.display());
                match e.downcast::<Complaint>() {
                    Ok(complaint) => anyhow::Error::from(complaint),
                    Err(e) => Complaint::lab(said).because(e).into(),
                }
            })?;
            bytes += file.bytes;
        }
        if context.output == OutputMode::Human {
            let n = text::plural(files.len() as u64, "file", "files");
            writeln!(context.stderr(), "{n} ({}) are in {}", words::bytes(bytes), into.display())?;
        }
        Ok(())
    }

    /// Writes a file out, and is content only when it is what the record says.
    fn bring(&self, file: &Artifact, out: &mut impl Write) -> Result<(), anyhow::Error> {
        let mut from = self.records.artifact(self.found, self.number, self.kept, file)?;
        let (mut hash, mut len) = (blake3::Hasher::new(), 0);
        let mut piece = vec![0; 64 << 10];
        loop {
            let n = from.read(&mut piece)?;
            if n == 0 {
                break;
            }
            hash.update(&piece[..n]);
            len += n as u64;
            out.write_all(&piece[..n])?;
        }
        let same = file.digest.is_none_or(|digest| digest == Digest(*hash.finalize().as_bytes()));
        if len != file.bytes || !same {
            let name = text::visible(&file.path);
            let said = format!("`{name}` is not what {} left: {len} bytes of {}", self.address(), file.bytes);
            return Err(Complaint::lab(said).hint("ask again").into());
        }
        Ok(())
    }
}
