//! The index: any transaction and any receipt of a ledger, without reading all of it.
//!
//! ```text
//! seqno ──▶ chunk, by its name ──▶ position ──▶ one read
//!
//!      mark          mark          mark               a mark: the peaks of the tree there, every 256 transactions
//!       ├── stretch ──┼── stretch ──┼── stretch ──      a stretch: the nodes from its mark on, as far as somebody has asked
//!           ▲ leaf                       ▲ signature
//!           └── the siblings on its left come from the mark, those on its right from what follows up to the signature
//! ```
//!
//! Marks are made on the way from the last checkpoint before a transaction, so what is read for a first receipt does not grow
//! with the ledger. Stretches that nobody has asked for lately are dropped; a mark costs about 400 bytes and stays.
//!
//! Invariants: the answer for a transaction follows from the ledger alone: its receipt is by the first signature after it. What
//! is handed out bears the tag of the ledger's secret, and a receipt leads to the root that is signed. Nothing is remembered of
//! what was not there: the ledger may grow while it is read.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use crate::cert::Certificate;
use crate::chunk::{CHUNK_HEADER_BYTES, CHUNK_MAX_BYTES, ChunkError, ChunkName};
use crate::frontier::Frontier;
use crate::genesis::NODE_CERTIFICATES_MAP;
use crate::merkle::Tree;
use crate::reader::{Located, ReadError, list_chunks};
use crate::receipt::{Receipt, ReceiptError};
use crate::recover::{RecoverError, last_checkpoint};
use crate::secret::LedgerSecret;
use crate::signature::SignatureInfo;
use crate::storage::Storage;
use crate::transaction::{Transaction, frame};

/// Transactions between two marks.
pub const STRETCH: u64 = 256;
/// Stretches that are kept: 16 KiB each, and 64 bytes for each transaction that a late signature adds.
const STRETCHES: usize = 32;
/// Chunks whose positions are kept, 4 bytes for each transaction.
const TABLES: usize = 16;
/// What is read at once when many transactions are.
const BLOCK_BYTES: u64 = 1 << 20;

/// Looks things up in a ledger. See the [module](self).
#[derive(Debug)]
pub struct Index<S> {
    storage: S,
    secret: Arc<LedgerSecret>,
    chunks: Vec<ChunkName>,
    /// The last used first.
    tables: VecDeque<Table>,
    /// By the number of leaves.
    marks: BTreeMap<u64, Frontier>,
    /// The last used first.
    stretches: VecDeque<Stretch>,
    /// By their ids.
    nodes: BTreeMap<String, Certificate>,
    lacked: u64,
}

/// Where the transactions of a chunk begin.
#[derive(Debug)]
struct Table {
    name: ChunkName,
    file: Arc<str>,
    positions: Vec<u32>,
    /// Where the last one ends.
    end: u64,
    /// Nothing comes after that.
    ended: bool,
}

/// The tree from a mark on.
#[derive(Debug)]
struct Stretch {
    first: u64,
    tree: Tree,
    /// The signature transactions among its leaves.
    signatures: Vec<u64>,
}

impl Table {
    fn holds(&self, seqno: u64) -> bool {
        seqno >= self.name.first && seqno - self.name.first < self.positions.len() as u64
    }

    /// Where a transaction that it holds begins and ends.
    fn span(&self, seqno: u64) -> (u64, u64) {
        let index = (seqno - self.name.first) as usize;
        let end = self.positions.get(index + 1).map_or(self.end, |next| u64::from(*next));
        (u64::from(self.positions[index]), end)
    }

    /// The last of the transactions from one on that are read together.
    fn run(&self, from: u64, to: u64) -> u64 {
        let start = self.span(from).0;
        let last = self.name.first + self.positions.len() as u64 - 1;
        let mut end = from;
        while end < to.min(last) && self.span(end + 1).1 - start <= BLOCK_BYTES {
            end += 1;
        }
        end
    }
}

impl<S: Storage> Index<S> {
    /// An index of a ledger. Nothing is read yet.
    pub fn new(storage: S, secret: Arc<LedgerSecret>) -> Index<S> {
        Index {
            storage,
            secret,
            chunks: Vec::new(),
            tables: VecDeque::new(),
            marks: BTreeMap::from([(1, Tree::new().frontier(None))]),
            stretches: VecDeque::new(),
            nodes: BTreeMap::new(),
            lacked: 0,
        }
    }

    /// The transaction that the last receipt lacked which was [`ReceiptError::NotSigned`]: that one, or one after it, signs.
    pub fn lacked(&self) -> u64 {
        self.lacked
    }

