//! Scripts: one file that exports functions, called over RPC, with a files archive. After NodeVMS.
//!
//! A script has one realm for its whole life; each call leaves the heap that the next one finds. A call has the realm to
//! itself until it settles: the script-wide lock.

pub mod archive;
mod aside;
mod files;
mod path;

use crate::checkpoint::{self, Checkpoint};
use crate::difference::Difference;
use crate::input::{Call, Code, Input};
use crate::machine::Entry;
use crate::outcome::{self, Outcome};
use crate::outside::{Outside, Source};
use crate::reading::Reading;
use crate::records::Records;
use crate::{Console, Fault, maps};
pub(crate) use files::Files as Readers;
use files::{Draw, Files};
use ledger::WriteSet;
use sandbox::{Failure, PAGE_BYTES, Realm, Sandbox};
use serde::Deserialize;
use std::sync::Arc;

/// Runs before the first call and is no method.
const INIT: &str = "init";

/// Runs once when this code takes the place of another, and is no method.
const MIGRATE: &str = "migrate";

/// How often the size of the changed heap is looked at, in transactions.
const HEAP_LOOK_TRANSACTIONS: u64 = 256;

/// A script in its realm.
pub struct Script {
    sandbox: Sandbox,
    code: Option<Code>,
    exports: Exports,
    /// A checkpoint follows so many transactions after the last at the latest.
    checkpoint_every: u64,
    /// The realm is another than at the last checkpoint.
    fresh: bool,
    /// A call failed that was known to succeed: the realm is of no use any more.
    broken: bool,
    // Never None between two calls of a method here.
    life: Option<Life>,
}

/// What a script exports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exports {
    /// The methods, in the order of their definition.
    pub methods: Vec<String>,
    /// Those of them that only read.
    pub readonly: Vec<String>,
    /// It exports `init`.
    pub init: bool,
    /// It exports `migrate`.
    pub migrate: bool,
}

/// An export in the result of a deployment.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    Method(String),
    Readonly { readonly: String },
}

impl Exports {
    /// Reads the result of a deployment: a JSON array of names, with `{"readonly":name}` for a method that only reads.
    pub fn read(json: &str) -> Exports {
        let listed: Vec<Listed> = serde_json::from_str(json).unwrap_or_default();
        let mut exports = Exports::default();
        for export in listed {
            let (name, readonly) = match export {
                Listed::Method(name) => (name, false),
                Listed::Readonly { readonly } => (readonly, true),
            };
            match name.as_str() {
                INIT => exports.init = true,
                MIGRATE => exports.migrate = true,
                _ => {
                    if readonly {
                        exports.readonly.push(name.clone());
                    }
                    exports.methods.push(name);
                }
            }
        }
        exports
    }
}

enum Life {
    /// Nothing is deployed yet.
    Unborn(Box<Files>),
    Realm(Box<Realm<Files>>),
}

impl Script {
    pub(crate) fn new(sandbox: Sandbox, records: Records, console: Console, outside: Box<dyn Outside>) -> Script {
        let files = Box::new(Files::new(records, console, outside));
        Script {
            sandbox,
            code: None,
            exports: Exports::default(),
            checkpoint_every: checkpoint::CHECKPOINT_TRANSACTIONS,
            fresh: true,
            broken: false,
            life: Some(Life::Unborn(files)),
        }
    }

    /// The script as a checkpoint has it, which the records have folded last.
    pub(crate) fn resume(
        sandbox: Sandbox,
        records: Records,
        checkpoint: &Checkpoint,
        console: Console,
        outside: Box<dyn Outside>,
    ) -> Result<Script, Fault> {
        let deployed = records.state().get(maps::APP, maps::CODE_KEY)?;
        let mut script = Script::new(sandbox, records, console, outside);
        let Some(deployed) = deployed else {
            if checkpoint.heap_bytes > 0 {
                return Err(Fault::Checkpoint("a checkpoint has a heap, and nothing is deployed".into()));
            }
            return Ok(script);
        };
        let malformed = |why: &str| Fault::Checkpoint(format!("the deployment before a checkpoint {why}"));
        let entry = Entry::decode(deployed.value()).map_err(|error| malformed(&error.to_string()))?;
        let (Input::Deploy { code, .. }, Ok(exports)) = (entry.input, entry.result) else {
            return Err(malformed("is none"));
        };
        let limits = sandbox::Limits::from(code.settings);
        if !limits.are_allowed() {
            return Err(malformed("has limits beyond what can be set"));
        }
        let Some(Life::Unborn(files)) = script.life.take() else { unreachable!("nothing is deployed yet") };
        let heap_bytes = checkpoint.heap_bytes;
        let rows = |files: &Files| checkpoint::rows(files.records().state(), heap_bytes);
        let realm = checkpoint::read_realm(&script.sandbox, limits, *files, checkpoint.heap_bytes, rows)?;
        script.exports = Exports::read(exports.as_deref().unwrap_or("[]"));
        script.code = Some(code);
        script.life = Some(Life::Realm(Box::new(realm)));
        script.fresh = false;
        Ok(script)
    }

