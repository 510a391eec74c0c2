//! What the state costs on which store: `cargo run --release --example state_store [DIR]`.
//!
//! Three stores take the same transactions: `state` is the real thing, an overlay over fjall's ingestion; `batches` is
//! the same overlay over fjall's ordinary atomic batches, and `redb` over redb. The overlay of the latter two is a plain
//! `BTreeMap` with the limits of `state`. Two ways to batch: `overlay` (8 MiB or 65,536 transactions), and `64`, a flush
//! after every 64 transactions. `overlay+snapshots` takes a snapshot after every 64.
//!
//! Each line is a process of its own. CPU is user and system time of all its threads, from the first transaction until
//! the store is closed; `written` is what it sent to the disk, `left` what the closed store occupies there.
//! docs/decisions/state-store.md has the figures and what follows from them.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement needs a clock")]

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Bound::Unbounded;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fjall::{KeyspaceCreateOptions, KvSeparationOptions, Readable};
use machine::state::{FLUSH_OVERLAY_BYTES, FLUSH_TRANSACTIONS, State};
use redb::ReadableDatabase;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const STORES: [&str; 3] = ["state", "batches", "redb"];
const WORKLOADS: [&str; 5] = ["counter 1", "counter 1000", "counter 100000", "append", "blobs"];
const SCAN_KEYS: usize = 100_000;
const GROUP: u64 = 64;

/// What the three stores must be able to do.
trait Subject {
    fn apply(&mut self, seqno: u64, map: &str, key: &[u8], value: &[u8]) -> Result<()>;
    fn flush(&mut self) -> Result<()>;
    fn snapshot(&mut self) {}
    fn scan(&self, map: &str, limit: usize) -> Result<usize>;
}

impl Subject for State {
    fn apply(&mut self, seqno: u64, map: &str, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(State::apply(self, seqno, [(map, key, Some(value))])?)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(State::flush(self)?)
    }

    fn snapshot(&mut self) {
        let _ = State::snapshot(self);
    }

    fn scan(&self, map: &str, limit: usize) -> Result<usize> {
        let mut bytes = 0;
        for item in self.range(map, Unbounded, Unbounded)?.take(limit) {
            let (key, entry) = item?;
            bytes += key.len() + entry.value().len();
        }
        Ok(bytes)
    }
}

/// A plain overlay over some store.
struct Plain<S> {
    overlay: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
    transactions: u64,
    store: S,
}

impl<S> Plain<S> {
    fn new(store: S) -> Self {
        Self { overlay: BTreeMap::new(), bytes: 0, transactions: 0, store }
    }
}

trait Batched {
    fn write(&mut self, batch: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<()>;
    fn scan(&self, prefix: &[u8], limit: usize) -> Result<usize>;
}

fn prefix(map: &str) -> Result<Vec<u8>> {
    let mut prefix = vec![u8::try_from(map.len())?];
    prefix.extend_from_slice(map.as_bytes());
    Ok(prefix)
}

impl<S: Batched> Subject for Plain<S> {
    fn apply(&mut self, seqno: u64, map: &str, key: &[u8], value: &[u8]) -> Result<()> {
        let mut composite = prefix(map)?;
        composite.extend_from_slice(key);
        let stored = [&seqno.to_be_bytes(), value].concat();
        let bytes = composite.len() + stored.len() + 96;
        if self.overlay.insert(composite, stored).is_none() {
            self.bytes += bytes;
        }
        self.transactions += 1;
        if self.bytes > FLUSH_OVERLAY_BYTES || self.transactions >= FLUSH_TRANSACTIONS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        self.transactions = 0;
        self.store.write(std::mem::take(&mut self.overlay))
    }

    fn scan(&self, map: &str, limit: usize) -> Result<usize> {
        self.store.scan(&prefix(map)?, limit)
    }
}

struct FjallBatches {
    database: fjall::Database,
    keyspace: fjall::Keyspace,
}

impl FjallBatches {
    fn open(dir: &Path) -> Result<Self> {
        let database =
            fjall::Database::builder(dir).cache_size(4 << 20).worker_threads(1).max_journaling_size(64 << 20).open()?;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(8 << 20)
                .with_kv_separation(Some(KvSeparationOptions::default().separation_threshold(4096)))
        };
        let keyspace = database.keyspace("maps", options)?;
        Ok(Self { database, keyspace })
    }
}

impl Batched for FjallBatches {
    fn write(&mut self, batch: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<()> {
        let mut write = self.database.batch();
        for (key, value) in batch {
            write.insert(&self.keyspace, key, value);
        }
        Ok(write.commit()?)
    }

    fn scan(&self, prefix: &[u8], limit: usize) -> Result<usize> {
        let mut bytes = 0;
        for guard in self.database.snapshot().prefix(&self.keyspace, prefix).take(limit) {
            let (key, value) = guard.into_inner()?;
            bytes += key.len() + value.len();
        }
        Ok(bytes)
    }
}

struct Redb {
    database: redb::Database,
    batches: u64,
    /// Every so many batches one is made durable; until then redb keeps them in its file, unlisted.
    durable_every: u64,
}

const TABLE: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("maps");

impl Redb {
    fn open(dir: &Path, durable_every: u64) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let database = redb::Builder::new().set_cache_size(8 << 20).create(dir.join("state.redb"))?;
        Ok(Self { database, batches: 0, durable_every })
    }
}

