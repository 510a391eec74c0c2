//! `glassbox repl`: JavaScript lines, run here in a realm of their own, with a `client` that calls the backend.

mod input;
mod past;

use crate::Failed;
use crate::address::Address;
use crate::call::warn_about_user;
use crate::client::{Client, Who};
use crate::with_stack;
use input::{Input, Line};
use sandbox::{Answer, Consult, Failure, Fault, Host, Level, Limits, OracleAnswer, Outcome, Realm, Sandbox};
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Open a REPL session to a backend.
#[derive(clap::Args)]
pub struct Args {
    /// The backend: HOST:PORT[/MOUNT], ws://… or http://…; with --at also its directory.
    #[arg(value_name = "URL")]
    url: String,
    /// Look into the script itself, as it was right after this transaction: its number, its name (2.17), or #N for entry N of
    /// the call log. Nothing that is done there is kept.
    #[arg(long, value_name = "TX")]
    at: Option<String>,
    #[command(flatten)]
    who: Who,
    /// Evaluate this, print the result and end; exit 1 if it fails.
    #[arg(short, long, value_name = "JS")]
    exec: Option<String>,
}

const HELP: &str = "\
client.METHOD(…)   calls the backend; what it returns is awaited
.help              this text
.exit, Ctrl-D      ends the session
Ctrl-C             clears the line

Variables survive from line to line. A line that fails changes none.";

pub fn run(args: Args) -> Result<(), Failed> {
    if let Some(at) = args.at {
        return past::run(at, args.url, args.exec);
    }
    let address = Address::parse(&args.url)?;
    with_stack(move || match args.exec {
        Some(source) => once(&mut Session::open(address, args.who)?, &source),
        None => session(address, args.who),
    })?
}

/// What evaluates lines.
pub trait Answered {
    /// Fails only when the session cannot go on.
    fn eval(&mut self, source: &str) -> Result<Outcome, Failed>;
}

/// Evaluates one source and prints what it comes to.
pub fn once(session: &mut impl Answered, source: &str) -> Result<(), Failed> {
    match session.eval(source)? {
        Outcome::Value(text) => println!("{text}"),
        Outcome::Nothing | Outcome::Reply(_) | Outcome::Invalid(_) => {}
        Outcome::Failure(failure) | Outcome::Refused(failure) => return Err(Failed::new(message(&failure))),
    }
    Ok(())
}

fn session(address: Address, who: Who) -> Result<(), Failed> {
    println!("Connecting...");
    let mut session = Session::open(address, who)?;
    println!("Connected.");
    println!("You can use 'client' object to access the backend.");
    let methods = session.realm.host().client.info.methods.clone();
    converse(&mut session, &Talk { prompt: "> ".into(), help: HELP, object: "client", methods })
}

/// How a session shows itself.
pub struct Talk {
    /// Before each line.
    pub prompt: String,
    /// For `.help`.
    pub help: &'static str,
    /// The object whose methods are completed.
    pub object: &'static str,
    /// These.
    pub methods: Vec<String>,
}

/// Evaluates lines until there are no more.
pub fn converse(session: &mut impl Answered, talk: &Talk) -> Result<(), Failed> {
    let mut input = Input::open(talk.object, talk.methods.clone())?;
    let mut source = String::new();
    let mut unfinished = None;
    loop {
        match input.read(if source.is_empty() { &talk.prompt } else { "... " })? {
            Line::End => {
                // What was typed was never complete.
                if let Some(failure) = unfinished {
                    println!("{}", message(&failure));
                }
                return Ok(());
            }
            Line::Cleared => {
                source.clear();
                unfinished = None;
            }
            Line::Text(line) => {
                match line.trim() {
                    ".exit" if source.is_empty() => return Ok(()),
                    ".help" if source.is_empty() => {
                        println!("{}", talk.help);
                        continue;
                    }
                    "" if source.is_empty() => continue,
                    _ => {}
                }
                source += &line;
                match session.eval(&source)? {
                    Outcome::Value(text) => println!("{text}"),
                    Outcome::Nothing | Outcome::Reply(_) | Outcome::Invalid(_) => println!("undefined"),
                    Outcome::Failure(failure) | Outcome::Refused(failure) => {
                        if is_unfinished(&failure, &source) {
                            source.push('\n');
                            unfinished = Some(failure);
                            continue;
                        }
                        println!("{}", message(&failure));
                    }
                }
                unfinished = None;
                input.remember(&std::mem::take(&mut source));
            }
        }
        let _ = io::stdout().flush();
    }
}

fn message(Failure { name, message, .. }: &Failure) -> String {
    if message.is_empty() { name.clone() } else { format!("{name}: {message}") }
}

