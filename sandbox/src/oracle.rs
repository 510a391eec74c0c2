//! Oracles: the function runs in a copy of the realm, made in the middle of the call that asks, and thrown away.
//!
//! ```text
//! realm   ── call ── System.oracle(fn) ─┐ (waits)                         ┌─ answer ── goes on
//! fork                                  └─ memory copied ── fn() in the World ─┘ dropped
//! ```
//!
//! The fork gets the heap and the stack pointer; the frames of the call stand in its memory too, and are never returned to.

use crate::host::{Answer, Consult, Fault, Host, Level, OracleAnswer, World};
use crate::realm::{Failure, Limits, Outcome, Realm, Sandbox};

/// What the function may take. It has a clock beside it, in its [`World`]; this bounds what never looks at one.
const INSTRUCTIONS: u64 = 3_000_000_000;

/// The longest value, in bytes of JSON.
pub const MAX_ORACLE_BYTES: usize = 1 << 20;

/// The host of a fork: the world, and nothing of the app.
struct Outside {
    world: Box<dyn World>,
}

impl Host for Outside {
    fn console(&mut self, level: Level, line: &str) {
        self.world.console(level, line);
    }

    fn seed(&mut self) -> Result<u64, Fault> {
        Ok(self.world.seed())
    }

    fn consult(&mut self) -> Result<Consult, Fault> {
        Ok(Consult::Recorded(Err(("NestedOracleError".into(), "An oracle cannot ask another one".into()))))
    }

    fn consulted(&mut self, _: &OracleAnswer) {}

    fn now_us(&mut self) -> Option<f64> {
        Some(self.world.now_us())
    }

    fn is_over(&mut self) -> bool {
        self.world.over().is_some()
    }

    fn wait(&mut self, ms: f64) {
        self.world.wait(ms);
    }

    fn ask(&mut self, op: u32, text: &str, data: &[u8], _: &mut u64) -> Result<Answer, Fault> {
        const OP_FETCH: u32 = 6;
        if let Some((name, message)) = self.world.over() {
            return Ok(Answer::Refused { name: name.into(), message });
        }
        Ok(match op {
            OP_FETCH => self.world.fetch(text, data),
            _ => Answer::Refused { name: "OracleError".into(), message: "The files are out of reach inside an oracle".into() },
        })
    }
}

/// Runs the function that the realm with this heap is asking about.
pub(crate) fn run(sandbox: Sandbox, heap: &[u8], stack: i32, world: Box<dyn World>) -> Result<OracleAnswer, Fault> {
    // A stack of its own: the one of this thread holds the call that waits.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("oracle".into()).stack_size(crate::THREAD_STACK_BYTES);
        let spawned = thread.spawn_scoped(scope, || {
            let limits = Limits { instructions: INSTRUCTIONS, ..Limits::MAX };
            let mut fork = Realm::copy(sandbox, limits, Outside { world }, heap, stack)?;
            let outcome = fork.run_oracle()?;
            let over = fork.host_mut().world.over();
            Ok(match (outcome, over) {
                (_, Some(over)) => Err(over),
                (Outcome::Value(json), None) if json.len() > MAX_ORACLE_BYTES => Err((
                    "OracleResultTooLargeError".into(),
                    format!("The oracle's value takes {} bytes of JSON; the limit is {MAX_ORACLE_BYTES}", json.len()),
                )),
                (Outcome::Value(json), None) => Ok(Some(json)),
                (Outcome::Nothing, None) => Ok(None),
                (Outcome::Failure(failure) | Outcome::Refused(failure), None) => Err(said(failure)),
                (Outcome::Reply(_) | Outcome::Invalid(_), None) => return Err(Fault("an oracle is no handler".into())),
            })
        });
        let thread = spawned.map_err(|error| Fault(format!("a thread for an oracle: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(Fault("an oracle's thread panicked".into())))
    })
}

fn said(Failure { name, message, .. }: Failure) -> (String, String) {
    if name == "InstructionLimitError" {
        return (name, format!("The oracle ran for more than {INSTRUCTIONS} instructions"));
    }
    (name, message)
}

/// The answer as JSON, for the prelude and for the ledger: `{"value":…}`, `{}` or `{"error":{"name":…,"message":…}}`.
pub fn encode(answer: &OracleAnswer) -> String {
    match answer {
        Ok(Some(json)) => format!("{{\"value\":{json}}}"),
        Ok(None) => "{}".into(),
        Err((name, message)) => {
            let text = |text: &str| serde_json::to_string(text).expect("a string can be written");
            format!("{{\"error\":{{\"name\":{},\"message\":{}}}}}", text(name), text(message))
        }
    }
}
