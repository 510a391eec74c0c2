//! Where the lines come from: a line editor on a terminal, else stdin as it is, echoed so that a transcript reads well.

use crate::Failed;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, Helper};
use std::fs::DirBuilder;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Lines that are remembered.
const HISTORY_LINES: usize = 1_000;

/// A line, or what came instead.
pub enum Line {
    Text(String),
    /// Ctrl-C: what was typed is to be forgotten.
    Cleared,
    End,
}

pub enum Input {
    Editor(Box<Editor<Names, FileHistory>>, Option<PathBuf>),
    Plain,
}

impl Input {
    /// `methods` are completed behind the name of their object.
    pub fn open(object: &'static str, methods: Vec<String>) -> Result<Input, Failed> {
        if !io::stdin().is_terminal() {
            return Ok(Input::Plain);
        }
        let config = Config::builder().auto_add_history(false).max_history_size(HISTORY_LINES).map_err(Failed::unable)?.build();
        let mut editor = Editor::with_config(config).map_err(Failed::unable)?;
        editor.set_helper(Some(Names { object, methods }));
        let history = history_file();
        if let Some(path) = &history {
            let _ = editor.load_history(path);
        }
        Ok(Input::Editor(Box::new(editor), history))
    }

    pub fn read(&mut self, prompt: &str) -> Result<Line, Failed> {
        match self {
            Input::Editor(editor, _) => match editor.readline(prompt) {
                Ok(line) => Ok(Line::Text(line)),
                Err(ReadlineError::Interrupted) => Ok(Line::Cleared),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(Failed::new(error)),
            },
            Input::Plain => {
                let mut line = String::new();
                let read = io::stdin().lock().read_line(&mut line).map_err(|error| Failed::new(format!("stdin: {error}")))?;
                if read == 0 {
                    return Ok(Line::End);
                }
                let line = line.trim_end_matches(['\n', '\r']);
                println!("{prompt}{line}");
                let _ = io::stdout().flush();
                Ok(Line::Text(line.to_owned()))
            }
        }
    }

    /// Puts a source that was evaluated into the history. That a history cannot be kept is no reason to stop.
    pub fn remember(&mut self, source: &str) {
        if let Input::Editor(editor, path) = self {
            let _ = editor.add_history_entry(source);
            if let Some(path) = path {
                let _ = editor.append_history(path);
            }
        }
    }
}

/// In the user's state directory.
fn history_file() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let dir = state.join("glassbox");
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).ok()?;
    Some(dir.join("history"))
}

/// Completes the names of the backend's methods.
pub struct Names {
    object: &'static str,
    methods: Vec<String>,
}

impl Names {
    /// Where the word before the cursor begins, and what it can become.
    fn candidates(&self, before: &str) -> (usize, Vec<String>) {
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let start =
            |text: &str| text.rfind(|c| !is_name(c)).map_or(0, |at| at + text[at..].chars().next().map_or(0, char::len_utf8));
        let word = start(before);
        let found = |names: &[&str]| -> Vec<String> {
            names.iter().filter(|name| name.starts_with(&before[word..])).map(|name| (*name).to_owned()).collect()
        };
        let Some(object) = before[..word].strip_suffix('.') else {
            return (word, if word < before.len() { found(&[self.object]) } else { Vec::new() });
        };
        if &object[start(object)..] == self.object {
            return (word, found(&self.methods.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        (word, if object.is_empty() { found(&["exit", "help"]) } else { Vec::new() })
    }
}

impl Completer for Names {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(&line[..position]))
    }
}

impl Hinter for Names {
    type Hint = String;
}
impl Highlighter for Names {}
impl Validator for Names {}
impl Helper for Names {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_what_the_backend_has() {
        let names = Names { object: "client", methods: vec!["increment".into(), "inspect".into(), "reset".into()] };
        let check = |before: &str, start: usize, found: &[&str]| {
            assert_eq!(names.candidates(before), (start, found.iter().map(|name| (*name).to_owned()).collect()), "{before}");
        };
        check("client.", 7, &["increment", "inspect", "reset"]);
        check("x = await client.in", 17, &["increment", "inspect"]);
        check("cl", 0, &["client"]);
        check("", 0, &[]);
        check("x.in", 2, &[]);
        check("myclient.in", 9, &[]);
        check(".", 1, &["exit", "help"]);
        check("é.client.re", 10, &["reset"]);
    }
}
