//! `glassbox vat shell`: lines of JavaScript in a realm beside the vats, which has `E`, `harden` and wavy dots as they have, and four
//! functions of the kernel's.
//!
//! ```text
//! vat> await run() ──▶ the shell's realm ──question──▶ Kernel (here) ──▶ Session ──▶ the vats' realms
//! ```
//!
//! Everything a line asks for is done when it is answered: what `dump()` shows is never older than the line before. A line that fails
//! changes nothing in the shell's realm; what the vats have done by then stays done.

use super::run::{BLOCK_CRANKS, Ended, Interrupt, console, is_idle, tell_of_bootstrap, to_the_end};
use super::{Vats, show};
use crate::Failed;
use crate::repl::{Answered, Talk, converse, once};
use machine::vats::wavy::{self, Kind, SyntaxError};
use sandbox::{Answer, Consult, Failure, Fault, Host, Level, Limits, OracleAnswer, Outcome, Realm, Sandbox};
use serde_json::Value;
use server::vats::Session;

/// Run vats step by step, from a JavaScript prompt.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) vats: Vats,
    /// Evaluate this, print the result and end; exit 1 if it fails.
    #[arg(short, long, value_name = "JS")]
    exec: Option<String>,
}

const HELP: &str = "\
dump()             prints the kernel's tables: who knows what by which name, promises, what waits; dump({ json: true }) as JSON
dump2()            returns them
await step()       does the next thing that waits: 1, or 0 if nothing waits; step(N) up to N of them
await run()        goes on until nothing waits: how many steps it were
E, harden, x~.m()  as vats have them
.help              this text
.exit, Ctrl-D      ends the session
Ctrl-C             clears the line; or ends a run after its next 256 steps

Variables survive from line to line. A line that fails changes none; what the vats have done stays done.";

/// Of `HandledPromise`, to be completed.
const METHODS: [&str; 5] = ["applyFunction", "applyMethod", "get", "resolve", "set"];

/// A realm in which a line runs, and below it, on the same stack, the realm of a vat.
const STACK_BYTES: usize = 2 * sandbox::THREAD_STACK_BYTES;

pub fn run(args: Args) -> Result<(), Failed> {
    let interrupt = Interrupt::listen()?;
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let running = thread.spawn(move || shell(&args, interrupt)).map_err(Failed::unable)?;
    running.join().map_err(|_| Failed::unable("an internal error; the lines above say where"))?
}

fn shell(args: &Args, interrupt: Interrupt) -> Result<(), Failed> {
    let session = args.vats.session(console(args.vats.verbose))?;
    let sandbox = Sandbox::new().and_then(|sandbox| sandbox.vats()).map_err(Failed::unable)?;
    let mut realm = Realm::new(&sandbox, Limits::DEFAULT, Kernel { session, interrupt }).map_err(Failed::unable)?;
    realm.connect("").map_err(Failed::unable)?;
    let mut shell = Shell(realm);
    let done = match &args.exec {
        Some(source) => once(&mut shell, source),
        None => {
            let methods = METHODS.map(str::to_owned).to_vec();
            converse(&mut shell, &Talk { prompt: "vat> ".into(), help: HELP, object: "HandledPromise", methods })
        }
    };
    let ended = shell.0.into_host().session.end().map_err(Failed::new);
    done.and(ended)
}

struct Shell(Realm<Kernel>);

impl Answered for Shell {
    fn eval(&mut self, source: &str) -> Result<Outcome, Failed> {
        match rewritten(source) {
            Ok(source) => self.0.eval(&source, 0).map_err(Failed::new),
            Err(error) => Ok(Outcome::Failure(failure(&error))),
        }
    }
}

/// Without wavy dots. A line is a script in which `await` may stand; the parser knows that of modules only.
fn rewritten(source: &str) -> Result<String, SyntaxError> {
    let script = match wavy::rewrite(source, Kind::Script) {
        Ok(rewritten) => return Ok(rewritten.into_owned()),
        Err(error) => error,
    };
    match wavy::rewrite(source, Kind::Module) {
        Ok(rewritten) => Ok(rewritten.into_owned()),
        // Whichever has understood more.
        Err(module) => Err(if (module.line, module.column) > (script.line, script.column) { module } else { script }),
    }
}

