//! The live outside of a machine: the chance key, and the world of oracles.

use crate::oracle::{AllowedHost, LiveWorld};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use ledger::Keys;
use machine::{Head, Outside};
use sandbox::{Level, World};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What oracles may do.
#[derive(Debug, Clone)]
pub struct Oracles {
    /// Hosts that `fetch` may reach.
    pub allowed: Arc<[AllowedHost]>,
    /// How long one may take.
    pub timeout: Duration,
}

impl Default for Oracles {
    fn default() -> Oracles {
        Oracles { allowed: Arc::new([]), timeout: crate::limits::ORACLE_TIMEOUT }
    }
}

/// A console that more than one may write to.
pub(crate) type SharedConsole = Arc<Mutex<machine::Console>>;

/// Answers what calls ask of the outside.
pub(crate) struct Live {
    pub keys: Arc<Keys>,
    pub oracles: Oracles,
    pub console: SharedConsole,
}

impl Outside for Live {
    fn chance(&mut self, head: Option<&Head>) -> [u8; ledger::chance::CHANCE_BYTES] {
        let root = head.map_or([0; 32], |head| head.root);
        self.keys.chance().sign(head.map(|head| head.txid), &root)
    }

    fn entropy(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).expect("the system has randomness");
        seed
    }

    fn world(&mut self, number: u64) -> Box<dyn World> {
        let console = self.console.clone();
        let print = move |level: Level, line: &str| {
            if let Ok(mut console) = console.lock() {
                console(number, level, &format!("(oracle) {line}"));
            }
        };
        Box::new(LiveWorld::new(self.oracles.allowed.clone(), self.oracles.timeout, print))
    }
}