    /// A transaction, of which the tag was checked. `None` if the ledger does not go that far.
    pub fn transaction(&mut self, seqno: u64) -> Result<Option<Transaction>, ReceiptError> {
        let mut found = None;
        self.read(seqno, seqno, |located| {
            found = Some(located);
            Ok(())
        })?;
        found.map(|located| self.authentic(located)).transpose()
    }

    /// The receipt of a transaction of this ledger, by the first signature that covers it, and that signature's number. A
    /// signature transaction's receipt is by itself. [`ReceiptError::NotSigned`] if no signature has come yet.
    pub fn receipt(&mut self, transaction: &Transaction) -> Result<(Receipt, u64), ReceiptError> {
        let seqno = transaction.txid().seqno;
        if let Some(signature) = signed(transaction)? {
            let node = self.node(&signature.node_id)?;
            return Ok((Receipt::for_signature(&signature, &node), seqno));
        }
        let stretch = self.stretch(seqno)?;
        let by = match self.covered(stretch, seqno)? {
            Some(by) => by,
            None => return Err(ReceiptError::NotSigned),
        };
        let signature = self.transaction(by)?.ok_or(ReceiptError::NotSigned)?;
        let signature = signed(&signature)?.ok_or(ReceiptError::Signature)?;
        let node = self.node(&signature.node_id)?;
        let tree = &self.stretches[0].tree;
        let path = |leaf| tree.path(leaf, by);
        let receipt = Receipt::for_leaf(&transaction.leaf(), &signature, &node, &self.secret, path)?;
        if receipt.root() != signature.root {
            return Err(ReceiptError::Signature);
        }
        Ok((receipt, by))
    }

    /// Checks that the owner of the ledger secret sealed a transaction.
    fn authentic(&self, located: Located) -> Result<Transaction, ReceiptError> {
        let Located { file, offset, transaction } = located;
        let txid = transaction.txid();
        let seal = |source| ReceiptError::Ledger(Box::new(RecoverError::Seal { file, offset, txid, source }));
        transaction.decrypt(&self.secret).map_err(seal)?;
        Ok(transaction)
    }

    /// The certificate of a node, which the first transaction names.
    fn node(&mut self, id: &str) -> Result<Certificate, ReceiptError> {
        if self.nodes.is_empty() {
            let first = self.transaction(1)?.ok_or(ReceiptError::NotSigned)?;
            let rows = first.public().maps.get(NODE_CERTIFICATES_MAP).into_iter().flat_map(|map| map.writes.values());
            for pem in rows {
                let pem = std::str::from_utf8(pem).map_err(|_| crate::cert::CertificateError::Pem)?;
                let certificate = Certificate::from_pem(pem)?;
                self.nodes.insert(certificate.id().to_owned(), certificate);
            }
        }
        self.nodes.get(id).cloned().ok_or(ReceiptError::NotEndorsed)
    }

    /// Brings the stretch of a transaction to the front, and says which it was.
    fn stretch(&mut self, seqno: u64) -> Result<u64, ReceiptError> {
        let floor = |marks: &BTreeMap<u64, Frontier>| marks.range(..=seqno).next_back().map_or(1, |(size, _)| *size);
        if seqno - floor(&self.marks) >= STRETCH {
            self.mark_checkpoint(floor(&self.marks), seqno)?;
        }
        loop {
            let first = floor(&self.marks);
            self.open(first);
            if seqno - first < STRETCH {
                return Ok(first);
            }
            self.extend(first + STRETCH)?;
            if !self.marks.contains_key(&(first + STRETCH)) {
                self.lacked = self.stretches[0].tree.size();
                return Err(ReceiptError::NotSigned);
            }
        }
    }

    /// The stretch that begins at a mark comes to the front.
    fn open(&mut self, first: u64) {
        let known = self.stretches.iter().position(|stretch| stretch.first == first);
        let stretch = match known.and_then(|at| self.stretches.remove(at)) {
            Some(stretch) => stretch,
            None => {
                let tree = Tree::from_frontier(&self.marks[&first]).expect("a mark has the peaks of its size");
                Stretch { first, tree, signatures: Vec::new() }
            }
        };
        self.stretches.push_front(stretch);
        self.stretches.truncate(STRETCHES);
    }

    /// The first signature after a transaction in the stretch at the front.
    fn covered(&mut self, first: u64, seqno: u64) -> Result<Option<u64>, ReceiptError> {
        loop {
            let Stretch { tree, signatures, .. } = &self.stretches[0];
            if let Some(by) = signatures.get(signatures.partition_point(|by| *by <= seqno)) {
                return Ok(Some(*by));
            }
            let size = tree.size();
            let whole = (size - first) / STRETCH + 1;
            self.extend(first + whole * STRETCH)?;
            if self.stretches[0].tree.size() == size {
                self.lacked = size;
                return Ok(None);
            }
        }
    }

