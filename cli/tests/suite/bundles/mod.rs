//! Bundles, end to end: `glassbox sandbox` on a workspace of its own, clients over TLS, governance by signed requests, audits.
//!
//! File by file: [`place`] (workspaces and sandboxes), [`client`] (HTTP over TLS, byte by byte), [`sign`] (COSE and tokens),
//! [`session`] (requests and answers as text).

mod callers;
pub mod client;
mod deploy;
mod durable;
mod governed;
mod http;
mod kv;
pub mod place;
mod reuse;
mod session;
mod sign;
mod tamper;
