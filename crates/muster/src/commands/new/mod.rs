//! `muster new area` and `muster new test`: the first files, in Muster's own form or in Megatest's. What is there is
//! never overwritten, and what would make an area unusable is not written.

mod ask;
mod write;

use super::typed::TargetArgs;
use crate::context::{Context, FILE, OTHER_FILE};
use crate::error::Complaint;
use crate::local::megatest::is_area;
use crate::terminal::text::quoted;
use ask::Asker;
use clap::{Args, Subcommand};
use muster_core::outcome::ExitCode;
use muster_formats::megatest::MAIN_FILE;
use muster_formats::skeleton::{NewArea, NewTest};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Arguments of `muster new`.
#[derive(Args, Clone, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct NewArgs {
    #[command(subcommand)]
    pub(crate) command: NewCommand,
}

/// What is begun.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum NewCommand {
    /// Begin an area
    Area(AreaArgs),
    /// Add a test to the area at hand
    Test(Box<TestArgs>),
}

/// What is asked, and whether.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct AskArgs {
    /// Ask for what is not said, a line of standard input for each answer [default: on a terminal]
    #[arg(long)]
    pub(crate) ask: bool,
    /// Ask nothing
    #[arg(long, conflicts_with = "ask")]
    pub(crate) no_ask: bool,
}

