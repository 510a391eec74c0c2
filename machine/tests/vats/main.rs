//! Real vats on the real machine, in memory.

#![allow(clippy::unwrap_used)]

mod burst;
mod comms;
mod errors;
mod graphs;
mod hostile;
mod limits;
mod mail;
mod order;
mod passing;
mod readme;
mod resumption;
mod sources;
mod stage;
mod tables;
