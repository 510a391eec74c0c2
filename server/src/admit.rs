//! Admission: the one place that looks at the clock. What it saw is frozen into the Input.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use machine::{Call, Caller};
use std::time::{SystemTime, UNIX_EPOCH};

/// Freezes time. It never runs backwards within a ledger.
pub struct Admission {
    last_ms: u64,
}

impl Admission {
    /// Times will be no earlier than `last_ms`.
    pub fn new(last_ms: u64) -> Admission {
        Admission { last_ms }
    }

    /// Milliseconds since 1970.
    pub fn time_ms(&mut self) -> u64 {
        self.last_ms = self.last_ms.max(now_ms());
        self.last_ms
    }

    /// A call with its time.
    pub fn call(&mut self, method: String, args: String, caller: Caller) -> Call {
        Call { method, args, caller, time_ms: self.time_ms() }
    }
}

/// Milliseconds since 1970, for what is not recorded.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
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