/// Arguments of `muster new area`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "Example: muster new area lab-tests --keys os,build --megatest")]
pub(crate) struct AreaArgs {
    /// Where; made if it is not there [default: here]
    #[arg(value_name = "DIR")]
    pub(crate) place: Option<PathBuf>,
    /// Its name [default: that of the directory]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// What a target names, in order, with commas between
    #[arg(long, value_name = "KEY,…", value_delimiter = ',')]
    pub(crate) keys: Option<Vec<String>>,
    /// As Megatest has areas: `megatest.config`, `runconfigs.config`, `tests`
    #[arg(long)]
    pub(crate) megatest: bool,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

/// Arguments of `muster new test`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
In an area of Muster's own it goes to the end of `muster.toml`; in one of Megatest's it is `tests/NAME/testconfig`.

Example: muster new test boot --step flash=./flash --step boot=./boot --after build --items BOARD=a,b")]
pub(crate) struct TestArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// What it runs
    #[arg(long, value_name = "COMMAND", conflicts_with = "step")]
    pub(crate) run: Option<String>,
    /// A step of it; may be given several times
    #[arg(long, value_name = "NAME=COMMAND", value_parser = pair)]
    pub(crate) step: Vec<(String, String)>,
    /// Tests it comes after
    #[arg(long, value_name = "TEST,…", value_delimiter = ',')]
    pub(crate) after: Option<Vec<String>>,
    /// A variable with its values: an item for each combination; may be given several times
    #[arg(long, value_name = "VAR=A,B,…", value_parser = values)]
    pub(crate) items: Vec<(String, Vec<String>)>,
    /// What it checks
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Who answers for it
    #[arg(long, value_name = "NAME")]
    pub(crate) owner: Option<String>,
    /// Words to select by
    #[arg(long, value_name = "TAG,…", value_delimiter = ',')]
    pub(crate) tags: Option<Vec<String>>,
    /// Its time limit, e.g. `90s`, `5m`
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a step is NAME=COMMAND")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

fn values(text: &str) -> Result<(String, Vec<String>), String> {
    let (name, list) = text.split_once('=').ok_or("items are VARIABLE=VALUE,VALUE")?;
    Ok((name.trim().to_owned(), words(list)))
}

/// Words with commas between.
fn words(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

/// Writes them.
pub(crate) fn run(args: NewArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    match args.command {
        NewCommand::Area(args) => area(args, context),
        NewCommand::Test(args) => test(*args, context),
    }
}

/// Begins an area.
///
/// # Errors
/// There is one already, or its files cannot be written.
pub(crate) fn area(args: AreaArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let ask = Asker::new(args.ask, context);
    let dir = args.place.map_or_else(|| context.dir.clone(), |dir| context.dir.join(dir));
    if let Some(there) = [FILE, OTHER_FILE, MAIN_FILE].iter().map(|f| dir.join(f)).find(|p| p.exists()) {
        return Err(Complaint::usage(format!("`{}` is there already", there.display()))
            .hint("`muster new test` adds a test to it")
            .into());
    }
    let of_dir = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = ask.unless(args.name, "name of the area", &of_dir)?;
    let usual = if args.megatest { "OS" } else { "" };
    let keys = ask.unless(args.keys.map(|k| k.join(",")), "what targets name (keys, with commas)", usual)?;
    let new = NewArea { name, keys: words(&keys) };
    let refused = |e: muster_formats::skeleton::Refused| Complaint::usage(e.to_string());
    let files = if args.megatest {
        new.megatest().map_err(refused)?
    } else {
        vec![(FILE.to_owned(), new.native().map_err(refused)?)]
    };
    if !args.megatest {
        // Its tests are for targets; any will do to look at it.
        let any = vec!["any"; new.keys.len()].join("/");
        let any = (!any.is_empty()).then_some(any.as_str());
        write::check(&dir, &files[0].1, any).map_err(|said| write::bad(&said))?;
    }
    write::all(&dir, &files)?;
    if args.megatest {
        write::dir(&dir.join("tests"))?;
    }
    tell(&dir, &files, context)?;
    let there =
        if dir == context.dir { String::new() } else { format!(" -C {}", quoted(&dir.to_string_lossy())) };
    writeln!(context.stdout(), "\n  next muster{there} new test NAME --run COMMAND")?;
    Ok(ExitCode::Passed)
}

/// Adds a test.
///
/// # Errors
/// There is no area, or one with such a test; or it would not be one that can be used.
pub(crate) fn test(args: TestArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let dir = context.area_dir()?;
    let ask = Asker::new(args.ask, context);
    let name = ask.unless(args.name, "name of the test", "")?;
    if name.is_empty() {
        return Err(Complaint::usage("a test needs a name")
            .hint("muster new test NAME --run COMMAND")
            .into());
    }
    let steps = if args.step.is_empty() {
        vec![("run".to_owned(), ask.unless(args.run, "what it runs", "")?)]
    } else {
        args.step
    };
    if steps.iter().any(|(_, command)| command.trim().is_empty()) {
        return Err(Complaint::usage("a test needs something to run").hint("`--run COMMAND`").into());
    }
    let joined = |list: Option<Vec<String>>| list.map(|l| l.join(","));
    let items = match args.items {
        items if !items.is_empty() => items,
        _ => match ask.unless(None, "items, as VARIABLE=VALUE,VALUE", "")?.as_str() {
            "" => Vec::new(),
            text => vec![values(text).map_err(Complaint::usage)?],
        },
    };
    let new = NewTest {
        name,
        steps,
        after: words(&ask.unless(joined(args.after), "tests it comes after, with commas", "")?),
        items,
        description: ask.unless(args.description, "what it checks", "")?,
        owner: ask.unless(args.owner, "who answers for it", "")?,
        tags: words(&ask.unless(joined(args.tags), "tags, with commas", "")?),
        timeout: ask.unless(args.timeout, "time limit, as 5m", "")?,
    };
    let refused = |e: muster_formats::skeleton::Refused| Complaint::usage(e.to_string());
    let native = [FILE, OTHER_FILE].iter().map(|f| dir.join(f)).find(|p| p.is_file());
    match native {
        Some(file) => {
            let text = new.native().map_err(refused)?;
            write::append(&dir, &file, &text, args.target.target.as_deref())?;
            writeln!(context.stdout(), "added `{}` to {}", new.name, file.display())?;
        }
        None if is_area(&dir) => {
            let files = new.megatest().map_err(refused)?;
            write::all(&dir, &files)?;
            tell(&dir, &files, context)?;
        }
        None => {
            return Err(Complaint::usage(format!("there is no area in `{}`", dir.display()))
                .hint("`muster new area` begins one")
                .into());
        }
    }
    writeln!(context.stdout(), "\n  look {} config check", context.program())?;
    Ok(ExitCode::Passed)
}

fn tell(dir: &Path, files: &[(String, String)], context: &Context) -> Result<(), anyhow::Error> {
    for (path, _) in files {
        writeln!(context.stdout(), "wrote {}", dir.join(path).display())?;
    }
    Ok(())
}
