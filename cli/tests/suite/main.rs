//! The command, tested as its users use it: real processes, real clients, real files.

mod audit;
mod bundles;
mod callers;
mod clients;
mod commands;
mod crash;
mod damage;
mod foreign;
mod forged;
mod honest;
mod keys;
mod oracles;
mod raw;
mod readers;
mod restart;
mod scripts;
mod support;
mod trace;
mod transcripts;
mod upgrade;
mod vats;
mod verify;
mod wire;
