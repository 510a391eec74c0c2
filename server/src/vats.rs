//! Vats in a directory: how their ledger begins, and how a command runs them without serving them.

use crate::admit::Admission;
use crate::node::{self, Node, StartError};
use crate::outside::SharedConsole;
use ledger::{Keys, Sealed, ServiceStatus};
use machine::vats::{Install, Work, summary};
use machine::{Console, Fault, Input, Machine, Outcome, Service, state};
use sandbox::Sandbox;
use std::sync::Arc;

/// The first transactions: what it is, and the installation, with the call of `bootstrap` in the queue.
pub(crate) fn first(
    install: &Install,
    sandbox: &Sandbox,
    keys: &Arc<Keys>,
    service: Service,
    admission: &mut Admission,
    console: &SharedConsole,
) -> Result<Vec<Sealed>, StartError> {
    let time_ms = admission.time_ms();
    let shared = console.clone();
    let console: Console = Box::new(move |number, level, line| {
        if let Ok(mut console) = shared.lock() {
            console(number, level, line);
        }
    });
    let mut machine = Machine::vats(sandbox, state::State::in_memory(), console)?;
    let mut writes = machine.begin(1, service)?;
    ledger::genesis(&mut writes, keys);
    let mut sealer = node::new_sealer(keys)?;
    let mut sealed = vec![node::seal(&mut sealer, &writes)?];
    let input = Input::Vats { work: Work::Install(Box::new(install.clone())), time_ms };
    let (outcome, mut writes) = machine.execute(sealer.next().seqno, &input)?;
    if let Err(failure) = &outcome.result {
        return Err(StartError::Vats(shown(failure)));
    }
    ledger::service_info(&mut writes, keys, ServiceStatus::Open);
    sealed.push(node::seal(&mut sealer, &writes)?);
    sealed.push(sealer.sign(time_ms / 1000, false).map_err(|error| StartError::Write(error.to_string()))?);
    Ok(sealed)
}

/// `vat bot: SyntaxError: …`, with the place if the stack begins with one.
pub fn shown(failure: &sandbox::Failure) -> String {
    let sandbox::Failure { name, message, stack } = failure;
    let place = stack
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("at ") && !line.contains("glassbox:"))
        .map(|line| format!("\n    {line}"))
        .unwrap_or_default();
    format!("{name}: {message}{place}")
}

/// What an operator has said of vats beside their sources. What is empty was not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// What `bootstrap` is given.
    pub argv: Vec<String>,
    /// Devices to add.
    pub devices: Vec<String>,
    /// Vats of ours to add.
    pub builtin: Vec<String>,
    /// The vat whose root the outside may call.
    pub root: Option<String>,
    /// Bytes of each vat's heap.
    pub heap_bytes: Option<u32>,
    /// Instructions of one crank.
    pub instructions: Option<u64>,
}

/// Whether a directory has what the operator wants to run.
pub(crate) fn expect(machine: &Machine, wanted: Option<&Install>, said: &Said) -> Result<(), StartError> {
    let Some(present) = machine.as_vats().and_then(|vats| vats.installed()) else {
        return Err(StartError::Replay("it never installs vats".into()));
    };
    if let Some(difference) = wanted.and_then(|wanted| other_sources(present, wanted)) {
        return Err(StartError::Vats(format!(
            "{difference} Vats that live on take new code by an upgrade of their own (vatAdmin); or choose another --dir."
        )));
    }
    match said.difference(present) {
        None => Ok(()),
        Some(difference) => Err(StartError::Vats(format!(
            "The directory has its installation already: {difference}. Leave that out, or choose another --dir."
        ))),
    }
}

fn other_sources(present: &Install, wanted: &Install) -> Option<String> {
    if present.source == wanted.source {
        return None;
    }
    let names = |install: &Install| install.source.vats.iter().map(|vat| vat.name.clone()).collect::<Vec<_>>();
    Some(if names(present) != names(wanted) {
        format!("The directory has the vats {}, not {}.", names(present).join(", "), names(wanted).join(", "))
    } else {
        let modules = &wanted.source.modules;
        let other = present.source.modules.iter().find(|(path, source)| modules.get(*path) != Some(source));
        let path = other
            .map(|(path, _)| path.as_str())
            .or_else(|| modules.keys().find(|path| !present.source.modules.contains_key(*path)).map(String::as_str));
        format!("The directory runs other vats: {} differs.", path.unwrap_or("their configuration").trim_start_matches('/'))
    })
}

