//! The one place that tells people what went wrong, and turns it into an exit code.
//!
//! Three lines at most for what people can do something about: what, because of what, what to do. What
//! they cannot is a bug: it says so and where to tell of it.

use crate::settings::ColorWhen;
use crate::terminal::style;
use crate::terminal::text::add;
use anstream::AutoStream;
use muster_core::outcome::ExitCode;
use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Something a person should hear about, with what to do.
#[derive(Debug)]
pub(crate) struct Complaint {
    code: ExitCode,
    /// `None`: everything has been said.
    text: Option<String>,
    hint: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Complaint {
    /// A complaint that ends the program with this code.
    pub(crate) fn new(code: ExitCode, text: impl Into<String>) -> Self {
        Self { code, text: Some(text.into()), hint: None, source: None }
    }

    /// About what was typed or configured.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, text)
    }

    /// About the lab: records, files, the machine.
    pub(crate) fn lab(text: impl Into<String>) -> Self {
        Self::new(ExitCode::Lab, text)
    }

    /// The code it ends the program with.
    pub(crate) fn code(&self) -> ExitCode {
        self.code
    }

    /// The same, ending the program with another code.
    pub(crate) fn ending_with(mut self, code: ExitCode) -> Self {
        self.code = code;
        self
    }

    /// Everything has been said already; only the code is left.
    pub(crate) fn said(code: ExitCode) -> Self {
        Self { code, text: None, hint: None, source: None }
    }

    /// What can be done about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What caused it.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.as_deref().unwrap_or_default())
    }
}

impl Error for Complaint {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// Set once the command line is known, for messages that come after.
static COLOR: OnceLock<ColorWhen> = OnceLock::new();

/// Some thread panicked.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// From now on messages have colours as asked for.
pub(crate) fn set_color(color: ColorWhen) {
    // A second call would be a second command line.
    let _ = COLOR.set(color);
}

/// Runs the program, prints what it complains about, and returns how it ends.
pub(crate) fn catch(main: fn() -> Result<ExitCode, anyhow::Error>) -> std::process::ExitCode {
    std::panic::set_hook(Box::new(|info| {
        PANICKED.store(true, Ordering::Relaxed);
        say_bug(info);
    }));
    let code = match std::panic::catch_unwind(main) {
        Ok(Ok(code)) if !PANICKED.load(Ordering::Relaxed) => code,
        Ok(Ok(_)) | Err(_) => ExitCode::Bug,
        Ok(Err(error)) => report(&error),
    };
    std::process::ExitCode::from(code as u8)
}

/// Prints an error and says how the program ends because of it.
fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // Whoever read our output has seen enough (`muster results | head`).
        return ExitCode::Passed;
    }
    let told = tell(error);
    if !told.text.is_empty() {
        let mut err = stderr();
        // Nobody is left to tell if this fails.
        drop(err.write_all(told.text.as_bytes()));
    }
    told.code
}

/// Prints an error, where something else than its own code is to end the program.
pub(crate) fn say(error: &anyhow::Error) {
    let _code = report(error);
}

fn stderr() -> AutoStream<io::StderrLock<'static>> {
    AutoStream::new(io::stderr().lock(), COLOR.get().copied().unwrap_or_default().choice())
}

/// What is printed about an error, and the exit code.
struct Told {
    code: ExitCode,
    text: String,
}

/// Longest list of causes shown; further ones are for debugging, not for people.
const CAUSES_MAX: usize = 3;

fn tell(error: &anyhow::Error) -> Told {
    let complaint = error.chain().find_map(|e| e.downcast_ref::<Complaint>());
    let code = complaint.map_or_else(|| code_of(error), |c| c.code);
    if complaint.is_some_and(|c| c.text.is_none()) {
        return Told { code, text: String::new() };
    }
    let mut text = format!("{}error:{} {error}\n", style::BAD.render(), style::BAD.render_reset());
    let mut said = vec![error.to_string()];
    let mut causes = 0;
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Transparent errors repeat what they wrap.
        if cause.is_empty() || said.contains(&cause) {
            continue;
        }
        if causes == CAUSES_MAX {
            break;
        }
        causes += 1;
        add!(text, "  {}caused by:{} {cause}\n", style::DIM.render(), style::DIM.render_reset());
        said.push(cause);
    }
    if let Some(hint) = complaint.and_then(|c| c.hint.as_ref()) {
        add!(text, "{}hint:{} {hint}\n", style::INFO.render(), style::INFO.render_reset());
    }
    Told { code, text }
}

/// The code for errors that come from below without a complaint round them.
fn code_of(error: &anyhow::Error) -> ExitCode {
    let usage = error.chain().any(|e| {
        e.is::<muster_core::address::AddressError>()
            || e.is::<muster_core::plan::PlanError>()
            || e.is::<muster_core::select::SelectError>()
    });
    if usage { ExitCode::Usage } else { ExitCode::Lab }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|e| e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

fn say_bug(info: &std::panic::PanicHookInfo<'_>) {
    let what = info
        .payload()
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| info.payload().downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned());
    let place = info.location().map_or_else(String::new, |l| format!(" ({}:{})", l.file(), l.line()));
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let mut err = stderr();
    let bad = style::BAD;
    let lines = format!(
        "{}error:{} this is a bug in Muster: {what}{place}\n  in thread `{thread}` of muster {}\n\
         hint: results recorded so far are safe; please report these lines with what `muster doctor` prints\n",
        bad.render(),
        bad.render_reset(),
        env!("CARGO_PKG_VERSION"),
    );
    drop(err.write_all(lines.as_bytes()));
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0") {
        drop(writeln!(err, "{}", std::backtrace::Backtrace::force_capture()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;
    use expect_test::{Expect, expect};

    fn check(error: &anyhow::Error, code: ExitCode, expected: Expect) {
        let told = tell(error);
        assert_eq!(told.code, code);
        expected.assert_eq(&anstream::adapter::strip_str(&told.text).to_string());
    }

    #[test]
    fn an_error_is_told_with_cause_and_hint() {
        let error = Complaint::usage("there is no run `7`")
            .because(io::Error::other("the records end at 6"))
            .hint("`muster runs` lists them");
        check(
            &error.into(),
            ExitCode::Usage,
            expect![[r#"
                error: there is no run `7`
                  caused by: the records end at 6
                hint: `muster runs` lists them
            "#]],
        );
    }

    #[test]
    fn a_cause_that_repeats_what_was_said_is_left_out() {
        let error = anyhow::Error::from(io::Error::other("disk on fire")).context("disk on fire");
        check(
            &error,
            ExitCode::Lab,
            expect![[r#"
                error: disk on fire
            "#]],
        );
    }

    #[test]
    fn a_hint_is_found_below_other_words() {
        let error =
            Err::<(), _>(Complaint::lab("no room").hint("remove old runs")).context("run 3").unwrap_err();
        check(
            &error,
            ExitCode::Lab,
            expect![[r#"
                error: run 3
                  caused by: no room
                hint: remove old runs
            "#]],
        );
    }

    #[test]
    fn what_was_said_already_is_not_said_again() {
        check(&Complaint::said(ExitCode::Failed).into(), ExitCode::Failed, expect![""]);
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("printing");
        assert_eq!(report(&error), ExitCode::Passed);
    }
}
