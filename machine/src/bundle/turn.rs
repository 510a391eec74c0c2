//! One request while it runs: its time, its chance, and what it has asked of the past.

use super::crypto;
use super::history::Past;
use crate::outside::Outside;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sandbox::Fault;

/// The secret seed of a request. It stands in the private part of its transaction, once something was drawn from it: who has it
/// knows the keys that were made from it.
pub type Seed = [u8; 32];

/// Where the seed comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chance {
    /// The system's randomness, when something is drawn.
    #[default]
    Fresh,
    /// The ledger's record; `None` if nothing was drawn.
    Recorded(Option<Seed>),
    /// Known to everybody: while modules are evaluated.
    Known(Seed),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Turn {
    pub time_ms: u64,
    pub chance: Chance,
    /// The seed, once something was drawn.
    pub seed: Option<Seed>,
    pub streams: Option<Box<Streams>>,
    /// Transactions of the past that the request has asked for.
    pub pasts: Vec<Past>,
    /// Bytes that it has written.
    pub written: usize,
    /// Bytes of those transactions of the past.
    pub remembered: usize,
    /// Something was needed that only the ledger secret opens.
    pub blinded: bool,
    /// The ledger lacks a seed that is needed.
    pub seedless: bool,
}

/// The seed, stretched: one stream for `Math.random`, another for keys.
pub(crate) struct Streams {
    ordinary: ChaCha20Rng,
    secret: ChaCha20Rng,
}

impl Streams {
    fn new(seed: Seed) -> Streams {
        let stream = |number| {
            let mut rng = ChaCha20Rng::from_seed(seed);
            rng.set_stream(number);
            rng
        };
        Streams { ordinary: stream(0), secret: stream(1) }
    }

    pub fn ordinary(&mut self, out: &mut [u8]) {
        self.ordinary.fill_bytes(out);
    }
}

impl Turn {
    /// The chance of this request.
    pub fn chance(&mut self, outside: &mut dyn Outside, blind: bool) -> Result<&mut Streams, Fault> {
        if self.streams.is_none() {
            let seed = match self.chance {
                Chance::Known(seed) => seed,
                Chance::Fresh => *self.seed.insert(outside.entropy()),
                Chance::Recorded(Some(seed)) => *self.seed.insert(seed),
                Chance::Recorded(None) if blind => {
                    self.blinded = true;
                    return Err(Fault("a seed is not readable without the ledger secret".into()));
                }
                Chance::Recorded(None) => {
                    self.seedless = true;
                    return Err(Fault("the ledger has no seed for this request".into()));
                }
            };
            self.streams = Some(Box::new(Streams::new(seed)));
        }
        Ok(self.streams.as_mut().expect("made above"))
    }

    /// The same, for keys; it is drawn from when the first byte is.
    pub fn secret<'a>(&'a mut self, outside: &'a mut dyn Outside, blind: bool) -> Secret<'a> {
        Secret { turn: self, outside, blind }
    }
}

pub(crate) struct Secret<'a> {
    turn: &'a mut Turn,
    outside: &'a mut dyn Outside,
    blind: bool,
}

impl crypto::Random for Secret<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Fault> {
        self.turn.chance(self.outside, self.blind)?.secret.fill_bytes(out);
        Ok(())
    }
}