    /// The code that runs now.
    pub fn code(&self) -> Option<&Code> {
        self.code.as_ref()
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// What it exports.
    pub fn exports(&self) -> &Exports {
        &self.exports
    }

    /// Bytes of the heap.
    pub fn heap_bytes(&self) -> usize {
        match self.life() {
            Life::Unborn(_) => 0,
            Life::Realm(realm) => realm.heap_bytes(),
        }
    }

    /// SHA-256 of the heap, once something is deployed.
    pub fn heap_digest(&self) -> Option<[u8; 32]> {
        match self.life() {
            Life::Unborn(_) => None,
            Life::Realm(realm) => Some(realm.heap_digest()),
        }
    }

    fn life(&self) -> &Life {
        self.life.as_ref().expect("always there between two methods")
    }

    fn files(&self) -> &Files {
        match self.life() {
            Life::Unborn(files) => files,
            Life::Realm(realm) => realm.host(),
        }
    }

    fn files_mut(&mut self) -> &mut Files {
        match self.life.as_mut().expect("always there between two methods") {
            Life::Unborn(files) => files,
            Life::Realm(realm) => realm.host_mut(),
        }
    }

    pub(crate) fn records(&self) -> &Records {
        self.files().records()
    }

    pub(crate) fn records_mut(&mut self) -> &mut Records {
        self.files_mut().records_mut()
    }

    /// What the ledger lacks or has wrong for the call that was just replayed.
    pub(crate) fn take_problem(&mut self) -> Option<Difference> {
        self.files_mut().problem.take()
    }

    /// The next call is known to succeed: see [`Realm::sure`].
    pub(crate) fn sure(&mut self, sure: bool) {
        if let Some(Life::Realm(realm)) = &mut self.life {
            realm.sure(sure);
        }
    }

    /// What readers need, if there is something to read.
    pub(crate) fn share(&mut self) -> Result<Option<Reading>, Fault> {
        let (Some(code), Some(Life::Realm(realm))) = (&self.code, &mut self.life) else { return Ok(None) };
        if self.exports.readonly.is_empty() {
            return Ok(None);
        }
        let (sandbox, limits, exports) = (self.sandbox.clone(), code.settings.into(), Arc::new(self.exports.clone()));
        Ok(Some(Reading { sandbox, limits, heap: realm.share()?, exports }))
    }

    /// Lets readers have the state as it is.
    pub(crate) fn publish(&mut self) {
        if let Some(Life::Realm(realm)) = &mut self.life {
            let view = realm.host_mut().records_mut().view();
            realm.publish(Arc::new(view));
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(crate) fn checkpoint_every(&mut self, transactions: u64) {
        self.checkpoint_every = transactions;
    }

    pub(crate) fn wants_checkpoint(&self, seqno: u64) -> bool {
        let since = seqno.saturating_sub(self.records().checkpoint());
        if since >= self.checkpoint_every || self.records().state().is_full() {
            return true;
        }
        let Life::Realm(realm) = self.life() else { return false };
        since % HEAP_LOOK_TRANSACTIONS == HEAP_LOOK_TRANSACTIONS - 1
            && realm.changed_pages().len() * PAGE_BYTES > checkpoint::CHECKPOINT_HEAP_BYTES
    }

    /// Adds a checkpoint to a write set: the record, and the pages that have changed since the last one.
    pub(crate) fn save(&mut self, writes: &mut WriteSet) -> Result<(), Fault> {
        let records = self.records();
        let record = Checkpoint {
            entries: records.entries(),
            version: records.version(),
            time_ms: records.time_ms(),
            heap_bytes: self.heap_bytes(),
            signature: records.head().map(|head| (head.txid, head.root, head.time_s)),
        };
        writes.put(maps::GLASSBOX, maps::CHECKPOINT_KEY, record.encode());
        let fresh = std::mem::take(&mut self.fresh);
        if let Some(Life::Realm(realm)) = &mut self.life {
            checkpoint::write_pages(&self.sandbox, realm, fresh, realm.host().records().state(), writes)?;
            realm.mark();
        }
        Ok(())
    }

    pub(crate) fn execute(&mut self, seqno: u64, record: &[u8], input: &Input, source: Source) -> Result<Outcome, Fault> {
        let draw = Draw { record: record.to_vec(), seqno };
        self.files_mut().begin(input.time_ms(), draw, source);
        let executed = match input {
            Input::Deploy { code, time_ms } => self.deploy(code, *time_ms),
            Input::Vats { .. } => Ok(Err(not_vats())),
            Input::Init { time_ms } => self.call(INIT, "[]", "null", *time_ms),
            Input::Call(call) if !self.exports.methods.contains(&call.method) => {
                Ok(Err(failure("TypeError", format!("{} is no method of this script", call.method))))
            }
            Input::Call(Call { method, args, caller, time_ms }) => {
                let caller = serde_json::to_string(&caller.id()).expect("a string can be written");
                if self.exports.readonly.contains(method) {
                    self.look(method, args, &caller, *time_ms)
                } else {
                    self.call(method, args, &caller, *time_ms)
                }
            }
        };
        self.broken |= executed.is_err();
        let result = executed?;
        let writes = self.files_mut().take_writes();
        let (chance, oracles) = self.files_mut().take_answers();
        Ok(Outcome { writes: if result.is_ok() { writes } else { Default::default() }, result, chance, oracles })
    }

    fn call(&mut self, method: &str, args: &str, caller: &str, time_ms: u64) -> Result<outcome::Result, Fault> {
        let Some(Life::Realm(realm)) = &mut self.life else {
            return Ok(Err(failure("Error", "No script is deployed".into())));
        };
        Ok(result_of(realm.call(method, args, caller, time_ms)?))
    }

    /// A method that only reads, as a transaction: somebody wants a receipt.
    fn look(&mut self, method: &str, args: &str, caller: &str, time_ms: u64) -> Result<outcome::Result, Fault> {
        let Some(Life::Realm(realm)) = &mut self.life else {
            return Ok(Err(failure("Error", "No script is deployed".into())));
        };
        realm.host_mut().readonly = true;
        Ok(result_of(realm.look(method, args, caller, time_ms)?))
    }

    /// A fresh realm for new code, which may take over from the old one in `migrate`. If that does not come up, the old one
    /// stays.
    fn deploy(&mut self, code: &Code, time_ms: u64) -> Result<outcome::Result, Fault> {
        if !sandbox::Limits::from(code.settings).are_allowed() {
            return Ok(Err(failure("RangeError", "The limits are beyond what can be set".into())));
        }
        let old = self.life.take().expect("always there between two methods");
        let (files, old) = match old {
            Life::Unborn(files) => (*files, None),
            Life::Realm(mut realm) => {
                let files = realm.take_host();
                // Its variables may be asked for, and nothing else.
                realm.put_host(Files::none());
                realm.sure(false);
                (files, Some(realm))
            }
        };
        let mut realm = Realm::new(&self.sandbox, code.settings.into(), files)?;
        let mut result = result_of(realm.load(&code.name, &code.source, time_ms)?);
        let exports = result.as_ref().ok().map(|json| Exports::read(json.as_deref().unwrap_or("[]")));
        let migrates = old.is_some() && exports.as_ref().is_some_and(|exports| exports.migrate);
        realm.host_mut().previous = old;
        if migrates && let Err(failure) = result_of(realm.call(MIGRATE, "[]", "null", time_ms)?) {
            result = Err(failure);
        }
        let old = realm.host_mut().previous.take();
        match (exports, &result) {
            (Some(exports), Ok(_)) => {
                self.exports = exports;
                self.code = Some(code.clone());
                self.fresh = true;
                self.life = Some(Life::Realm(Box::new(realm)));
            }
            _ => {
                let files = realm.into_host();
                self.life = Some(match old {
                    None => Life::Unborn(Box::new(files)),
                    Some(mut old) => {
                        old.put_host(files);
                        Life::Realm(old)
                    }
                });
            }
        }
        Ok(result)
    }
}

fn failure(name: &str, message: String) -> Failure {
    Failure { name: name.into(), message, stack: String::new() }
}

fn not_vats() -> Failure {
    failure("TypeError", "This is a script: it has no vats".into())
}

pub(crate) fn result_of(outcome: sandbox::Outcome) -> outcome::Result {
    match outcome {
        sandbox::Outcome::Value(json) => Ok(Some(json)),
        sandbox::Outcome::Nothing => Ok(None),
        sandbox::Outcome::Failure(failure) | sandbox::Outcome::Refused(failure) => Err(failure),
        sandbox::Outcome::Reply(_) | sandbox::Outcome::Invalid(_) => Err(failure("Error", "A script has no handlers".into())),
    }
}
