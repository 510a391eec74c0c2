//! What the ledger implies without running anything: the state, and what follows from each transaction as it stands.
//!
//! Executing a transaction and *folding* it (taking its writes as they are recorded) leave the same records. An audit folds to
//! reach a checkpoint quickly, and executes what lies between checkpoints.
//!
//! Invariant: everything here is a function of the transactions alone; the heap is not here, only its pages as of the last
//! checkpoint.

use crate::auth::{AuthError, Caller, Head, STALE_AFTER_S, Signed};
use crate::checkpoint::Checkpoint;
use crate::input::{Call, Input};
use crate::machine::Entry;
use crate::script::archive::changes;
use crate::service::{BUNDLE, VATS};
use crate::state::{self, Snapshot, State};
use crate::{Service, bundle, maps, vats};
use ledger::chance::CHANCE_BYTES;
use ledger::{Hash, LedgerSecret, MapWrites, SignatureInfo, Transaction, TxId, WriteSet};
use std::ops::Bound;
use std::sync::Arc;

/// The state and its companions. See the [module](self).
pub struct Records {
    state: State,
    service: Option<Arc<Service>>,
    entries: u64,
    version: u64,
    time_ms: u64,
    head: Option<Head>,
    chance: Option<[u8; CHANCE_BYTES]>,
    checkpoint: u64,
    saved_entries: u64,
    /// The last view, for bundles.
    view: u64,
    /// Opens private tables.
    secret: Option<Arc<LedgerSecret>>,
}

/// Records as they were at one transaction, for readers on other threads.
pub struct View {
    snapshot: Snapshot,
    service: Option<Arc<Service>>,
    entries: u64,
    version: u64,
    time_ms: u64,
    head: Option<Head>,
    view: u64,
}

impl View {
    /// The view of that transaction, for bundles.
    pub fn last_view(&self) -> u64 {
        self.view
    }

    /// The last transaction that it holds.
    pub fn seqno(&self) -> u64 {
        self.snapshot.applied()
    }
}

impl Records {
    /// The records as they are now, for other threads.
    pub fn view(&mut self) -> View {
        let Records { service, entries, version, time_ms, head, view, .. } = self;
        let (service, entries, version, time_ms, head, view) = (service.clone(), *entries, *version, *time_ms, *head, *view);
        View { snapshot: self.state.snapshot(), service, entries, version, time_ms, head, view }
    }

    /// Records that begin as a view.
    pub(crate) fn of(view: &View) -> Records {
        let View { snapshot, service, entries, version, time_ms, head, view } = view;
        Records {
            service: service.clone(),
            entries: *entries,
            version: *version,
            time_ms: *time_ms,
            head: *head,
            view: *view,
            ..Records::new(State::fork(snapshot))
        }
    }

    /// Before the first transaction. The state must be empty.
    pub fn new(state: State) -> Records {
        Records {
            state,
            service: None,
            entries: 0,
            version: 0,
            time_ms: 0,
            head: None,
            chance: None,
            checkpoint: 0,
            saved_entries: 0,
            view: 0,
            secret: None,
        }
    }

