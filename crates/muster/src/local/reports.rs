//! The reports asked for by `--report`: live ones as it happens, the others at the end.

use crate::error::Complaint;
use crate::whole_file::beside;
use muster_core::event::Told;
use muster_core::outcome::ExitCode;
use muster_core::view::RunView;
use muster_formats::report::{Format, Logs, Place, Spec, Writer};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that was asked for.
pub(crate) struct Reports {
    reports: Vec<Report>,
}

struct Report {
    writer: Writer,
    is_github: bool,
    out: Out,
    /// Said once; the run goes on without it.
    failed: Option<io::Error>,
    name: String,
}

enum Out {
    Stdout(io::Stdout),
    /// Written to a file beside, which takes the name when it is whole.
    Whole {
        path: PathBuf,
    },
    Live(BufWriter<File>),
}

impl Reports {
    /// Opens what is written live, and makes sure early that the others can be written.
    ///
    /// # Errors
    /// A file's directory is not there or not writable, or two reports would be written into each other.
    pub(crate) fn open(
        specs: &[Spec],
        dir: &Path,
        logs: &Arc<dyn Logs + Send + Sync>,
    ) -> Result<Self, anyhow::Error> {
        refuse_mixed(specs)?;
        let mut reports = Vec::with_capacity(specs.len());
        for spec in specs {
            let writer = spec.format.writer(Arc::clone(logs));
            let (out, name) = match (&spec.to, &writer) {
                (Place::Stdout, _) => (Out::Stdout(io::stdout()), "standard output".to_owned()),
                (Place::File(file), kind) => {
                    let path = dir.join(file);
                    let name = path.display().to_string();
                    let complain = |e: io::Error| {
                        Complaint::usage(format!("the report `{name}` cannot be written"))
                            .because(e)
                            .hint("name a file in a directory that is there and writable")
                    };
                    let out = match kind {
                        Writer::Live(_) => Out::Live(BufWriter::new(File::create(&path).map_err(complain)?)),
                        Writer::Final(_) => {
                            if path.is_dir() {
                                return Err(complain(io::ErrorKind::IsADirectory.into()).into());
                            }
                            // Whether it can be written is told now, and not after hours of tests.
                            drop(beside(&path).map_err(complain)?);
                            Out::Whole { path }
                        }
                    };
                    (out, name)
                }
            };
            reports.push(Report {
                writer,
                is_github: spec.format == Format::Github,
                out,
                failed: None,
                name,
            });
        }
        Ok(Self { reports })
    }

    /// Whether any is written from the whole run.
    pub(crate) fn need_whole_run(&self) -> bool {
        self.reports.iter().any(|r| matches!(r.writer, Writer::Final(_)))
    }

    /// Passes on what happened; every line is out when this returns.
    pub(crate) fn told(&mut self, told: &[Told]) {
        for report in &mut self.reports {
            let Writer::Live(live) = &mut report.writer else { continue };
            if report.failed.is_some() {
                continue;
            }
            let out: &mut dyn Write = match &mut report.out {
                Out::Stdout(out) => out,
                Out::Live(out) => out,
                Out::Whole { .. } => continue,
            };
            let mut buffer = Vec::new();
            let written = told
                .iter()
                .try_for_each(|t| live.told(t, &mut buffer))
                .and_then(|()| out.write_all(&buffer))
                .and_then(|()| out.flush());
            report.failed = written.err();
        }
    }

    /// Writes what is written at the end, and says what could not be written. `code` is how the run ends: a
    /// report that nobody can read does not change it, unless all was well.
    ///
    /// # Errors
    /// A report could not be written. The others are.
    pub(crate) fn finish(self, run: &RunView, logs: &dyn Logs, code: ExitCode) -> Result<(), Complaint> {
        self.write(run, logs).map_err(|e| if code == ExitCode::Passed { e } else { e.ending_with(code) })
    }

    fn write(mut self, run: &RunView, logs: &dyn Logs) -> Result<(), Complaint> {
        for report in &mut self.reports {
            let Writer::Final(writer) = &report.writer else { continue };
            let written = match &mut report.out {
                Out::Stdout(out) => {
                    let mut out = BufWriter::new(out.lock());
                    writer.write(run, logs, &mut out).and_then(|()| out.flush())
                }
                Out::Whole { path } => beside(path).and_then(|file| {
                    let mut out = BufWriter::new(file.as_file());
                    writer.write(run, logs, &mut out)?;
                    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
                    file.persist(path)?;
                    Ok(())
                }),
                Out::Live(_) => Ok(()),
            };
            report.failed = report.failed.take().or(written.err());
        }
        let github = self.reports.iter().any(|r| r.is_github);
        if let (true, Some(path)) =
            (github, std::env::var_os("GITHUB_STEP_SUMMARY").filter(|p| !p.is_empty()))
        {
            let summary =
                std::fs::OpenOptions::new().append(true).create(true).open(&path).and_then(|file| {
                    let mut out = BufWriter::new(file);
                    muster_formats::report::github::summary(run, &mut out)?;
                    out.flush()
                });
            if let Err(error) = summary {
                let said = "the summary for GitHub could not be written";
                return Err(Complaint::lab(said).because(error));
            }
        }
        // Whoever read a report and went away has seen enough.
        let unread = |e: &io::Error| e.kind() != io::ErrorKind::BrokenPipe;
        match self.reports.into_iter().find_map(|r| r.failed.filter(unread).map(|e| (r.name, e))) {
            Some((name, error)) => {
                Err(Complaint::lab(format!("the report `{name}` could not be written")).because(error))
            }
            None => Ok(()),
        }
    }
}

/// No reader can tell two reports apart that come in one stream.
fn refuse_mixed(specs: &[Spec]) -> Result<(), Complaint> {
    for (n, spec) in specs.iter().enumerate() {
        let Some(other) = specs[..n].iter().find(|other| other.to == spec.to) else { continue };
        let (place, hint) = match &spec.to {
            Place::Stdout => (
                "standard output".to_owned(),
                format!("give one of them a file: `--report {}:FILE`", spec.format),
            ),
            Place::File(file) => (format!("`{file}`"), "give each its own file".to_owned()),
        };
        let said =
            format!("the reports `{}` and `{}` would both be written to {place}", other.format, spec.format);
        return Err(Complaint::usage(said).hint(hint));
    }
    Ok(())
}
