//! `muster export html DIR`: runs as a tree of plain pages, written again only where something changed.

use crate::commands::typed::run_ref;
use crate::context::Context;
use crate::error::Complaint;
use crate::records::{Records, StoreLogs};
use crate::terminal::text::plural;
use crate::whole_file::beside;
use clap::Args;
use muster_core::address::RunRef;
use muster_core::outcome::ExitCode;
use muster_core::view::{ItemView, RunState, RunView, TestView};
use muster_formats::megatest::ticket::{TICKET_VARIABLE, Ticket};
use muster_formats::report::html::{IndexRow, Link, STYLE_FILE, Tree, index, style};
use muster_store::{ItemFilter, RunFilter};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

/// Arguments of `muster export html`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The tree needs no server and no script; it can be copied, packed or served by anything. Pages of runs that are as they
were are not written again; those of runs that are no longer recorded are removed, unless runs are named. In a run of
more than 5,000 items those that passed or were skipped at once have no pages of their own.")]
pub(crate) struct HtmlArgs {
    /// Where to; made if it is not there, else it has to be a tree of this kind
    #[arg(value_name = "DIR")]
    pub(crate) tree: PathBuf,
    /// Only these runs; the index has all that have pages [default: all]
    #[arg(value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true)]
    pub(crate) runs: Vec<RunRef>,
    /// Pages also for items that passed or were skipped at once, in runs of more than 5,000 items
    #[arg(long)]
    pub(crate) all_items: bool,
}

/// Says that a directory is such a tree, and what wrote it.
const MARK: &str = ".muster-pages";
/// In the directory of a run: what it was made of.
const MADE_OF: &str = ".made-of";
/// Changes when the pages themselves do, so that all are written again.
const FORM: &str = "1";

/// Writes the tree.
pub(crate) fn run(args: &HtmlArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let dir = context.dir.join(&args.tree);
    let records = Records::open(context)?;
    let area = Some(records.area().to_owned());
    let all = records.with(|s| s.list_runs(&RunFilter { area, limit: u32::MAX, ..RunFilter::default() }))?;
    let chosen: BTreeSet<u32> = match args.runs.as_slice() {
        [] => all.iter().map(|r| r.number).collect(),
        some => some.iter().map(|r| Ok(records.find_run(r)?.number)).collect::<Result<_, anyhow::Error>>()?,
    };
    let complain =
        |e: io::Error| Complaint::usage(format!("`{}` cannot be written", dir.display())).because(e);
    let runs_dir = begin(&dir)?;
    let mut written = 0;
    for head in all.iter().filter(|r| chosen.contains(&r.number)) {
        let place = runs_dir.join(head.number.to_string());
        let is_made_of = |view: &RunView| -> Result<(bool, String), anyhow::Error> {
            let made_of = made_of(view, args.all_items)?;
            Ok((fs::read_to_string(place.join(MADE_OF)).is_ok_and(|was| was == made_of), made_of))
        };
        // Whatever happens in a run that has ended changes when it ended, or what its items came to: a thousand of them
        // are not read to find that nothing did.
        let ended = if head.state == RunState::Ended { Some(is_made_of(head)?) } else { None };
        if matches!(ended, Some((true, _))) {
            continue;
        }
        let run = records.load(head, ItemFilter::All)?;
        let made_of = match ended {
            Some((_, made_of)) => made_of,
            None => match is_made_of(&run)? {
                (true, _) => continue,
                (false, made_of) => made_of,
            },
        };
        let logs = match &context.server {
            Some(server) => StoreLogs::of_server(crate::remote::client(server, context)?, run.id),
            None => StoreLogs::new(&context.area_dir()?, run.id),
        };
        let ticket = ticket(&records, &run)?;
        let links = |test: &TestView, item: &ItemView| match &ticket {
            Some(ticket) => run_directory(ticket, &run, test, item, &place),
            None => Vec::new(),
        };
        let tree = Tree { run: &run, logs: &logs, links: &links, all_items: args.all_items };
        write_run(&tree, &made_of, &runs_dir).map_err(complain)?;
        written += 1;
    }
    if args.runs.is_empty() {
        forget(&runs_dir, &chosen).map_err(complain)?;
    }
    let rows: Vec<IndexRow<'_>> = all
        .iter()
        .map(|run| {
            let name = run.number.to_string();
            let is_there = runs_dir.join(&name).join(MADE_OF).is_file();
            IndexRow { run, dir: if is_there { name } else { String::new() } }
        })
        .collect();
    write_if_new(&dir.join(STYLE_FILE), style()).map_err(complain)?;
    write_if_new(&dir.join("index.html"), &index(records.area(), &rows)).map_err(complain)?;
    writeln!(
        context.stderr(),
        "wrote {}: {}, {} as they were",
        dir.join("index.html").display(),
        plural(written, "run", "runs"),
        chosen.len() as u64 - written
    )?;
    Ok(ExitCode::Passed)
}