    /// Takes leaves into the stretch at the front until it has so many, or the ledger ends.
    fn extend(&mut self, size: u64) -> Result<(), ReceiptError> {
        let Some(mut stretch) = self.stretches.pop_front() else { return Ok(()) };
        let mut marks = Vec::new();
        let from = stretch.tree.size();
        let mut took = |located: Located| {
            let transaction = located.transaction;
            if signed(&transaction)?.is_some() {
                stretch.signatures.push(transaction.txid().seqno);
            }
            stretch.tree.push(transaction.leaf().digest());
            if (stretch.tree.size() - stretch.first).is_multiple_of(STRETCH) {
                marks.push(stretch.tree.frontier(None));
            }
            Ok(())
        };
        let mut next = from;
        let mut outcome = Ok(());
        while outcome.is_ok() && next < size {
            match self.read(next, size - 1, &mut took) {
                Ok(0) => break,
                Ok(read) => next += read,
                Err(error) => outcome = Err(error),
            }
        }
        self.marks.extend(marks.into_iter().map(|mark| (mark.size, mark)));
        // A stretch that an error has interrupted has some of its leaves already.
        self.stretches.push_front(stretch);
        outcome
    }

    /// Makes a mark of the last checkpoint between two transactions, if there is one.
    fn mark_checkpoint(&mut self, after: u64, seqno: u64) -> Result<(), ReceiptError> {
        self.list()?;
        let from = self.chunks.partition_point(|name| name.last.is_some_and(|last| last < after));
        let Some((_, checkpoint)) = last_checkpoint(&self.storage, &self.chunks[from..], seqno)? else { return Ok(()) };
        self.authentic(checkpoint.located)?;
        self.marks.insert(checkpoint.frontier.size, checkpoint.frontier);
        Ok(())
    }

    fn list(&mut self) -> Result<(), ReadError> {
        self.chunks = list_chunks(&self.storage)?;
        Ok(())
    }

    /// Shows some of the transactions from one to another, in order, and says how many: none if the ledger does not go that
    /// far.
    fn read(
        &mut self,
        from: u64,
        to: u64,
        mut show: impl FnMut(Located) -> Result<(), ReceiptError>,
    ) -> Result<u64, ReceiptError> {
        let Some((table, bytes, last)) = self.bytes(from, to)? else { return Ok(0) };
        let table = &self.tables[table];
        let base = table.span(from).0;
        for seqno in from..=last {
            let (start, end) = table.span(seqno);
            let raw = bytes[(start - base) as usize..(end - base) as usize].to_vec();
            show(Located::parse(&table.file, start, seqno, raw)?)?;
        }
        Ok(last - from + 1)
    }

    /// The bytes of some transactions, of which the last is said, and their table.
    fn bytes(&mut self, from: u64, to: u64) -> Result<Option<(usize, Vec<u8>, u64)>, ReadError> {
        for patience in (0..3).rev() {
            let read = self.table(from).and_then(|table| {
                let Some(at) = table else { return Ok(None) };
                let table = &self.tables[at];
                let last = table.run(from, to);
                let (start, end) = (table.span(from).0, table.span(last).1);
                let bytes = read_exactly(&self.storage, &table.file, start, (end - start) as usize)?;
                Ok(Some((at, bytes, last)))
            });
            match read {
                // The open chunk has been completed meanwhile, and has another name.
                Err(error) if is_of_renaming(&error) && patience > 0 => {
                    self.tables.retain(|table| table.name.last.is_some());
                    self.chunks.clear();
                }
                read => return read,
            }
        }
        Ok(None)
    }

    /// The table of a transaction.
    fn table(&mut self, seqno: u64) -> Result<Option<usize>, ReadError> {
        if let Some(at) = self.tables.iter().position(|table| table.holds(seqno)) {
            self.tables.swap(0, at);
            return Ok(Some(0));
        }
        // What is being written may have more now.
        if let Some(open) = self.tables.iter_mut().find(|table| table.name.last.is_none() && table.name.first <= seqno) {
            open.extend(&self.storage)?;
            if open.holds(seqno) {
                return self.table(seqno);
            }
        }
        let holds = |name: &ChunkName| name.first <= seqno && name.last.is_none_or(|last| seqno <= last);
        if !self.chunks.iter().any(|name| name.last.is_some() && holds(name)) {
            self.list()?;
            let open = |table: &Table| table.name.last.is_some() || self.chunks.contains(&table.name);
            self.tables.retain(open);
        }
        let Some(name) = self.chunks.iter().find(|name| holds(name)).copied() else { return Ok(None) };
        if self.tables.iter().any(|table| table.name == name) {
            return Ok(None);
        }
        let table = Table::load(&self.storage, name)?;
        let found = table.holds(seqno);
        self.tables.push_front(table);
        self.tables.truncate(TABLES);
        Ok(found.then_some(0))
    }
}

