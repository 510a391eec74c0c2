//! The store on disk: one keyspace of a fjall database.
//!
//! The overlay is our memtable and the ledger our write-ahead log, so neither of fjall's is used: a flush is an
//! *ingestion*, which writes the sorted entries straight into a table and then lists the table in a new version of the
//! tree. That version file, put in place by one rename, is what makes a flush atomic. Fjall merges tables on its one
//! thread. Values from [`BLOB_BYTES`] up lie in files of their own and are not copied by merges.
//!
//! Never call fjall's `clear` here: it is a record in its journal, replayed on every open, and would take what was
//! ingested after it. A wipe makes a new keyspace instead; old snapshots keep the deleted one until they are dropped.

use std::path::Path;
use std::sync::Arc;

use fjall::compaction::Leveled;
use fjall::config::CompressionPolicy;
use fjall::{
    CompressionType, Database, Error, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, LsmError, PersistMode, Readable,
    Slice,
};

use super::StateError;
use super::range::{Bounds, Found};

/// The layout of keys and values. Another number is another layout: such a store is deleted and rebuilt.
const FORMAT: u8 = 1;

/// The key of the store's own record. Map keys start with the length of a name, which is never 0.
const RECORD_KEY: &[u8] = &[0];

const KEYSPACE: &str = "maps";

/// Blocks kept in memory: 4 MiB.
const CACHE_BYTES: u64 = 4 << 20;

/// Files kept open.
const MAX_OPEN_FILES: usize = 64;

/// Values of at least 4 KiB, a block, lie apart.
const BLOB_BYTES: u32 = 4 << 10;

/// Files of large values end at 32 MiB; one is rewritten when enough of it is garbage.
const BLOB_FILE_BYTES: u64 = 32 << 20;

/// Merges write tables of 4 MiB. Each keeps a hash of every key in memory while it is written: with 16 MiB tables the
/// process grew by 23 MiB more.
const TABLE_BYTES: u64 = 4 << 20;

pub(super) struct Store {
    database: Database,
    view: Arc<View>,
    applied: u64,
}

/// The store after one flush.
pub(super) struct View {
    snapshot: fjall::Snapshot,
    keyspace: Keyspace,
    /// Dropped last: reads need the database's files.
    _database: Database,
}

fn keyspace_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .with_kv_separation(Some(
            KvSeparationOptions::default()
                .separation_threshold(BLOB_BYTES)
                .file_target_size(BLOB_FILE_BYTES)
                // Old and new files alike may be rewritten for their garbage.
                .age_cutoff(1.0)
                .compression(CompressionType::Lz4),
        ))
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)))
        .manual_journal_persist(true)
}

fn view(database: &Database) -> Result<View, StateError> {
    let keyspace = database.keyspace(KEYSPACE, keyspace_options).map_err(sort_error)?;
    Ok(View { snapshot: database.snapshot(), keyspace, _database: database.clone() })
}

impl Store {
    /// Opens or makes the store, and says which transaction it has applied.
    pub(super) fn open(dir: &Path) -> Result<(Self, u64), StateError> {
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .worker_threads(1)
            .max_cached_files(Some(MAX_OPEN_FILES))
            .manual_journal_persist(true)
            .open()
            .map_err(sort_error)?;
        let view = view(&database)?;
        let applied = match view.get(RECORD_KEY)? {
            None => 0,
            Some(record) => decode_record(&record)?,
        };
        Ok((Self { database, view: Arc::new(view), applied }, applied))
    }

    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    pub(super) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Writes sorted entries, and that everything up to `applied` is here: all or nothing.
    pub(super) fn write(&mut self, run: &[Found], applied: u64) -> Result<(), StateError> {
        // An ingestion alone would not notice that merging has failed in fjall's thread.
        self.database.persist(PersistMode::Buffer).map_err(sort_error)?;
        let keyspace = &self.view.keyspace;
        let mut ingestion = keyspace.start_ingestion().map_err(sort_error)?;
        ingestion.write(RECORD_KEY, encode_record(applied)).map_err(sort_error)?;
        for (key, slot) in run {
            match slot {
                Some(stored) => ingestion.write(key.clone(), stored.clone()),
                None => ingestion.write_tombstone(key.clone()),
            }
            .map_err(sort_error)?;
        }
        ingestion.finish().map_err(sort_error)?;
        self.view = Arc::new(view(&self.database)?);
        self.applied = applied;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn write_record_for_test(&mut self, record: Vec<u8>) {
        let mut ingestion = self.view.keyspace.start_ingestion().unwrap();
        ingestion.write(RECORD_KEY, record).unwrap();
        ingestion.finish().unwrap();
    }

    pub(super) fn wipe(&mut self) -> Result<(), StateError> {
        self.database.delete_keyspace(self.view.keyspace.clone()).map_err(sort_error)?;
        self.view = Arc::new(view(&self.database)?);
        self.applied = 0;
        Ok(())
    }
}

impl View {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Slice>, StateError> {
        self.snapshot.get(&self.keyspace, key).map_err(sort_error)
    }

    pub(super) fn entries(&self, bounds: Bounds) -> impl DoubleEndedIterator<Item = Result<Found, StateError>> + Send + use<> {
        self.snapshot.range(&self.keyspace, bounds).map(|guard| {
            let (key, stored) = guard.into_inner().map_err(sort_error)?;
            Ok((key, Some(stored)))
        })
    }

    /// Like `entries`, with nothing instead of each value.
    pub(super) fn keys(&self, bounds: Bounds) -> impl DoubleEndedIterator<Item = Result<Found, StateError>> + Send + use<> {
        self.snapshot.range(&self.keyspace, bounds).map(|guard| {
            let key = guard.key().map_err(sort_error)?;
            Ok((key, Some(Slice::default())))
        })
    }
}

fn encode_record(applied: u64) -> Vec<u8> {
    let mut record = vec![FORMAT];
    record.extend_from_slice(&applied.to_be_bytes());
    record
}

fn decode_record(record: &[u8]) -> Result<u64, StateError> {
    match record.split_first() {
        Some((&FORMAT, applied)) => match <[u8; 8]>::try_from(applied) {
            Ok(applied) => Ok(u64::from_be_bytes(applied)),
            Err(_) => Err(StateError::Unusable("its record has the wrong length".to_owned())),
        },
        Some((format, _)) => Err(StateError::Unusable(format!("format {format}, not {FORMAT}"))),
        None => Err(StateError::Unusable("its record is empty".to_owned())),
    }
}

fn sort_error(error: Error) -> StateError {
    match error {
        Error::Locked => StateError::InUse,
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => StateError::Host(error),
        Error::Poisoned => StateError::Host(std::io::Error::other("an earlier write of the state store failed")),
        other => StateError::Unusable(other.to_string()),
    }
}