    /// As they were right after a checkpoint: `state` has applied it and nothing more.
    pub fn resume(state: State, checkpoint: &Checkpoint) -> Result<Records, crate::Fault> {
        let row = state.get(maps::APP, maps::SERVICE_KEY)?;
        let service = row.and_then(|row| Service::decode(row.value()).ok());
        let service = service.ok_or_else(|| state::StateError::Unusable("it does not say what it is a state of".into()))?;
        let checkpoint_seqno = state.applied();
        let last_view = state.keys(maps::VIEWS, Bound::Unbounded, Bound::Unbounded)?.last().transpose()?;
        let view = last_view.and_then(|view| view.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
        Ok(Records {
            state,
            service: Some(Arc::new(service)),
            entries: checkpoint.entries,
            version: checkpoint.version,
            time_ms: checkpoint.time_ms,
            head: checkpoint.head(),
            chance: None,
            checkpoint: checkpoint_seqno,
            saved_entries: checkpoint.entries,
            view,
            secret: None,
        })
    }

    /// As a store has kept them, which was flushed right after a checkpoint. `None` if it is empty or was flushed elsewhere.
    pub fn reopen(state: State) -> Result<Option<(Records, Checkpoint)>, crate::Fault> {
        let Some(row) = state.get(maps::APP, maps::CHECKPOINT_KEY)? else { return Ok(None) };
        match Checkpoint::decode(row.value()) {
            Ok(checkpoint) if row.seqno() == state.applied() => Ok(Some((Records::resume(state, &checkpoint)?, checkpoint))),
            _ => Ok(None),
        }
    }

    /// From now on private tables are read, too.
    pub fn open_with(&mut self, secret: Arc<LedgerSecret>) {
        self.secret = Some(secret);
    }

    /// What opens private tables, if it is there.
    pub fn secret(&self) -> Option<&Arc<LedgerSecret>> {
        self.secret.as_ref()
    }

    /// Whether this is a bundle's.
    pub fn is_bundle(&self) -> bool {
        self.service().is_some_and(|service| service.kind == BUNDLE)
    }

    /// Whether these are vats.
    pub fn is_vats(&self) -> bool {
        self.service().is_some_and(|service| service.kind == VATS)
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state, to flush it or to take a snapshot.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// What the ledger is a ledger of.
    pub fn service(&self) -> Option<&Service> {
        self.service.as_deref()
    }

    /// How many entries the call log has.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Changes of the files archive so far.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The time of the last entry, in milliseconds since 1970. It never goes back.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The last signature transaction.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The chance key's signature that the calls after the last signature or checkpoint draw from, once one of them has.
    pub fn chance(&self) -> Option<&[u8; CHANCE_BYTES]> {
        self.chance.as_ref()
    }

    /// Entries of the call log after the last checkpoint.
    pub fn entries_since_checkpoint(&self) -> u64 {
        self.entries - self.saved_entries
    }

    /// The seqno of the last checkpoint, 0 before the first.
    pub fn checkpoint(&self) -> u64 {
        self.checkpoint
    }

    /// Takes a transaction as it stands in the ledger.
    pub fn fold(&mut self, transaction: &Transaction) -> Result<(), crate::Fault> {
        let seqno = transaction.txid().seqno;
        if let Ok(Some(signature)) = SignatureInfo::read(transaction) {
            return self.sign(&Head::from(&signature));
        }
        let writes = transaction.public();
        let service = writes.get(maps::GLASSBOX, maps::SERVICE_KEY).and_then(|record| Service::decode(record).ok());
        if self.is_bundle() || service.is_some_and(|service| service.kind == BUNDLE) {
            return self.fold_bundle(transaction);
        }
        let needed = writes.get(maps::GLASSBOX, maps::CALL_KEY).is_some_and(follows_from_it);
        // A record that cannot be read is found by the replay of its stretch.
        let entry = if needed { Entry::read(writes).ok().flatten() } else { None };
        self.apply(seqno, writes, entry.as_ref())
    }

    /// Takes the writes of a transaction, and what it ran.
    pub(crate) fn apply(&mut self, seqno: u64, writes: &WriteSet, entry: Option<&Entry>) -> Result<(), crate::Fault> {
        let none = MapWrites::default();
        let files = writes.maps.get(maps::FILES).unwrap_or(&none);
        let pages = writes.maps.get(maps::HEAP).unwrap_or(&none);
        let own = |key| writes.get(maps::GLASSBOX, key);
        let changes = changes(files);
        let first = self.version + 1;
        let history: Vec<([u8; 8], Vec<u8>)> = (first..)
            .zip(&changes)
            .map(|(version, (path, written))| {
                (version.to_be_bytes(), [if *written { b"p".as_slice() } else { b"d" }, path].concat())
            })
            .collect();
        let nonce = entry.and_then(|entry| match &entry.input {
            Input::Call(Call { caller: Caller::Signed(signed), .. }) => Some((nonce_key(signed), signed.counter.to_be_bytes())),
            _ => None,
        });
        let code = entry.is_some_and(|entry| brings_code(&entry.input) && entry.result.is_ok());
        let code = own(maps::CALL_KEY).filter(|_| code);
        let service = own(maps::SERVICE_KEY);
        let checkpoint = own(maps::CHECKPOINT_KEY);

        let vats = writes.maps.iter().filter(|(name, _)| name.starts_with(vats::MAPS));
        let all = rows(maps::FILES, files)
            .chain(vats.flat_map(|(name, map)| rows(name, map)))
            .chain(rows(maps::HEAP, pages))
            .chain(history.iter().map(|(version, row)| (maps::HISTORY, version.as_slice(), Some(row.as_slice()))))
            .chain(nonce.iter().map(|(key, counter)| (maps::NONCES, key.as_slice(), Some(counter.as_slice()))))
            .chain(code.iter().map(|record| (maps::APP, maps::CODE_KEY, Some(*record))))
            .chain(checkpoint.iter().map(|record| (maps::APP, maps::CHECKPOINT_KEY, Some(*record))))
            .chain(service.iter().map(|record| (maps::APP, maps::SERVICE_KEY, Some(*record))));
        self.state.apply(seqno, all)?;

        self.version += changes.len() as u64;
        if own(maps::CALL_KEY).is_some() {
            self.entries += 1;
        }
        if let Some(entry) = entry {
            self.time_ms = self.time_ms.max(entry.input.time_ms());
        }
        if let Some(service) = service.and_then(|record| Service::decode(record).ok()) {
            self.service = Some(Arc::new(service));
        }
        if let Some(chance) = own(maps::CHANCE_KEY).and_then(|row| row.try_into().ok()) {
            self.chance = Some(chance);
        }
        if let Some(record) = own(maps::CHECKPOINT_KEY) {
            // What the record says counts for who goes on from here; the replay before it shows whether it is true.
            if let Ok(checkpoint) = Checkpoint::decode(record) {
                (self.entries, self.version, self.time_ms) = (checkpoint.entries, checkpoint.version, checkpoint.time_ms);
            }
            self.chance = None;
            self.checkpoint = seqno;
            self.saved_entries = self.entries;
        }
        Ok(())
    }

    /// All writes of a transaction: private ones, too, if the secret is there.
    pub fn writes(&self, transaction: &Transaction) -> Result<WriteSet, crate::Fault> {
        let mut writes = transaction.public().clone();
        if let (Some(secret), false) = (&self.secret, transaction.private().is_empty()) {
            let private = transaction.decrypt(secret).map_err(|error| crate::Fault::Checkpoint(error.to_string()))?;
            writes.maps.extend(private.maps);
        }
        Ok(writes)
    }

    fn fold_bundle(&mut self, transaction: &Transaction) -> Result<(), crate::Fault> {
        let writes = self.writes(transaction)?;
        let time_ms =
            bundle::record_of(&writes).and_then(|record| bundle::Request::decode(record).ok()).map(|request| request.time_ms);
        self.apply_bundle(transaction.txid(), &writes, time_ms)
    }

    /// Takes the writes of a bundle's transaction: all of its tables, and what is derived.
    pub(crate) fn apply_bundle(&mut self, txid: TxId, writes: &WriteSet, time_ms: Option<u64>) -> Result<(), crate::Fault> {
        let own = |key| writes.get(maps::GLASSBOX, key);
        let (service, checkpoint, image) = (own(maps::SERVICE_KEY), own(maps::CHECKPOINT_KEY), own(maps::IMAGE_KEY));
        let view = self.begins(txid);
        let all = writes
            .maps
            .iter()
            .filter(|(name, _)| !bundle::is_own(name))
            .flat_map(|(name, map)| rows(name, map))
            .chain(view.iter().map(|(view, first)| (maps::VIEWS, view.as_slice(), Some(first.as_slice()))))
            .chain(image.iter().map(|record| (maps::APP, maps::IMAGE_KEY, Some(*record))))
            .chain(checkpoint.iter().map(|record| (maps::APP, maps::CHECKPOINT_KEY, Some(*record))))
            .chain(service.iter().map(|record| (maps::APP, maps::SERVICE_KEY, Some(*record))));
        self.state.apply(txid.seqno, all)?;
        self.view = txid.view;
        self.entries += u64::from(bundle::record_of(writes).is_some());
        self.time_ms = self.time_ms.max(time_ms.unwrap_or_default());
        if let Some(service) = service.and_then(|record| Service::decode(record).ok()) {
            self.service = Some(Arc::new(service));
        }
        if let Some(record) = checkpoint {
            if let Ok(checkpoint) = Checkpoint::decode(record) {
                (self.entries, self.time_ms) = (checkpoint.entries, checkpoint.time_ms);
            }
            self.checkpoint = txid.seqno;
            self.saved_entries = self.entries;
        }
        Ok(())
    }

    /// Takes what a checkpoint says of requests that cannot be read here.
    pub(crate) fn believe(&mut self, checkpoint: &Checkpoint) {
        (self.entries, self.time_ms) = (checkpoint.entries, checkpoint.time_ms);
    }

    /// The row of a view that begins with this transaction.
    fn begins(&self, txid: TxId) -> Option<([u8; 8], [u8; 8])> {
        (txid.view != self.view).then(|| (txid.view.to_be_bytes(), txid.seqno.to_be_bytes()))
    }

    /// Takes a signature transaction.
    pub(crate) fn sign(&mut self, head: &Head) -> Result<(), crate::Fault> {
        let (seqno, row) = (head.txid.seqno.to_be_bytes(), head.encode());
        let write = (maps::SIGNATURES, seqno.as_slice(), Some(row.as_slice()));
        let view = self.begins(head.txid).filter(|_| self.is_bundle());
        let view = view.iter().map(|(view, first)| (maps::VIEWS, view.as_slice(), Some(first.as_slice())));
        self.state.apply(head.txid.seqno, std::iter::once(write).chain(view))?;
        self.view = head.txid.view;
        self.head = Some(*head);
        self.chance = None;
        Ok(())
    }

    /// Takes what a call drew that is not run here.
    pub(crate) fn know_chance(&mut self, chance: [u8; CHANCE_BYTES]) {
        self.chance = Some(chance);
    }

    /// The signature transaction of that name.
    pub fn signature(&self, seqno: u64) -> Result<Option<Head>, crate::Fault> {
        let row = self.state.get(maps::SIGNATURES, &seqno.to_be_bytes())?;
        Ok(row.and_then(|row| Head::decode(seqno, row.value())))
    }

    /// Whether a signed call may be run now: its head stands here, is not stale, and its nonce is new. Whether its signature
    /// is good depends on nothing but the root, which is returned: see [`Signed::covers`].
    pub fn admits(&self, signed: &Signed, time_ms: u64) -> Result<Result<Hash, AuthError>, crate::Fault> {
        let head = match self.signature(signed.head.seqno)? {
            Some(head) if head.txid == signed.head => head,
            _ => return Ok(Err(AuthError::Forked(signed.head))),
        };
        let after = signed.head.seqno.to_be_bytes();
        let newer = self.state.range(maps::SIGNATURES, Bound::Excluded(&after), Bound::Unbounded)?.next().transpose()?;
        let superseded_s = newer.and_then(|(_, row)| Head::decode(0, row.value())).map(|head| head.time_s);
        if superseded_s.is_some_and(|superseded_s| time_ms / 1000 > superseded_s.saturating_add(STALE_AFTER_S)) {
            return Ok(Err(AuthError::Stale(signed.head)));
        }
        let last = self.state.get(maps::NONCES, &nonce_key(signed))?;
        let last = last.and_then(|row| row.value().try_into().ok()).map_or(0, u64::from_be_bytes);
        if signed.counter <= last {
            return Ok(Err(AuthError::Replayed(signed.counter)));
        }
        Ok(Ok(head.root))
    }
}

fn rows<'a>(map: &'a str, writes: &'a MapWrites) -> impl Iterator<Item = (&'a str, &'a [u8], Option<&'a [u8]>)> + Clone {
    let put = writes.writes.iter().map(move |(key, value)| (map, key.as_slice(), Some(value.as_slice())));
    let removed = writes.removes.iter().map(move |key| (map, key.as_slice(), None));
    put.chain(removed)
}

/// Whether this says what runs from now on, if it succeeds.
fn brings_code(input: &Input) -> bool {
    matches!(input, Input::Deploy { .. } | Input::Vats { work: vats::Work::Install(_), .. })
}

/// The row of a session in [`maps::NONCES`].
fn nonce_key(signed: &Signed) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(&signed.key);
    key[32..].copy_from_slice(&signed.session);
    key
}

/// Whether the records need to know what a call's record says: a deployment, or a signed call.
fn follows_from_it(record: &[u8]) -> bool {
    const NONCE: &[u8] = b"\"nonce\":\"";
    record.starts_with(b"{\"deploy\"")
        || record.starts_with(b"{\"vats\":{\"install\"")
        || record.windows(NONCE.len()).any(|window| window == NONCE)
}