impl Table {
    fn load<S: Storage>(storage: &S, name: ChunkName) -> Result<Table, ReadError> {
        let file: Arc<str> = name.to_string().into();
        let mut table = Table { name, file, positions: Vec::new(), end: CHUNK_HEADER_BYTES as u64, ended: false };
        let Some(last) = name.last else {
            table.extend(storage)?;
            return Ok(table);
        };
        let wrong = |source| ReadError::Chunk { file: Arc::clone(&table.file), offset: 0, source };
        let header = read_exactly(storage, &table.file, 0, CHUNK_HEADER_BYTES)?;
        let end = header.first_chunk().map_or(0, |header| u64::from_le_bytes(*header));
        let count = usize::try_from(last - name.first + 1).ok().filter(|count| *count as u64 <= CHUNK_MAX_BYTES / 8);
        let count = count.filter(|_| (CHUNK_HEADER_BYTES as u64..=CHUNK_MAX_BYTES).contains(&end));
        let count = count.ok_or_else(|| wrong(ChunkError::Header))?;
        let bytes = read_exactly(storage, &table.file, end, 4 * count)?;
        let positions: Vec<u32> = bytes.as_chunks().0.iter().map(|position| u32::from_le_bytes(*position)).collect();
        let ascends = positions.windows(2).all(|pair| pair[0] < pair[1]);
        let within = positions.first().is_some_and(|first| *first as usize >= CHUNK_HEADER_BYTES)
            && positions.last().is_some_and(|last| u64::from(*last) < end);
        if !ascends || !within {
            return Err(wrong(ChunkError::Table));
        }
        (table.positions, table.end, table.ended) = (positions, end, true);
        Ok(table)
    }

    /// Takes what an open chunk has more than before.
    fn extend<S: Storage>(&mut self, storage: &S) -> Result<(), ReadError> {
        let io = |source| ReadError::Io { file: self.file.to_string(), source };
        let len = storage.len(&self.file).map_err(io)?;
        let (mut block, mut base) = (Vec::new(), self.end);
        while !self.ended && self.end + CHUNK_HEADER_BYTES as u64 <= len {
            let at = (self.end - base) as usize;
            if block.len() < at + CHUNK_HEADER_BYTES {
                base = self.end;
                block = storage.read_at(&self.file, base, BLOCK_BYTES.min(len - base) as usize).map_err(io)?;
                if block.len() < CHUNK_HEADER_BYTES {
                    break;
                }
                continue;
            }
            let header = &block[at..at + CHUNK_HEADER_BYTES];
            // A file that grew, but whose last blocks are not written yet.
            if header.iter().all(|byte| *byte == 0) {
                break;
            }
            let wrong = |source| ReadError::Chunk { file: Arc::clone(&self.file), offset: self.end, source };
            let Some((size, flags)) = frame(header).map_err(|error| wrong(error.into()))? else { break };
            if self.end + size as u64 > len {
                break;
            }
            let position = u32::try_from(self.end).map_err(|_| wrong(ChunkError::TooLarge))?;
            self.positions.push(position);
            self.end += size as u64;
            self.ended = flags != 0;
        }
        Ok(())
    }
}

/// What a reader meets who looks while a file gets another name.
fn is_of_renaming(error: &ReadError) -> bool {
    match error {
        ReadError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
        ReadError::Missing { .. } | ReadError::Overlap { .. } | ReadError::OpenInside { .. } => true,
        _ => false,
    }
}

/// What a signature transaction says; `None` for any other.
fn signed(transaction: &Transaction) -> Result<Option<SignatureInfo>, ReceiptError> {
    SignatureInfo::read(transaction).map_err(|_| ReceiptError::Signature)
}

fn read_exactly<S: Storage>(storage: &S, file: &Arc<str>, offset: u64, len: usize) -> Result<Vec<u8>, ReadError> {
    let bytes = storage.read_at(file, offset, len).map_err(|source| ReadError::Io { file: file.to_string(), source })?;
    if bytes.len() == len {
        return Ok(bytes);
    }
    Err(ReadError::Chunk { file: Arc::clone(file), offset, source: ChunkError::Cut })
}
