//! A transaction as bytes. This is what is hashed, stored, sent and audited; everything else is derived from it.
//!
//! ```text
//!   0  u8   version = 1
//!   1  u8   flags: 0x01 = the chunk ends after this transaction
//!   2  u48  length of the rest
//!   8  16 B tag of AES-256-GCM
//!  24  12 B nonce: seqno u64 ┃ view u32
//!  36  u64  length of the public domain
//!  44  u8   entry type = 4 (write set with commit evidence and claims)      ┐
//!  45  i64  seqno                                                           │
//!  53  32 B claims digest, zeros when there is none                         │ public domain
//!  85  32 B SHA-256 of the commit evidence                                  │
//! 117  i64  0                                                               │
//! 125  …    public maps                                                     ┘
//!   …  …    private maps, encrypted                                           private domain
//! ```
//!
//! The leaf of the Merkle tree is `sha256(sha256(all of the above) ‖ commit evidence digest ‖ claims digest)`.
//!
//! Invariants: [`Transaction::parse`] accepts only what a sealer produces: the lengths add up, the seqno of the
//! nonce is the seqno of the public domain, reserved fields are zero, and the maps are as `write_set` demands.
//! The private maps are checked likewise when they are decrypted.

use crate::merkle::Hash;
use crate::secret::{LedgerSecret, NONCE_BYTES, TAG_BYTES, TagError, nonce_bytes, sha256};
use crate::txid::TxId;
use crate::write_set::{Domain, Input, WriteSet};

/// Length of version, flags and size.
pub const HEADER_BYTES: usize = 8;
/// What every transaction costs on disk beside its maps.
pub const OVERHEAD_BYTES: usize = PUBLIC_OFFSET + PUBLIC_HEADER_BYTES;
/// Largest transaction. Positions in a chunk are 32-bit, so it must stay well below 4 GiB.
pub const TRANSACTION_MAX_BYTES: usize = 1 << 30;
/// The flag of a transaction after which a new chunk begins.
pub const FLAG_END_OF_CHUNK: u8 = 0x01;

const VERSION: u8 = 1;
const ENTRY_TYPE: u8 = 4;
const TAG_OFFSET: usize = HEADER_BYTES;
const NONCE_OFFSET: usize = TAG_OFFSET + TAG_BYTES;
const PUBLIC_LEN_OFFSET: usize = NONCE_OFFSET + NONCE_BYTES;
const PUBLIC_OFFSET: usize = PUBLIC_LEN_OFFSET + 8;
const PUBLIC_HEADER_BYTES: usize = 1 + 8 + 32 + 32 + 8;
const _: () = assert!(OVERHEAD_BYTES == 125);

/// Bytes that are not a transaction, or a write set that cannot become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A length points beyond the end.
    #[error("a length points beyond the end of the transaction")]
    Truncated,
    /// The size in the header is not the number of bytes that follow it.
    #[error("the size in the header is not that of the transaction")]
    Size,
    /// Unknown version or flags.
    #[error("version or flags are not known")]
    Header,
    /// Not a write set with commit evidence and claims.
    #[error("the entry type is not known")]
    EntryType,
    /// View or seqno out of range, or two places disagree about it.
    #[error("view and seqno are out of range, or the nonce and the public domain disagree")]
    TxId,
    /// A field that must be zero is not.
    #[error("{0} is not zero")]
    Reserved(&'static str),
    /// The name of a map is too long, empty, not UTF-8, or in the wrong domain.
    #[error("the name of a map is not allowed here")]
    MapName,
    /// Not in strictly ascending order.
    #[error("{0} are not in strictly ascending order")]
    Order(&'static str),
    /// A key is both written and removed.
    #[error("a key is both written and removed")]
    WrittenAndRemoved,
    /// A map that neither writes nor removes.
    #[error("a map neither writes nor removes")]
    EmptyMap,
    /// More than [`TRANSACTION_MAX_BYTES`].
    #[error("the transaction is larger than {TRANSACTION_MAX_BYTES} bytes")]
    TooLarge,
    /// The private domain cannot be decrypted.
    #[error(transparent)]
    Tag(#[from] TagError),
}

/// A transaction: its bytes, and what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    raw: Vec<u8>,
    txid: TxId,
    public: WriteSet,
    public_end: usize,
}

/// What of a transaction goes into its leaf; with the commit evidence, enough for a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The transaction.
    pub txid: TxId,
    /// Its flags, which the commit evidence binds.
    pub flags: u8,
    /// SHA-256 of all its bytes.
    pub write_set_digest: Hash,
    /// SHA-256 of the commit evidence.
    pub commit_evidence_digest: Hash,
    /// What the application claims, zeros when it claims nothing.
    pub claims_digest: Hash,
}

