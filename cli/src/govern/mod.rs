//! Governance from the command line.
pub mod bundle;
pub mod cose;