impl Batched for Redb {
    fn write(&mut self, batch: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<()> {
        self.batches += 1;
        let mut write = self.database.begin_write()?;
        if !self.batches.is_multiple_of(self.durable_every) {
            write.set_durability(redb::Durability::None)?;
        }
        {
            let mut table = write.open_table(TABLE)?;
            for (key, value) in batch {
                table.insert(key.as_slice(), value.as_slice())?;
            }
        }
        Ok(write.commit()?)
    }

    fn scan(&self, prefix: &[u8], limit: usize) -> Result<usize> {
        let read = self.database.begin_read()?;
        let table = read.open_table(TABLE)?;
        let mut bytes = 0;
        for item in table.range(prefix..)?.take(limit) {
            let (key, value) = item?;
            bytes += key.value().len() + value.value().len();
        }
        Ok(bytes)
    }
}

fn open(store: &str, batching: &str, dir: &Path) -> Result<Box<dyn Subject>> {
    let durable_every = if batching == "64" { FLUSH_TRANSACTIONS / GROUP } else { 1 };
    Ok(match store {
        "state" => Box::new(State::open(dir)?),
        "batches" => Box::new(Plain::new(FjallBatches::open(dir)?)),
        "redb" => Box::new(Plain::new(Redb::open(dir, durable_every)?)),
        other => return Err(format!("no store {other}").into()),
    })
}

/// User and system time of this process so far. Fields 14 and 15 are ticks of 10 ms.
fn cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok(Duration::from_millis(10 * (fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)))
}

/// A number out of a file of `name: number` lines in /proc/self.
fn proc_number(file: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(Path::new("/proc/self").join(file))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.trim_matches(|c: char| !c.is_ascii_digit()).parse()?)
}

fn occupied_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for item in std::fs::read_dir(dir)? {
        let item = item?;
        let meta = item.metadata()?;
        bytes += if meta.is_dir() { occupied_bytes(&item.path())? } else { meta.blocks() * 512 };
    }
    Ok(bytes)
}

/// One line of the table.
fn measure(store: &str, workload: &str, batching: &str, dir: &Path) -> Result<()> {
    let blobs = workload == "blobs";
    let count: u64 = match (blobs, batching) {
        (true, _) => 1_000,
        (false, "64") => 64_000,
        _ => 2_000_000,
    };
    let keys: Option<u64> = workload.strip_prefix("counter ").map(str::parse).transpose()?;
    let map = if workload == "append" { "history" } else { "public:script.files" };

    let mut value = vec![
        0;
        if blobs {
            64 << 10
        } else if workload == "append" {
            30
        } else {
            20
        }
    ];
    let mut noise = 88_172_645_463_325_252_u64;
    let mut subject = open(store, batching, dir)?;
    let (cpu, wall, mut worst) = (cpu_time()?, Instant::now(), Duration::ZERO);
    for seqno in 1..=count {
        // Blobs are noise, which does not compress; other values hold the seqno.
        let (head, rest) = value.split_at_mut(8);
        head.copy_from_slice(&seqno.to_le_bytes());
        if blobs {
            for word in rest.chunks_exact_mut(8) {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                word.copy_from_slice(&noise.to_le_bytes());
            }
        }
        let key = keys.map_or(seqno, |keys| seqno * 7_919 % keys);
        let start = Instant::now();
        subject.apply(seqno, map, &key.to_be_bytes(), &value)?;
        if seqno % GROUP == 0 {
            match batching {
                "64" => subject.flush()?,
                "overlay+snapshots" => subject.snapshot(),
                _ => {}
            }
        }
        worst = worst.max(start.elapsed());
    }
    subject.flush()?;
    drop(subject);
    let (cpu, wall) = (cpu_time()? - cpu, wall.elapsed());
    let per_transaction = |amount: f64| amount / count as f64;
    let (written, left) = (proc_number("io", "write_bytes")?, occupied_bytes(dir)?);
    let peak = proc_number("status", "VmHWM")? >> 10;

    let start = Instant::now();
    let subject = open(store, batching, dir)?;
    let opened = start.elapsed();
    let scan = if workload == "append" && count >= SCAN_KEYS as u64 {
        let start = Instant::now();
        let bytes = subject.scan(map, SCAN_KEYS)?;
        format!("{:.1}", start.elapsed().as_secs_f64() * 1e3 + (bytes & 1) as f64 * 1e-9)
    } else {
        "–".to_owned()
    };
    println!(
        "| {workload} | {batching} | {store} | {:.2} | {:.2} | {:.1} | {:.2} | {:.2} | {:.1} | {scan} | {peak} |",
        per_transaction(cpu.as_secs_f64() * 1e6),
        per_transaction(wall.as_secs_f64() * 1e6),
        worst.as_secs_f64() * 1e3,
        per_transaction(written as f64),
        per_transaction(left as f64),
        opened.as_secs_f64() * 1e3,
    );
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [store, workload, batching, dir] = &args[..] {
        return measure(store, workload, batching, Path::new(dir));
    }
    let dir = args.first().map_or_else(std::env::temp_dir, PathBuf::from).join("state_store_measurement");
    println!(
        "| workload | batching | store | CPU µs/txn | wall µs/txn | worst txn ms | written B/txn | left B/txn \
         | open ms | scan 100,000 keys ms | peak memory MiB |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for workload in WORKLOADS {
        for batching in ["overlay", "overlay+snapshots", "64"] {
            for store in STORES {
                if batching == "overlay+snapshots" && store != "state" {
                    continue;
                }
                std::fs::remove_dir_all(&dir).ok();
                std::fs::create_dir_all(&dir)?;
                let me = std::env::current_exe()?;
                let status = std::process::Command::new(me).args([store, workload, batching]).arg(&dir).status()?;
                if !status.success() {
                    return Err(format!("{store} {workload} {batching} failed").into());
                }
            }
        }
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
