//! Real vats on the real machine, in memory.

#![allow(clippy::unwrap_used)]

mod burst;
mod graphs;
mod hostile;
mod mail;
mod order;
mod passing;
mod readme;
mod resumption;
mod sources;
mod stage;
mod tables;