impl Said {
    /// What an installation has not, or has otherwise.
    fn difference(&self, present: &Install) -> Option<String> {
        let missing = |said: &[String], known: &[String]| said.iter().find(|name| !known.contains(name)).cloned();
        if !self.argv.is_empty() && self.argv != present.argv {
            let given = if present.argv.is_empty() { "nothing".into() } else { present.argv.join(" ") };
            return Some(format!("its bootstrap was given {given}, not {}", self.argv.join(" ")));
        }
        if let Some(device) = missing(&self.devices, &present.devices) {
            return Some(format!("it has no device '{device}'"));
        }
        if let Some(vat) = missing(&self.builtin, &present.builtin) {
            return Some(format!("it has no vat '{vat}' of Glassbox's own"));
        }
        if let Some(root) = self.root.as_ref().filter(|&root| present.root.as_ref() != Some(root)) {
            return Some(match &present.root {
                Some(present) => format!("it serves the root of '{present}', not of '{root}'"),
                None => format!("it serves the root of no vat, also not of '{root}'"),
            });
        }
        let limits = [
            ("heap limit", self.heap_bytes.map(u64::from), u64::from(present.settings.heap_bytes)),
            ("instruction limit", self.instructions, present.settings.instructions),
        ];
        let other = limits.into_iter().find_map(|(what, said, is)| Some((what, said.filter(|&said| said != is)?, is)));
        other.map(|(what, said, is)| format!("its {what} is {is}, not {said}"))
    }
}

/// Vats that a command runs: in memory, or with their ledger in a directory.
pub enum Session {
    /// Nothing is kept.
    Memory(Box<Machine>, Admission),
    /// Everything is.
    Kept(Box<Node>),
}

impl Session {
    /// In memory.
    pub fn in_memory(install: &Install, console: Console) -> Result<Session, StartError> {
        let sandbox = Sandbox::new().map_err(Fault::from)?;
        let mut machine = Machine::vats(&sandbox, state::State::in_memory(), console)?;
        machine.begin(1, Service::nameless(machine::service::VATS))?;
        let mut admission = Admission::new(0);
        let input = Input::Vats { work: Work::Install(Box::new(install.clone())), time_ms: admission.time_ms() };
        let (outcome, _) = machine.execute(2, &input)?;
        if let Err(failure) = &outcome.result {
            return Err(StartError::Vats(shown(failure)));
        }
        Ok(Session::Memory(Box::new(machine), admission))
    }

    /// The vats.
    pub fn machine(&mut self) -> &mut Machine {
        match self {
            Session::Memory(machine, _) => machine,
            Session::Kept(node) => &mut node.machine,
        }
    }

    /// Does some work; when it is kept, it is on disk afterwards.
    pub fn work(&mut self, work: Work) -> Result<Outcome, StartError> {
        match self {
            Session::Memory(machine, admission) => {
                let input = Input::Vats { work, time_ms: admission.time_ms() };
                let seqno = machine.records().state().applied() + 1;
                Ok(machine.execute(seqno, &input)?.0)
            }
            Session::Kept(node) => node.work(work),
        }
    }

    /// Runs cranks, at most so many: how many it were, and whether nothing waits any more.
    pub fn run(&mut self, most: u64) -> Result<(u64, bool), StartError> {
        let outcome = self.work(Work::Run(most))?;
        match &outcome.result {
            Ok(_) => Ok(summary(&outcome.result).unwrap_or((0, true))),
            Err(failure) => Err(StartError::Vats(shown(failure))),
        }
    }

    /// Ends it: what is kept is signed, and a checkpoint written.
    pub fn end(self) -> Result<(), StartError> {
        match self {
            Session::Memory(..) => Ok(()),
            Session::Kept(mut node) => node.close(),
        }
    }
}

/// After so many transactions comes a signature.
const SIGN_EVERY: u64 = 64;

impl Node {
    fn write(&mut self, sealed: &Sealed) -> Result<(), StartError> {
        self.last = sealed.txid;
        self.log.append(&sealed.raw).and_then(|()| self.log.commit()).map_err(|error| StartError::Write(error.to_string()))
    }

    fn work(&mut self, work: Work) -> Result<Outcome, StartError> {
        let input = Input::Vats { work, time_ms: self.admission.time_ms() };
        let (outcome, writes) = self.machine.execute(self.sealer.next().seqno, &input)?;
        let sealed = node::seal(&mut self.sealer, &writes)?;
        self.write(&sealed)?;
        if self.machine.wants_checkpoint(self.sealer.next().seqno) {
            self.save()?;
        }
        if self.sealer.unsigned() >= SIGN_EVERY {
            self.sign()?;
        }
        Ok(outcome)
    }

    fn sign(&mut self) -> Result<(), StartError> {
        let now_s = node::now_s(&mut self.admission);
        let sealed = self.sealer.sign(now_s, false).map_err(|error| StartError::Write(error.to_string()))?;
        let signature = self.sealer.last_signature().expect("just made");
        self.machine.signed(signature)?;
        self.write(&sealed)
    }

    fn save(&mut self) -> Result<(), StartError> {
        let mut writes = self.machine.checkpoint(self.sealer.next())?;
        self.sealer.frontier().write(&mut writes);
        let sealed = node::seal(&mut self.sealer, &writes)?;
        self.write(&sealed)?;
        self.machine.state_mut().flush().map_err(Fault::from)?;
        Ok(())
    }

    fn close(&mut self) -> Result<(), StartError> {
        if self.machine.records().entries_since_checkpoint() > 0 {
            self.save()?;
        }
        if self.sealer.unsigned() > 0 {
            self.sign()?;
        }
        Ok(())
    }
}
