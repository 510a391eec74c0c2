#![allow(dead_code, unused_imports)]
#[path = "suite/support.rs"] mod support;
#[path = "suite/raw.rs"] mod raw;
#[path = "suite/clients.rs"] mod clients;
#[path = "suite/bundles"] mod bundles { pub mod place; pub mod client; pub mod sign; }
#[path = "suite/foreign/mod.rs"] mod foreign;