impl Leaf {
    /// The leaf of the Merkle tree.
    pub fn digest(&self) -> Hash {
        leaf_digest(&self.write_set_digest, &self.commit_evidence_digest, &self.claims_digest)
    }
}

/// The leaf of the Merkle tree.
pub(crate) fn leaf_digest(write_set: &Hash, evidence: &Hash, claims: &Hash) -> Hash {
    let mut text = [0; 96];
    text[..32].copy_from_slice(write_set);
    text[32..64].copy_from_slice(evidence);
    text[64..].copy_from_slice(claims);
    sha256(&text)
}

impl Transaction {
    /// Reads a transaction.
    pub fn parse(raw: &[u8]) -> Result<Transaction, CodecError> {
        Transaction::from_raw(raw.to_vec())
    }

    /// Reads a transaction and keeps the bytes.
    pub fn from_raw(raw: Vec<u8>) -> Result<Transaction, CodecError> {
        let (size, _) = frame(&raw)?.ok_or(CodecError::Truncated)?;
        if size != raw.len() {
            return Err(CodecError::Size);
        }
        let txid = peek_txid(&raw).ok_or(CodecError::Truncated)??;
        let mut rest = Input(&raw[PUBLIC_LEN_OFFSET..]);
        let public_len = usize::try_from(rest.u64()?).map_err(|_| CodecError::Truncated)?;
        let mut public = Input(rest.take(public_len)?);
        if public.array::<1>()? != [ENTRY_TYPE] {
            return Err(CodecError::EntryType);
        }
        if public.u64()? != txid.seqno {
            return Err(CodecError::TxId);
        }
        public.take(64)?; // claims digest, commit evidence digest
        if public.u64()? != 0 {
            return Err(CodecError::Reserved("the conflict version"));
        }
        let public = WriteSet::decode(Domain::Public, public)?;
        Ok(Transaction { txid, public, public_end: PUBLIC_OFFSET + public_len, raw })
    }

    /// Its name.
    pub fn txid(&self) -> TxId {
        self.txid
    }

    /// Its flags.
    pub fn flags(&self) -> u8 {
        self.raw[1]
    }

    /// True when a new chunk begins after it.
    pub fn ends_chunk(&self) -> bool {
        self.flags() & FLAG_END_OF_CHUNK != 0
    }

    /// What it does to public maps.
    pub fn public(&self) -> &WriteSet {
        &self.public
    }

    /// The private maps, encrypted; empty when there are none.
    pub fn private(&self) -> &[u8] {
        &self.raw[self.public_end..]
    }

    /// All its bytes.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// All its bytes.
    pub fn into_raw(self) -> Vec<u8> {
        self.raw
    }

    /// What the application claims, zeros when it claims nothing.
    pub fn claims_digest(&self) -> Hash {
        self.hash_at(PUBLIC_OFFSET + 9)
    }

    /// SHA-256 of the commit evidence.
    pub fn commit_evidence_digest(&self) -> Hash {
        self.hash_at(PUBLIC_OFFSET + 41)
    }

    /// SHA-256 of all its bytes.
    pub fn write_set_digest(&self) -> Hash {
        sha256(&self.raw)
    }

    /// What goes into its leaf.
    pub fn leaf(&self) -> Leaf {
        Leaf {
            txid: self.txid,
            flags: self.flags(),
            write_set_digest: self.write_set_digest(),
            commit_evidence_digest: self.commit_evidence_digest(),
            claims_digest: self.claims_digest(),
        }
    }

    /// Checks that the secret's owner sealed exactly these bytes, and returns what they do to private maps.
    pub fn decrypt(&self, secret: &LedgerSecret) -> Result<WriteSet, CodecError> {
        let text = open(&self.raw, self.txid, self.public_end, secret)?;
        if self.commit_evidence_digest() != secret.commit_evidence_digest(self.txid, self.flags()) {
            return Err(TagError.into());
        }
        WriteSet::decode(Domain::Private, Input(&text))
    }

    fn hash_at(&self, offset: usize) -> Hash {
        self.raw[offset..offset + 32].try_into().expect("the public domain holds both digests")
    }
}