/// Makes the directory a tree, or refuses one that is something else. Returns where runs are in it.
fn begin(dir: &Path) -> Result<PathBuf, anyhow::Error> {
    let complain =
        |e: io::Error| Complaint::usage(format!("`{}` cannot be written", dir.display())).because(e);
    fs::create_dir_all(dir).map_err(complain)?;
    let mark = dir.join(MARK);
    if !mark.is_file() {
        if fs::read_dir(dir).map_err(complain)?.next().is_some() {
            return Err(Complaint::usage(format!(
                "`{}` has files that are no pages of Muster's",
                dir.display()
            ))
            .hint("name a directory that is empty or not there yet")
            .into());
        }
        fs::write(&mark, "pages written by `muster export html`\n").map_err(complain)?;
    }
    let runs = dir.join("runs");
    fs::create_dir_all(&runs).map_err(complain)?;
    Ok(runs)
}

/// What the pages of a run are made of, in short: outputs are named by where they are, and never change there.
fn made_of(run: &RunView, all_items: bool) -> Result<String, anyhow::Error> {
    let mut hasher = blake3::Hasher::new();
    serde_json::to_writer(&mut hasher, run)?;
    Ok(format!("{FORM} {} {all_items} {}\n", env!("CARGO_PKG_VERSION"), hasher.finalize().to_hex()))
}

/// Writes the pages of a run beside their place, and puts them there when all are whole.
fn write_run(tree: &Tree<'_>, made_of: &str, runs: &Path) -> io::Result<()> {
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(runs)?;
    let mut last_dir = PathBuf::new();
    tree.write(&mut |path, bytes| {
        let path = new.path().join(path);
        let dir = path.parent().unwrap_or(new.path());
        if dir != last_dir {
            fs::create_dir_all(dir)?;
            last_dir = dir.to_owned();
        }
        fs::write(path, bytes)
    })?;
    fs::write(new.path().join(MADE_OF), made_of)?;
    // A directory for one's own eyes is how temporary ones are made; pages are for everybody whom the tree is for.
    fs::set_permissions(new.path(), fs::metadata(runs)?.permissions())?;
    let place = runs.join(tree.run.number.to_string());
    let old = tempfile::Builder::new().prefix(".old-").tempdir_in(runs)?;
    match fs::rename(&place, old.path().join("run")) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::rename(new.keep(), place)?;
    old.close()
}

/// Removes the pages of runs that are no longer recorded. What is not ours is left.
fn forget(runs: &Path, recorded: &BTreeSet<u32>) -> io::Result<()> {
    for entry in fs::read_dir(runs)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok());
        if number.is_some_and(|n| !recorded.contains(&n)) && entry.path().join(MADE_OF).is_file() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

pub(crate) fn write_if_new(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|was| was == text.as_bytes()) {
        return Ok(());
    }
    let mut file = beside(path)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// The ticket of a run of a Megatest area, which says where its run directories are.
fn ticket(records: &Records, run: &RunView) -> Result<Option<Ticket>, anyhow::Error> {
    let snapshot = records.with(|s| s.load_run_snapshot(run.id))?;
    let env = snapshot.record.plan.tests.first().map(|t| t.def.env.clone()).unwrap_or_default();
    let text = env.iter().find(|(name, _)| name == TICKET_VARIABLE);
    Ok(text.and_then(|(_, text)| Ticket::parse(text).ok()))
}

/// A link to an item's run directory, if it is there.
fn run_directory(
    ticket: &Ticket,
    run: &RunView,
    test: &TestView,
    item: &ItemView,
    place: &Path,
) -> Vec<Link> {
    let name = if run.name.is_empty() { format!("run-{}", run.number) } else { run.name.clone() };
    let mut dir = PathBuf::from(format!("{}/{}/{name}/{}", ticket.link_tree, ticket.target, test.name));
    if !item.path.is_empty() {
        dir.push(&item.path);
    }
    // Seen from the page of a test, which is one directory below that of its run.
    let from = place.parent().and_then(|runs| fs::canonicalize(runs).ok());
    let from = from.map(|runs| runs.join(run.number.to_string()).join("test"));
    match from {
        Some(from) if dir.is_dir() && dir.is_absolute() => {
            vec![Link { title: "run directory".to_owned(), href: relative(&from, &dir) + "/" }]
        }
        _ => Vec::new(),
    }
}

/// The way from one directory to another, as URLs have it.
pub(crate) fn relative(from: &Path, to: &Path) -> String {
    let (from, to): (Vec<Component<'_>>, Vec<Component<'_>>) =
        (from.components().collect(), to.components().collect());
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut parts = vec!["..".to_owned(); from.len() - same];
    parts.extend(to[same..].iter().map(|part| encoded(&part.as_os_str().to_string_lossy())));
    parts.join("/")
}

fn encoded(part: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    part.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_relative_and_encoded() {
        let way = relative(Path::new("/a/pages/runs/1/test"), Path::new("/a/links/x y/50%"));
        assert_eq!(way, "../../../../links/x%20y/50%25");
    }
}
