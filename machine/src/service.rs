//! What the ledger is a ledger of: written once, in the first transaction.

use crate::input::{MalformedRecord, strict};
use crate::maps;
use crate::script::archive;
use ledger::WriteSet;
use serde::{Deserialize, Serialize};

/// The version of the records that this crate writes.
pub const FORMAT: u32 = 2;

/// A file of functions.
pub const SCRIPT: &str = "script";
/// Endpoints over tables, under governance.
pub const BUNDLE: &str = "bundle";
/// Objects that send each other messages.
pub const VATS: &str = "vats";

/// An app and its identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// [`FORMAT`].
    pub format: u32,
    /// Which kind of app: [`SCRIPT`], [`BUNDLE`] or [`VATS`].
    pub kind: String,
    /// For people.
    pub title: String,
    /// The files archive's ed25519 public key, hex.
    pub files: String,
    /// The call log's ed25519 public key, hex.
    pub log: String,
    /// The ed25519 public key of who may upgrade the app over the network, hex.
    pub operator: String,
    /// The public key of chance (BLS12-381, hex): see [`ledger::chance`].
    pub chance: String,
    /// The sandbox that the operator ran first: [`sandbox::ENGINE`].
    pub engine: String,
}

impl Service {
    /// A service without a name and without keys: for an app that is only tried out.
    pub fn nameless(kind: &str) -> Service {
        Service {
            format: FORMAT,
            kind: kind.into(),
            title: String::new(),
            files: String::new(),
            log: String::new(),
            operator: String::new(),
            chance: String::new(),
            engine: sandbox::ENGINE.into(),
        }
    }

    /// The bytes for the ledger.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers can be written")
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Service, MalformedRecord> {
        strict("service record", bytes, Ok, Service::encode)
    }

    /// Adds what the first transaction says about the app: the record, and for a script `/dat.json`, with which every archive begins.
    pub fn write(&self, writes: &mut WriteSet) {
        writes.put(maps::GLASSBOX, maps::SERVICE_KEY, self.encode());
        if self.kind != SCRIPT {
            return;
        }
        writes.put(maps::FILES, archive::MANIFEST_PATH, archive::manifest(&self.files, &self.title));
    }

    /// The address of the files archive.
    pub fn files_url(&self) -> String {
        format!("hyper://{}", self.files)
    }

    /// The address of the call log.
    pub fn log_url(&self) -> String {
        format!("hyper://{}", self.log)
    }
}