/// As the engine has it, so that a line that only breaks off can be continued.
fn failure(SyntaxError { message, line, column, .. }: &SyntaxError) -> Failure {
    Failure { name: "SyntaxError".into(), message: message.clone(), stack: format!("    at repl:{line}:{column}\n") }
}

/// What the four functions ask. The prelude's `shell.js` has the other side.
const OP_KERNEL: u32 = 20;

struct Kernel {
    session: Session,
    interrupt: Interrupt,
}

impl Kernel {
    fn answer(&mut self, name: &str, args: &Value) -> Result<Answer, String> {
        match name {
            "dump" | "dump2" => {
                let vats = self.session.machine().as_vats().ok_or("there are no vats")?;
                let dump = vats.dump();
                let json = || serde_json::to_string(&dump).expect("strings and numbers can be written");
                match name {
                    "dump2" => return Ok(Answer::Text(json())),
                    _ if args.pointer("/0/json") == Some(&Value::Bool(true)) => println!("{}", json()),
                    _ => println!("{}", show::dump(&dump)),
                }
                Ok(Answer::Nothing)
            }
            "step" => {
                println!("step!");
                let most = match &args[0] {
                    Value::Null => 1,
                    count => count.as_u64().ok_or_else(|| format!("step(N) takes a whole number, not {count}"))?,
                };
                self.step(most).map(count)
            }
            "run" => {
                println!("run!");
                let Ended { cranks, .. } = to_the_end(&mut self.session, &self.interrupt).map_err(|failed| failed.message)?;
                Ok(count(cranks))
            }
            _ => Err(format!("there is no {name}()")),
        }
    }

    /// Takes so many steps, or as many as there are.
    fn step(&mut self, most: u64) -> Result<u64, String> {
        let mut ran = 0;
        while ran < most && !is_idle(&mut self.session) {
            let (cranks, _) = self.session.run((most - ran).min(BLOCK_CRANKS)).map_err(|error| error.to_string())?;
            ran += cranks;
            tell_of_bootstrap(&mut self.session);
        }
        Ok(ran)
    }
}

fn count(cranks: u64) -> Answer {
    Answer::Text(cranks.to_string())
}

impl Host for Kernel {
    fn console(&mut self, level: Level, line: &str) {
        match level {
            Level::Debug | Level::Info => println!("{line}"),
            Level::Warn | Level::Error => eprintln!("{line}"),
        }
    }

    fn seed(&mut self) -> Result<u64, Fault> {
        // As vats, the shell has no chance.
        Ok(0)
    }

    fn consult(&mut self) -> Result<Consult, Fault> {
        Ok(Consult::Recorded(Err(("OracleError".into(), "There are no oracles in a shell".into()))))
    }

    fn consulted(&mut self, _: &OracleAnswer) {}

    fn ask(&mut self, op: u32, text: &str, data: &[u8], _: &mut u64) -> Result<Answer, Fault> {
        if op != OP_KERNEL {
            return Ok(Answer::Refused { name: "TypeError".into(), message: "There is no such thing in a shell".into() });
        }
        // What cannot be written as JSON is no argument.
        let args = serde_json::from_slice(data).unwrap_or_default();
        Ok(self.answer(text, &args).unwrap_or_else(|message| Answer::Refused { name: "Error".into(), message }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_wavy_dots() {
        for (line, expected) in [
            ("1 + 1", "1 + 1"),
            ("await run()", "await run()"),
            ("x~.foo(1)", "HandledPromise.applyMethod(x,\"foo\",[1])"),
            ("await x~.foo(1)", "await HandledPromise.applyMethod(x,\"foo\",[1])"),
        ] {
            assert_eq!(rewritten(line).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_line_that_breaks_off_says_so_at_its_end() {
        for line in ["x~.foo(", "await x~.foo(1,", "x~.foo(() => {\n"] {
            let error = rewritten(line).expect_err("it is unfinished");
            let last = line.split('\n').next_back().unwrap_or_default();
            let at = (error.line as usize, error.column as usize);
            assert_eq!(at, (line.split('\n').count(), last.chars().count() + 1), "{line}: {error}");
        }
    }
}
