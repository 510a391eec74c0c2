//! Admission: the one place that looks at the clock and at chance. What it saw is frozen into the Input.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use machine::{Call, Caller};
use std::time::{SystemTime, UNIX_EPOCH};

/// Freezes time and seed. Time never runs backwards within a ledger.
pub struct Admission {
    random: SystemRandom,
    seeds: [u8; Admission::SEED_BYTES * 64],
    used: usize,
    last_ms: u64,
}

impl Admission {
    const SEED_BYTES: usize = 8;

    /// Times will be no earlier than `last_ms`.
    pub fn new(last_ms: u64) -> Admission {
        let seeds = [0; Admission::SEED_BYTES * 64];
        Admission { random: SystemRandom::new(), used: seeds.len(), seeds, last_ms }
    }

    /// Milliseconds since 1970.
    pub fn time_ms(&mut self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64);
        self.last_ms = self.last_ms.max(now);
        self.last_ms
    }

    /// A seed for `Math.random`.
    pub fn seed(&mut self) -> u64 {
        if self.used == self.seeds.len() {
            self.random.fill(&mut self.seeds).expect("the system has randomness");
            self.used = 0;
        }
        let (seed, _) = self.seeds[self.used..].split_first_chunk::<8>().expect("a whole number of seeds");
        self.used += Admission::SEED_BYTES;
        u64::from_le_bytes(*seed)
    }

    /// A call with its time and seed.
    pub fn call(&mut self, method: String, args: String, caller: Caller) -> Call {
        Call { method, args, caller, time_ms: self.time_ms(), seed: self.seed() }
    }
}

/// Has the generator gather its entropy, which takes some 30 ms the first time in a process. On a thread of its own, it is
/// done before anybody waits for it.
pub fn warm_up() {
    std::thread::spawn(|| SystemRandom::new().fill(&mut [0]));
}

/// 32 random bytes, hex and raw: a new ed25519 identity's seed with its public key.
pub fn new_identity() -> ([u8; 32], String) {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).expect("the system has randomness");
    (seed, public_key(&seed).expect("any 32 bytes are a seed"))
}

/// The public key (hex) of an ed25519 seed.
pub fn public_key(seed: &[u8]) -> Option<String> {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
    Some(hex(pair.public_key().as_ref()))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
