//! What runs inside the sandbox: one QuickJS runtime with one context, a prelude written in JavaScript, and the
//! few functions through which the host drives it. Compiled to `wasm32-unknown-unknown`.
//!
//! The linear memory of this module *is* the realm: the host saves, restores, forks and hashes it as pages. So
//! everything here is a function of the bytes that come in:
//!
//! - no clock but the host's, which tells the time of the Input;
//! - no randomness but a seed, which a call asks for when it first needs one;
//! - no state outside the linear memory (the shadow stack pointer is back at its base between two calls).
//!
//! # The ABI
//!
//! The host asks for a `buffer` of n bytes, writes a request there, and calls `load`, `call` or `eval` with its
//! length. The answer is `ptr << 32 | len` of a reply. Requests and replies are sequences of fields, each a u32 LE
//! length and that many bytes:
//!
//! ```text
//! load   -> file name, source                           reply: outcome (JSON array of the method names)
//! call   -> method, arguments (JSON array), caller?      reply: outcome
//! eval   -> source                                       reply: outcome (text for a person)
//! connect -> method names (JSON array)                   reply: outcome; the realm becomes a REPL's
//! peek   -> name of a variable                           reply: outcome (its value as JSON)
//! oracle -> nothing                                      reply: outcome; runs in a fork, see below
//! modules -> kind of a bundle's realm, names (JSON array)   reply: outcome
//! respond -> module, function, request (JSON), body, a transaction of the past (JSON) or nothing, "1" if signed, signed
//!            content   reply: outcome
//! invoke -> module, function, arguments (JSON array)     reply: outcome
//! deliver -> kind, fields of that kind                    reply: outcome; a vat's delivery
//! outcome = tag u8, fields   0 value: JSON   1 no value   2 failure: name, message, stack   3 nothing ran: as 2
//!                            4 a bundle's reply, as `abi.rs` has it   5 no reply: why
//! ```
//!
//! When a script asks an oracle, the host copies the memory in the middle of that call, and calls `oracle` in the copy: it
//! finds the function where the call has left it, below the frames of a caller that will never go on there.
//!
//! Guest to host goes through one import, `glassbox.host(op, ptr, len) -> len of the answer`, and
//! `glassbox.take(ptr)`, which copies that answer to where the guest has made room.

mod abi;
mod bundle;
mod memory;
mod realm;
mod vat;
pub mod web;

pub use abi::Outcome;
pub use realm::Guest;