/// More lines may repair it: a syntax error at the very end, or a template or comment that is still open.
fn is_unfinished(failure: &Failure, source: &str) -> bool {
    if failure.name != "SyntaxError" {
        return false;
    }
    // A syntax error has the place in the source as its whole stack. All others are in a function.
    let place = failure.stack.trim().strip_prefix("at repl:").and_then(|place| place.split_once(':'));
    let Some((line, column)) =
        place.and_then(|(line, column)| Some((line.parse::<usize>().ok()?, column.parse::<usize>().ok()?)))
    else {
        return false;
    };
    let Some(at) = source.split('\n').nth(line - 1) else { return true };
    let rest: String = at.chars().skip(column - 1).collect();
    let is_last = line == source.split('\n').count();
    match failure.message.as_str() {
        "unexpected end of comment" => true,
        "unexpected end of string" => rest.starts_with('`'),
        _ => is_last && rest.is_empty(),
    }
}

/// The realm of the session, connected to the backend.
struct Session {
    realm: Realm<Remote>,
}

impl Session {
    fn open(address: Address, who: Who) -> Result<Session, Failed> {
        let client = Client::connect(&address, &who)?;
        warn_about_user(&client, who.user.as_deref());
        let methods = serde_json::to_string(&client.info.methods).expect("strings can be written");
        let sandbox = Sandbox::new().map_err(Failed::unable)?;
        let mut realm = Realm::new(&sandbox, Limits::DEFAULT, Remote { client, address, who }).map_err(Failed::unable)?;
        realm.connect(&methods).map_err(Failed::unable)?;
        Ok(Session { realm })
    }
}

impl Answered for Session {
    /// Fails only when the connection is lost for good.
    fn eval(&mut self, source: &str) -> Result<Outcome, Failed> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.realm.eval(source, now.as_millis() as u64).map_err(Failed::new)
    }
}

/// What `client` calls, and where the console goes.
struct Remote {
    client: Client,
    address: Address,
    who: Who,
}

/// A call of a method, as in the sandbox's prelude.
const OP_RPC: u32 = 20;

impl Host for Remote {
    fn console(&mut self, level: Level, line: &str) {
        match level {
            Level::Debug | Level::Info => println!("{line}"),
            Level::Warn | Level::Error => eprintln!("{line}"),
        }
    }

    fn seed(&mut self) -> Result<u64, Fault> {
        // Nobody replays a REPL: the time is seed enough for its `Math.random`.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(now.as_nanos() as u64)
    }

    fn consult(&mut self) -> Result<Consult, Fault> {
        Ok(Consult::Recorded(Err(("OracleError".into(), "There are no oracles in a REPL".into()))))
    }

    fn consulted(&mut self, _: &OracleAnswer) {}

    fn ask(&mut self, op: u32, text: &str, data: &[u8], _: &mut u64) -> Result<Answer, Fault> {
        if op != OP_RPC {
            return Ok(Answer::Refused { name: "TypeError".into(), message: "There is no such thing in a REPL".into() });
        }
        let args = std::str::from_utf8(data).map_err(|_| Fault("arguments that are no text".into()))?;
        if !self.client.is_open() {
            self.reconnect("it was closed")?;
        }
        match self.client.call(text, args) {
            Ok(Ok(Some(json))) => Ok(Answer::Text(json)),
            Ok(Ok(None)) => Ok(Answer::Nothing),
            Ok(Err(error)) => Ok(Answer::Refused { name: error.name.into(), message: error.message }),
            // Not sent again: it may have been executed.
            Err(failed) => {
                self.reconnect(&failed.message)?;
                let message =
                    "The connection was lost before the reply came, and is there again. The call may have been executed";
                Ok(Answer::Refused { name: "ConnectionError".into(), message: message.into() })
            }
        }
    }
}

impl Remote {
    fn reconnect(&mut self, why: &str) -> Result<(), Fault> {
        let lost = |error: Failed| Fault(format!("The connection to {} is lost ({why}). {}", self.address, error.message));
        self.client = Client::connect(&self.address, &self.who).map_err(lost)?;
        eprintln!("The connection was lost; connected again.");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_more_lines_may_repair() {
        let check = |source: &str, message: &str, place: &str, unfinished: bool| {
            let failure = Failure { name: "SyntaxError".into(), message: message.into(), stack: format!("    at {place}\n") };
            assert_eq!(is_unfinished(&failure, source), unfinished, "{source}");
        };
        check("foo(", "unexpected token in expression: ''", "repl:1:5", true);
        check("é(\n1", "Unexpected end of input", "repl:2:2", true);
        check("a = `x\ny", "unexpected end of string", "repl:1:5", true);
        check("'x", "unexpected end of string", "repl:1:1", false);
        check("1 /* x", "unexpected end of comment", "repl:1:3", true);
        check("a b", "expecting ';'", "repl:1:3", false);
        check("let a = 2", "redeclaration of 'a'", "<eval> (repl:1:1)", false);
    }
}
