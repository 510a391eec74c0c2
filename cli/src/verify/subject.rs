//! What is audited: chunk files in a folder, and what a server said beside them.

use super::report::Screen;
use crate::Failed;
use crate::address::Address;
use crate::client::{Client, Who};
use crate::download;
use ledger::{Certificate, Keys, LedgerSecret, TxId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a signature over the archive's transaction may be waited for.
const SIGNATURE_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is asked for.
const SIGNATURE_INTERVAL: Duration = Duration::from_millis(100);

/// A ledger, and what is known of it from elsewhere.
pub struct Subject {
    /// The folder of the chunk files.
    pub ledger: PathBuf,
    /// The rows that are served, as of a transaction.
    pub archive: Option<(TxId, BTreeMap<String, Vec<u8>>)>,
    /// What the server says it is: the files' and the log's address.
    pub claimed: Option<(String, String)>,
    /// The operator's own directory has the secret that guards the unsigned tail too.
    pub keys: Option<Keys>,
    /// What opens its private tables, if the auditor was given it.
    pub secret: Option<Arc<LedgerSecret>>,
    /// The service that it must be.
    pub pinned: Option<Certificate>,
    _kept: Option<tempfile::TempDir>,
}

impl Subject {
    /// What opens its private tables, if that is known here.
    pub fn ledger_secret(&self) -> Option<Arc<LedgerSecret>> {
        self.secret.clone().or_else(|| self.keys.as_ref().map(|keys| keys.secret().clone()))
    }
}

/// Downloads what a server offers: the ledger, the files, and the ledger up to a signature that covers the files.
pub fn fetch(address: &Address, keep: Option<&Path>, screen: &Screen) -> Result<Subject, Failed> {
    screen.step(&format!("Connecting to {address}..."));
    let client = Client::connect(address, &Who { anonymous: true, ..Who::default() })?;
    screen.step("Connected.");
    let claimed = (client.info.files_archive_url.clone(), client.info.call_log_url.clone());
    drop(client);

    let (into, kept) = match keep {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|error| Failed::unable(format!("{}: {error}", dir.display())))?;
            (dir.to_owned(), None)
        }
        None => {
            let temporary = tempfile::tempdir().map_err(Failed::unable)?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    screen.step("Downloading call log...");
    let bar = screen.bar(0);
    let mut progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let downloaded = download::ledger(address, &into, &mut progress);
    bar.finish_and_clear();
    downloaded?;
    screen.step("Downloading files archive...");
    let archive = download::archive(address)?;
    let until = Instant::now() + SIGNATURE_TIMEOUT;
    loop {
        let listing = download::ledger(address, &into, &mut |_, _| {})?.listing;
        let signed: Option<TxId> = listing.signed.parse().ok();
        if signed.is_some_and(|signed| signed.seqno >= archive.0.seqno) {
            break;
        }
        if Instant::now() > until {
            return Err(Failed::unable(format!("the server signs nothing: no signature covers transaction {}", archive.0)));
        }
        std::thread::sleep(SIGNATURE_INTERVAL);
    }
    Ok(Subject {
        ledger: into,
        archive: Some(archive),
        claimed: Some(claimed),
        keys: None,
        secret: None,
        pinned: None,
        _kept: kept,
    })
}

/// A node's own directory, or one with chunk files in it.
pub fn open(dir: &Path, screen: &Screen) -> Result<Subject, Failed> {
    screen.step(&format!("Reading {}...", dir.display()));
    let own = dir.join("ledger");
    let (ledger, keys) = if own.is_dir() {
        let keys = Keys::load(&dir.join("keys"));
        if let Err(error) = &keys {
            eprintln!("Note: the keys are not used, what no signature covers is only replayed: {error}");
        }
        (own, keys.ok())
    } else {
        (dir.to_owned(), None)
    };
    Ok(Subject { ledger, archive: None, claimed: None, keys, secret: None, pinned: None, _kept: None })
}

/// Reads a ledger secret: 64 hex digits, as a node keeps it in `keys/ledger_secret`.
pub fn read_secret(path: &Path) -> Result<Arc<LedgerSecret>, Failed> {
    let text = std::fs::read_to_string(path).map_err(|error| Failed::unable(format!("{}: {error}", path.display())))?;
    let raw = ledger::hex::decode::<32>(text.trim());
    let raw = raw.ok_or_else(|| Failed::unable(format!("{} holds no ledger secret: 64 hexadecimal digits", path.display())))?;
    Ok(Arc::new(LedgerSecret::new(raw)))
}
