//! The command, tested as its users use it: real processes, real clients, real files.

mod clients;
mod commands;
mod crash;
mod damage;
mod raw;
mod scripts;
mod support;
mod transcripts;
mod verify;
mod wire;
