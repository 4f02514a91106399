//! `megatest -generate-html` and `-generate-html-structure`: the tree of pages of `muster export html`, in the tree of
//! links, where Megatest's own are. The second also puts `targets.html` at the top of that, and `run.html` into the
//! directory of each run, from which its run directories are one step away.

use super::args::Args;
use super::list_runs::{Wanted, lines, state, status, ticket_of};
use crate::commands::export::html::{HtmlArgs, relative, run as export, write_if_new};
use crate::context::Context;
use crate::error::Complaint;
use muster_core::outcome::ExitCode;
use muster_formats::report::html::{STYLE_FILE, listing};
use muster_store::{ItemFilter, RunFilter};
use std::path::{Path, PathBuf};

/// In the tree of links, beside the directories of targets.
const PAGES: &str = "pages";

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let links = link_tree(context)?;
    let tree = args.get("o").map_or_else(|| links.join(PAGES), |dir| context.dir.join(dir));
    let code = export(&HtmlArgs { tree: tree.clone(), runs: Vec::new(), all_items: false }, context)?;
    if args.has("generate-html-structure") {
        structure(args, &links, &tree, context)?;
    }
    Ok(code)
}

/// The tree of links of the latest run; without one, where it would be.
fn link_tree(context: &Context) -> Result<PathBuf, anyhow::Error> {
    let area = context.area_dir()?;
    let (mut store, filter) = crate::wiring::open_at_hand(context)?;
    for head in store.list_runs(&RunFilter { limit: 1, ..filter })? {
        let snapshot = store.load_run_snapshot(head.id)?;
        let env = &snapshot.record.spec.env;
        if let Some((_, tree)) = env.iter().find(|(name, _)| name == "MT_LINKTREE") {
            return Ok(tree.into());
        }
    }
    Ok(area.join("lt"))
}

fn structure(args: &Args, links: &Path, tree: &Path, context: &Context) -> Result<(), anyhow::Error> {
    let (mut store, filter) = crate::wiring::open_at_hand(context)?;
    let mut targets = Vec::new();
    for run in Wanted::of(args).find(store.as_mut(), &filter)? {
        let snapshot = store.load_run_snapshot(run.head.id)?;
        let ticket = snapshot.record.plan.tests.first().and_then(|t| ticket_of(&t.def.env));
        // A contour has a directory of its own.
        let own = ticket.as_ref().map_or_else(|| links.to_owned(), |t| PathBuf::from(&t.link_tree));
        let dir = own.join(&run.target).join(&run.name);
        if !dir.is_dir() {
            continue;
        }
        let view = store.load_run(run.head.id, ItemFilter::All)?;
        let text = |text: &str| (text.to_owned(), None);
        let rows: Vec<_> = lines(&view, &snapshot.record.spec, ticket.as_ref(), &run.name)
            .iter()
            .map(|line| {
                let name = if line.item.is_empty() {
                    line.test.clone()
                } else {
                    format!("{}/{}", line.test, line.item)
                };
                let href = line.run_dir.is_dir().then(|| relative(&dir, &line.run_dir) + "/");
                vec![(name, href), text(line.state.word()), text(line.status.word()), text(&line.comment)]
            })
            .collect();
        let pages = relative(&dir, &tree.join("runs").join(view.number.to_string())) + "/index.html";
        let title = format!("{}/{}", run.target, run.name);
        let style = relative(&dir, tree) + "/" + STYLE_FILE;
        let rows: Vec<_> =
            std::iter::once(vec![("all about it".to_owned(), Some(pages))]).chain(rows).collect();
        let page = listing(&title, &style, &["test", "state", "status", "comment"], &rows);
        write(&dir.join("run.html"), &page)?;
        let href = relative(links, &dir) + "/run.html";
        targets.push(vec![
            text(&run.target),
            (run.name, Some(href)),
            text(state(&view)),
            text(status(&view)),
        ]);
    }
    let style = relative(links, tree) + "/" + STYLE_FILE;
    let page = listing("Targets and runs", &style, &["target", "run", "state", "status"], &targets);
    write(&links.join("targets.html"), &page)
}

fn write(path: &Path, page: &str) -> Result<(), anyhow::Error> {
    write_if_new(path, page)
        .map_err(|e| Complaint::usage(format!("`{}` cannot be written", path.display())).because(e).into())
}