/// Encodes and seals a write set. Returns the bytes and what goes into the leaf.
pub(crate) fn encode(
    txid: TxId,
    flags: u8,
    writes: &WriteSet,
    claims: Hash,
    secret: &LedgerSecret,
) -> Result<(Vec<u8>, Leaf), CodecError> {
    let public_len = PUBLIC_HEADER_BYTES + writes.encoded_len(Domain::Public);
    let len = PUBLIC_OFFSET + public_len + writes.encoded_len(Domain::Private);
    if len > TRANSACTION_MAX_BYTES {
        return Err(CodecError::TooLarge);
    }
    let evidence = secret.commit_evidence_digest(txid, flags);
    let mut raw = Vec::with_capacity(len);
    raw.extend_from_slice(&(u64::from(VERSION) | u64::from(flags) << 8 | ((len - HEADER_BYTES) as u64) << 16).to_le_bytes());
    raw.extend_from_slice(&[0; TAG_BYTES]);
    raw.extend_from_slice(&nonce_bytes(txid));
    raw.extend_from_slice(&(public_len as u64).to_le_bytes());
    raw.push(ENTRY_TYPE);
    raw.extend_from_slice(&txid.seqno.to_le_bytes());
    raw.extend_from_slice(&claims);
    raw.extend_from_slice(&evidence);
    raw.extend_from_slice(&[0; 8]);
    writes.encode(Domain::Public, &mut raw)?;
    writes.encode(Domain::Private, &mut raw)?;
    debug_assert_eq!(raw.len(), len);
    let (head, private) = raw.split_at_mut(PUBLIC_OFFSET + public_len);
    let tag = secret.seal(txid, &head[PUBLIC_OFFSET..], private);
    raw[TAG_OFFSET..NONCE_OFFSET].copy_from_slice(&tag);
    let write_set_digest = sha256(&raw);
    let leaf = Leaf { txid, flags, write_set_digest, commit_evidence_digest: evidence, claims_digest: claims };
    Ok((raw, leaf))
}

/// Length and flags of the transaction at the beginning of `bytes`, of which only the header is looked at. `None` when
/// not even the header is there.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<(usize, u8)>, CodecError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let (version, flags) = (header[0], header[1]);
    if version != VERSION || flags & !FLAG_END_OF_CHUNK != 0 {
        return Err(CodecError::Header);
    }
    let size = HEADER_BYTES as u64 + (u64::from_le_bytes(*header) >> 16);
    if size > TRANSACTION_MAX_BYTES as u64 {
        return Err(CodecError::TooLarge);
    }
    Ok(Some((size as usize, flags)))
}

/// The name of the transaction at the beginning of `bytes`, from its nonce. `None` when the nonce is not all there.
pub(crate) fn peek_txid(bytes: &[u8]) -> Option<Result<TxId, CodecError>> {
    let nonce = bytes.get(NONCE_OFFSET..PUBLIC_LEN_OFFSET)?;
    let seqno = u64::from_le_bytes(nonce[..8].try_into().expect("8 of 12 bytes"));
    let view = u32::from_le_bytes(nonce[8..].try_into().expect("4 of 12 bytes"));
    Some(TxId::new(u64::from(view), seqno).map_err(|_| CodecError::TxId))
}

fn open(raw: &[u8], txid: TxId, public_end: usize, secret: &LedgerSecret) -> Result<Vec<u8>, TagError> {
    let tag = raw[TAG_OFFSET..NONCE_OFFSET].try_into().expect("the tag has 16 bytes");
    secret.open(txid, &raw[PUBLIC_OFFSET..public_end], &raw[public_end..], tag)
}

/// Length of a complete, sealed transaction at the beginning of `bytes`, whatever the size in its header says.
///
/// This tells a torn write from a changed header. A torn write leaves a prefix of a transaction, which authenticates at
/// no length; a transaction whose size was changed still authenticates at its real length. That length is one of three:
/// there are no private maps, or it is all of `bytes`, or the next transaction follows.
pub(crate) fn sealed_len(bytes: &[u8], secret: &LedgerSecret) -> Option<usize> {
    let txid = peek_txid(bytes)?.ok()?;
    let public_len = u64::from_le_bytes(*bytes.get(PUBLIC_LEN_OFFSET..)?.first_chunk()?);
    let public_end = usize::try_from(public_len).ok()?.checked_add(PUBLIC_OFFSET)?;
    if public_end > bytes.len() {
        return None;
    }
    let next_seqno = (txid.seqno + 1).to_le_bytes();
    let next = (public_end..bytes.len()).filter(|&at| {
        let nonce = bytes.get(at + NONCE_OFFSET..at + NONCE_OFFSET + 8);
        nonce == Some(&next_seqno[..]) && matches!(frame(&bytes[at..]), Ok(Some(_)))
    });
    [public_end, bytes.len()].into_iter().chain(next).find(|&end| open(&bytes[..end], txid, public_end, secret).is_ok())
}
