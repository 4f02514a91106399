//! What `execve` is given: program, arguments and environment as C wants them, in buffers that are used
//! again from process to process.

use std::ffi::{CStr, c_char};
use std::ptr;

const SHELL: &CStr = c"/bin/sh";

/// The buffers of one engine thread.
#[derive(Default)]
pub(super) struct Image {
    /// All strings, each with its null.
    text: Vec<u8>,
    /// Where in `text` the program's path begins.
    program: usize,
    /// Where the directory begins.
    dir: Option<usize>,
    /// Where each argument, then each variable begins; made into pointers once `text` no longer moves.
    starts: Vec<usize>,
    args: usize,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
}

/// Text with a null byte inside cannot be passed to a program.
#[derive(Debug)]
pub(super) struct NulInside(pub(super) String);

impl Image {
    /// Fills the buffers anew. `env` is followed by the variable `mark`, and loses one of that name: a
    /// test may run Muster itself, and passes on what it was given.
    pub(super) fn fill(
        &mut self,
        program: &[u8],
        argv: &[String],
        env: &[(String, String)],
        mark: (&str, &str),
        dir: &[u8],
    ) -> Result<(), NulInside> {
        self.text.clear();
        self.starts.clear();
        self.program = self.push(&[program])?;
        self.dir = if dir.is_empty() { None } else { Some(self.push(&[dir])?) };
        for arg in argv {
            let start = self.push(&[arg.as_bytes()])?;
            self.starts.push(start);
        }
        self.args = argv.len();
        let env = env.iter().map(|(n, v)| (n.as_str(), v.as_str())).filter(|(n, _)| *n != mark.0);
        for (name, value) in env.chain([mark]) {
            let start = self.push(&[name.as_bytes(), b"=", value.as_bytes()])?;
            self.starts.push(start);
        }
        let text = self.text.as_ptr().cast::<c_char>();
        let (args, vars) = self.starts.split_at(self.args);
        self.argv.clear();
        self.argv.push(SHELL.as_ptr());
        self.argv.extend(args.iter().map(|start| text.wrapping_add(*start)));
        self.argv.push(ptr::null());
        self.envp.clear();
        self.envp.extend(vars.iter().map(|start| text.wrapping_add(*start)));
        self.envp.push(ptr::null());
        Ok(())
    }

    pub(super) fn program(&self) -> &CStr {
        self.text_at(self.program)
    }

    pub(super) fn dir(&self) -> Option<&CStr> {
        self.dir.map(|start| self.text_at(start))
    }

    /// `["/bin/sh", arguments…, null]`.
    pub(super) fn argv(&mut self) -> *mut *const c_char {
        self.argv.as_mut_ptr()
    }

    pub(super) fn envp(&self) -> *const *const c_char {
        self.envp.as_ptr()
    }

    fn text_at(&self, start: usize) -> &CStr {
        CStr::from_bytes_until_nul(&self.text[start..]).expect("`push` ends each string with a null")
    }

    fn push(&mut self, parts: &[&[u8]]) -> Result<usize, NulInside> {
        let start = self.text.len();
        for part in parts {
            if part.contains(&0) {
                return Err(NulInside(String::from_utf8_lossy(part).into_owned()));
            }
            self.text.extend_from_slice(part);
        }
        self.text.push(0);
        Ok(start)
    }
}
