//! From a command as it was written to a program and its arguments.
//!
//! A shell costs more than most tests: a line without shell syntax is run without one. The decision errs
//! on the side of the shell; what is run directly means the same in every POSIX shell.

use muster_core::definition::Line;

/// Program and arguments of a command.
pub(super) fn argv(line: &Line) -> Vec<String> {
    match line {
        Line::Argv(argv) => argv.clone(),
        Line::Shell(text) => {
            if needs_shell(text) {
                vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()]
            } else {
                text.split_ascii_whitespace().map(str::to_owned).collect()
            }
        }
    }
}

/// Characters that mean something to a shell in any word.
const SYNTAX: &[char] = &[
    '|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', ']', '#', '~', '!', '{',
    '}', '^',
];

/// Words that a shell does not look up in `PATH`: reserved words and builtins of `sh`, `dash` and `bash`.
const OWN: &[&str] = &[
    ".",
    ":",
    "[",
    "[[",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "case",
    "cd",
    "chdir",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "coproc",
    "declare",
    "dirs",
    "disown",
    "do",
    "done",
    "echo",
    "elif",
    "else",
    "enable",
    "esac",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "fi",
    "for",
    "function",
    "getopts",
    "hash",
    "help",
    "history",
    "if",
    "in",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "select",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "then",
    "time",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "until",
    "wait",
    "while",
];

/// Whether a line means something else to a shell than words with blanks between them.
fn needs_shell(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace();
    let Some(first) = words.next() else { return true };
    text.contains(SYNTAX)
        || text.chars().any(|c| c.is_control() && c != '\t')
        // `a=b program` is an assignment, `%1` a job; in later words both are plain text.
        || first.contains(['=', '%'])
        || OWN.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        argv(&Line::Shell(text.to_owned()))
    }

    #[test]
    fn plain_words_are_run_without_a_shell() {
        for (text, words) in [
            ("./test", &["./test"][..]),
            ("  cargo  test\t--release ", &["cargo", "test", "--release"]),
            ("date +%s", &["date", "+%s"]),
            ("prog --color=never a:b a,b @x +y ü", &["prog", "--color=never", "a:b", "a,b", "@x", "+y", "ü"]),
        ] {
            assert_eq!(of(text), words, "{text}");
        }
    }

    #[test]
    fn anything_a_shell_might_read_differently_goes_to_the_shell() {
        for text in [
            "a | b",
            "a && b",
            "a; b",
            "a > f",
            "a < f",
            "a &",
            "(a)",
            "echo $HOME",
            "a `b`",
            "a \\b",
            "a 'b c'",
            "a \"b\"",
            "a *",
            "a ?",
            "a [ab]",
            "# a",
            "a #b",
            "a ~",
            "A=b c",
            "a {b,c}",
            "a\nb",
            "a\rb",
            "! a",
            "",
            "  ",
            "cd x",
            "exit 3",
            "true",
            "test -f x",
            "[ -f x ]",
            ". ./env",
            ": x",
            "if x",
            "%1",
            "a\u{b}b",
        ] {
            assert_eq!(of(text), ["/bin/sh", "-c", text], "{text:?}");
        }
    }

    #[test]
    fn arguments_that_were_given_one_by_one_are_left_alone() {
        let given = vec!["echo".to_owned(), "a b".to_owned(), "$X".to_owned(), String::new()];
        assert_eq!(argv(&Line::Argv(given.clone())), given);
    }
}
