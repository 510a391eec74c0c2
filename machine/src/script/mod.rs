//! Scripts: one file that exports functions, called over RPC, with a files archive. After NodeVMS.
//!
//! A script has one realm for its whole life; each call leaves the heap that the next one finds. A call has the realm to
//! itself until it settles: the script-wide lock.

pub mod archive;
mod files;
mod path;

use crate::input::{Code, Input};
use crate::outcome::{self, Outcome};
use crate::state::State;
use crate::{Console, Fault, Service};
use files::Files;
use ledger::MapWrites;
use sandbox::{Failure, Realm, Sandbox};

/// Runs before the first call and is no method.
const INIT: &str = "init";

/// A script in its realm.
pub struct Script {
    sandbox: Sandbox,
    code: Option<Code>,
    methods: Vec<String>,
    has_init: bool,
    // Never None between two calls of a method here.
    life: Option<Life>,
}

enum Life {
    /// Nothing is deployed yet.
    Unborn(Box<Files>),
    Realm(Box<Realm<Files>>),
}

impl Script {
    pub(crate) fn new(sandbox: Sandbox, state: State, console: Console) -> Script {
        Script {
            sandbox,
            code: None,
            methods: Vec::new(),
            has_init: false,
            life: Some(Life::Unborn(Box::new(Files::new(state, console)))),
        }
    }

    /// The code that runs now.
    pub fn code(&self) -> Option<&Code> {
        self.code.as_ref()
    }

    /// The exported methods, in the order of their definition, without `init`.
    pub fn methods(&self) -> &[String] {
        &self.methods
    }

    /// The script exports `init`.
    pub fn has_init(&self) -> bool {
        self.has_init
    }

    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> usize {
        match self.life() {
            Life::Unborn(_) => 0,
            Life::Realm(realm) => realm.heap_bytes(),
        }
    }

    fn life(&self) -> &Life {
        self.life.as_ref().expect("always there between two methods")
    }

    fn files_mut(&mut self) -> &mut Files {
        match self.life.as_mut().expect("always there between two methods") {
            Life::Unborn(files) => files,
            Life::Realm(realm) => realm.host_mut(),
        }
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        self.files_mut().state_mut()
    }

    pub(crate) fn begin(&mut self, service: &Service) {
        self.files_mut().set_identity(&service.files, &service.title);
    }

    pub(crate) fn apply(&mut self, seqno: u64, writes: Option<&MapWrites>) -> Result<(), Fault> {
        Ok(self.files_mut().apply(seqno, writes)?)
    }

    pub(crate) fn execute(&mut self, number: u64, input: &Input) -> Result<Outcome, Fault> {
        self.files_mut().begin(number, input.time_ms());
        let result = match input {
            Input::Deploy { code, time_ms, seed } => self.deploy(code, *time_ms, *seed)?,
            Input::Init { time_ms, seed } => self.call(INIT, "[]", "null", *time_ms, *seed)?,
            Input::Call(call) if call.method == INIT || !self.methods.contains(&call.method) => {
                Err(failure("TypeError", format!("{} is no method of this script", call.method)))
            }
            Input::Call(call) => {
                let caller = serde_json::to_string(&call.caller).expect("a string can be written");
                self.call(&call.method, &call.args, &caller, call.time_ms, call.seed)?
            }
        };
        let writes = self.files_mut().take_writes();
        Ok(Outcome { writes: if result.is_ok() { writes } else { Default::default() }, result })
    }

    fn call(&mut self, method: &str, args: &str, caller: &str, time_ms: u64, seed: u64) -> Result<outcome::Result, Fault> {
        let Some(Life::Realm(realm)) = &mut self.life else {
            return Ok(Err(failure("Error", "No script is deployed".into())));
        };
        Ok(result_of(realm.call(method, args, caller, time_ms, seed)?))
    }

    /// A fresh realm for new code. If that does not come up, the old one stays.
    fn deploy(&mut self, code: &Code, time_ms: u64, seed: u64) -> Result<outcome::Result, Fault> {
        if !sandbox::Limits::from(code.settings).are_allowed() {
            return Ok(Err(failure("RangeError", "The limits are beyond what can be set".into())));
        }
        let old = self.life.take().expect("always there between two methods");
        let (files, old) = match old {
            Life::Unborn(files) => (*files, None),
            Life::Realm(mut realm) => (realm.take_host(), Some(realm)),
        };
        let mut realm = Realm::new(&self.sandbox, code.settings.into(), files)?;
        let result = result_of(realm.load(&code.name, &code.source, time_ms, seed)?);
        if let Ok(json) = &result {
            let mut methods: Vec<String> = serde_json::from_str(json.as_deref().unwrap_or("[]")).unwrap_or_default();
            let count = methods.len();
            methods.retain(|method| method != INIT);
            self.has_init = methods.len() < count;
            self.methods = methods;
            self.code = Some(code.clone());
            self.life = Some(Life::Realm(Box::new(realm)));
        } else {
            let files = realm.into_host();
            self.life = Some(match old {
                None => Life::Unborn(Box::new(files)),
                Some(mut old) => {
                    old.put_host(files);
                    Life::Realm(old)
                }
            });
        }
        Ok(result)
    }
}

fn failure(name: &str, message: String) -> Failure {
    Failure { name: name.into(), message, stack: String::new() }
}

fn result_of(outcome: sandbox::Outcome) -> outcome::Result {
    match outcome {
        sandbox::Outcome::Value(json) => Ok(Some(json)),
        sandbox::Outcome::Nothing => Ok(None),
        sandbox::Outcome::Failure(failure) | sandbox::Outcome::Refused(failure) => Err(failure),
    }
}
