//! `glassbox key`: the ed25519 keys that sign a caller's calls.
//!
//! ```text
//! $GLASSBOX_CONFIG/keys, or the platform's configuration folder (~/.config/glassbox/keys)      mode 0700
//!   default.pem                                                                                mode 0600
//!     public key: <64 hex digits>
//!     -----BEGIN PRIVATE KEY-----             PKCS#8; ENCRYPTED PRIVATE KEY when there is a passphrase
//!     …
//! ```
//!
//! The first line says whose key it is without the passphrase. It is the explanatory text that RFC 7468 allows before a PEM
//! block: openssl reads the file as it is. A passphrase encrypts as PBES2 with scrypt and AES-256-CBC.
//!
//! Invariants: a key is never overwritten, and appears complete or not at all. What others can read is refused, as by ssh. The
//! first line is believed for what is shown only; whoever signs has compared it with the key.

use crate::Failed;
use pkcs8::der::Decode as _;
use pkcs8::pkcs5::{EncryptionScheme, pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The key that is meant when none is named.
pub const DEFAULT_NAME: &str = "default";
/// Longest name of a key.
const NAME_MAX_BYTES: usize = 64;
/// Longest file of a key.
const FILE_MAX_BYTES: u64 = 64 * 1024;
/// Takes the place of typing a passphrase.
const PASSPHRASE_VARIABLE: &str = "GLASSBOX_PASSPHRASE";
/// Takes the place of the platform's configuration folder.
const CONFIG_VARIABLE: &str = "GLASSBOX_CONFIG";
/// What stands before the public key in a file.
const HEADER: &str = "public key: ";
/// id-Ed25519 of RFC 8410.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// Everything of a PKCS#8 ed25519 key that stands before its seed.
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// scrypt's work: 2^14 × 8 × 128 bytes are 16 MiB, the most that openssl takes by itself, five times over.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 5;
/// The most memory that a file may demand of scrypt: 1 GiB.
const SCRYPT_MAX_BYTES: u64 = 1 << 30;
/// The most often that a file may demand it.
const SCRYPT_MAX_P: u16 = 64;

/// Keep the keys that sign your calls.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a key.
    New {
        /// Its name: letters, digits, '.', '_' and '-'.
        #[arg(default_value = DEFAULT_NAME)]
        name: String,
        /// Encrypt it with a passphrase: asked for, or taken from GLASSBOX_PASSPHRASE.
        #[arg(long)]
        passphrase: bool,
    },
    /// Show the public half of a key.
    Show {
        /// Its name, or its file.
        #[arg(default_value = DEFAULT_NAME)]
        name: String,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// List your keys.
    List {
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
    },
}

/// A caller's key, ready to sign.
pub struct CallerKey(ledger::CallerKey);

impl CallerKey {
    /// The key that a directory keeps as a seed: 64 hex digits and a line feed.
    pub fn from_seed_file(file: &Path) -> Result<CallerKey, Failed> {
        let unable = |why: &dyn std::fmt::Display| Failed::unable(format!("{}: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| unable(&error))?;
        let seed = ledger::hex::decode(text.trim_end()).ok_or_else(|| unable(&"it holds no key"))?;
        Ok(CallerKey(ledger::CallerKey::from_seed(seed)))
    }

    fn from_seed(seed: &[u8; 32]) -> CallerKey {
        CallerKey(ledger::CallerKey::from_seed(*seed))
    }

    /// Who calls.
    pub fn public(&self) -> [u8; 32] {
        self.0.public()
    }

    /// Who calls, as a backend sees it: 64 hex digits.
    pub fn public_hex(&self) -> String {
        ledger::hex::encode(&self.public())
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

/// A key that cannot be made, found, read or used.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error(
        "{0:?} is no name of a key: 1 to {NAME_MAX_BYTES} letters, digits, '.', '_' or '-', no '.' first, no .pem at the end"
    )]
    Name(String),
    #[error("there is a key {name} already: {}", file.display())]
    Exists { name: String, file: PathBuf },
    #[error("there is no key {0}; make it: glassbox key new {0}")]
    Missing(String),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: not a file", .0.display())]
    NotAFile(PathBuf),
    #[error("{}: others can read this private key (mode {mode:04o}); first: chmod 600 {}", file.display(), file.display())]
    Unprotected { file: PathBuf, mode: u32 },
    #[error("{}: {why}", file.display())]
    Malformed { file: PathBuf, why: &'static str },
    #[error("{}: not an ed25519 key", .0.display())]
    Algorithm(PathBuf),
    #[error("{}: the first line names another key than the one below it", .0.display())]
    Mislabelled(PathBuf),
    #[error("{}: encrypted in a way that is not supported: {why}", file.display())]
    Encryption { file: PathBuf, why: String },
    #[error("{}: wrong passphrase", .0.display())]
    WrongPassphrase(PathBuf),
    #[error("the passphrase cannot be asked for ({0}); set {PASSPHRASE_VARIABLE}")]
    NoTerminal(io::Error),
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    #[error("the passphrases differ")]
    PassphrasesDiffer,
    #[error("{PASSPHRASE_VARIABLE} is not UTF-8")]
    PassphraseText,
    #[error("no home folder: set {CONFIG_VARIABLE}")]
    NoHome,
    #[error("the system gives no randomness")]
    NoRandomness,
}

impl From<KeyError> for Failed {
    fn from(error: KeyError) -> Failed {
        Failed::unable(error)
    }
}

/// Whether there is a key of this name.
pub fn exists(name: &str) -> bool {
    folder().is_ok_and(|folder| folder.join(format!("{name}.pem")).is_file())
}

/// Reads a key: by its name, or by its file when that has a `/` or ends in `.pem`. Asks for the passphrase if it needs one.
pub fn load(name: &str) -> Result<CallerKey, Failed> {
    Ok(Stored::read(name)?.unlock()?)
}

pub fn run(args: Args) -> Result<(), Failed> {
    match args.command {
        Command::New { name, passphrase } => print(&[create(&name, passphrase)?], false),
        Command::Show { name, json } => print(&[Stored::read(&name)?.describe()?], json),
        Command::List { json } => list(json),
    }
}

/// What is known of a key without its secret.
#[derive(serde::Serialize)]
struct Description {
    name: String,
    public: String,
    file: String,
    encrypted: bool,
}

fn print(keys: &[Description], json: bool) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    for key in keys {
        let Description { name, public, file, encrypted } = key;
        let text = if json {
            serde_json::to_string(key).expect("strings can be written")
        } else {
            let encrypted = if *encrypted { "yes" } else { "no" };
            format!("Name:       {name}\nPublic key: {public}\nFile:       {file}\nEncrypted:  {encrypted}")
        };
        writeln!(out, "{text}").map_err(|error| Failed::new(format!("stdout: {error}")))?;
    }
    Ok(())
}

/// A line per key. A file that is no key has its reason on stderr, and does not hide the others.
fn list(json: bool) -> Result<(), Failed> {
    let mut keys = Vec::new();
    for name in names(&folder()?)? {
        // A key that openssl has encrypted does not say whose it is: nobody types passphrases for a list.
        match Stored::read(&name).and_then(|stored| stored.public().map(|public| stored.described(public))) {
            Ok(key) => keys.push(key),
            Err(error) => eprintln!("WARNING: {error}"),
        }
    }
    if json {
        return print(&keys, true);
    }
    let width = keys.iter().map(|key| key.name.len()).max().unwrap_or(0);
    let mut out = io::stdout().lock();
    for Description { name, public, encrypted, .. } in keys {
        let public = if public.is_empty() { "(encrypted; glassbox key show asks for the passphrase)" } else { &public };
        let encrypted = if encrypted && !public.starts_with('(') { "  encrypted" } else { "" };
        writeln!(out, "{name:width$}  {public}{encrypted}").map_err(|error| Failed::new(format!("stdout: {error}")))?;
    }
    Ok(())
}

/// The names of all files that could be keys, sorted.
fn names(folder: &Path) -> Result<Vec<String>, KeyError> {
    let io = |source| KeyError::Io { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.map_err(io)?.file_name();
        names.extend(file.to_str().and_then(|file| file.strip_suffix(".pem")).filter(|name| is_name(name)).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// The folder of the keys.
fn folder() -> Result<PathBuf, KeyError> {
    use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
    if let Some(config) = std::env::var_os(CONFIG_VARIABLE).filter(|config| !config.is_empty()) {
        return std::path::absolute(Path::new(&config).join("keys"))
            .map_err(|source| KeyError::Io { path: config.into(), source });
    }
    let base = choose_native_strategy().map_err(|_| KeyError::NoHome)?;
    // Apple's "Application Support" is for data and configuration alike.
    let config = if cfg!(target_os = "macos") { base.data_dir() } else { base.config_dir() };
    Ok(config.join("glassbox").join("keys"))
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=NAME_MAX_BYTES).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with('.') && !name.ends_with(".pem")
}

/// Makes a key and writes it.
fn create(name: &str, encrypted: bool) -> Result<Description, KeyError> {
    if !is_name(name) {
        return Err(KeyError::Name(name.to_owned()));
    }
    let folder = folder()?;
    let file = folder.join(format!("{name}.pem"));
    let exists = || KeyError::Exists { name: name.to_owned(), file: file.clone() };
    // Before anybody types a passphrase. What counts is that the file is not replaced, below.
    if file.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let passphrase = encrypted.then(new_passphrase).transpose()?;
    let mut seed = Zeroizing::new([0; 32]);
    random(&mut *seed)?;
    let public = CallerKey::from_seed(&seed).public_hex();
    let mut pkcs8 = Zeroizing::new([0; 48]);
    pkcs8[..16].copy_from_slice(&PKCS8_PREFIX);
    pkcs8[16..].copy_from_slice(&*seed);
    let document = match &passphrase {
        None => SecretDocument::try_from(&pkcs8[..]).expect("it is DER"),
        Some(passphrase) => encrypt(&pkcs8[..], passphrase)?,
    };
    let label = if encrypted { "ENCRYPTED PRIVATE KEY" } else { "PRIVATE KEY" };
    let pem = document.to_pem(label, LineEnding::LF).expect("a key is short enough for PEM");

    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::Io { path, source }
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io(&folder))?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).map_err(io(&folder))?;
    let mut partial = tempfile::Builder::new().prefix(".new-").tempfile_in(&folder).map_err(io(&folder))?;
    let written = write!(partial, "{HEADER}{public}\n{}", *pem).and_then(|()| partial.as_file().sync_all());
    written.map_err(io(partial.path()))?;
    partial.persist_noclobber(&file).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(),
        _ => KeyError::Io { path: file.clone(), source: error.error },
    })?;
    std::fs::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(io(&folder))?;
    Ok(Description { name: name.to_owned(), public, file: file.display().to_string(), encrypted })
}

/// A key as its file has it.
struct Stored {
    name: String,
    file: PathBuf,
    /// What the first line says.
    header: Option<String>,
    document: SecretDocument,
    encrypted: bool,
}

impl Stored {
    fn read(name: &str) -> Result<Stored, KeyError> {
        let named = !name.contains('/') && !name.ends_with(".pem");
        if named && !is_name(name) {
            return Err(KeyError::Name(name.to_owned()));
        }
        let file = if named { folder()?.join(format!("{name}.pem")) } else { PathBuf::from(name) };
        let io = |source| KeyError::Io { path: file.clone(), source };
        let malformed = |why| KeyError::Malformed { file: file.clone(), why };
        // A pipe would make opening wait, so the kind of the file comes first. The mode is that of what was opened.
        let metadata = std::fs::metadata(&file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if named => KeyError::Missing(name.to_owned()),
            _ => io(error),
        })?;
        if !metadata.is_file() {
            return Err(KeyError::NotAFile(file));
        }
        let opened = std::fs::File::open(&file).map_err(io)?;
        let mode = opened.metadata().map_err(io)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Unprotected { file, mode });
        }
        let mut bytes = Zeroizing::new(Vec::new());
        opened.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.is_empty() {
            return Err(malformed("the file is empty"));
        }
        let text = std::str::from_utf8(&bytes).ok().filter(|_| bytes.len() as u64 <= FILE_MAX_BYTES);
        let text = text.ok_or(malformed("not the PEM text of a private key"))?;
        let header = text.lines().next().and_then(|line| line.strip_prefix(HEADER)).map(str::to_owned);
        let is_public_key =
            |header: &String| header.len() == 64 && header.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        if header.as_ref().is_some_and(|header| !is_public_key(header)) {
            return Err(malformed("the first line is not a public key of 64 hex digits"));
        }
        let (label, document) =
            SecretDocument::from_pem(text).map_err(|_| malformed("not the PEM text of a PKCS#8 private key"))?;
        let encrypted = match label {
            "PRIVATE KEY" => false,
            "ENCRYPTED PRIVATE KEY" => true,
            "OPENSSH PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => {
                return Err(malformed("not PKCS#8: a key of another program"));
            }
            _ => return Err(malformed("PEM, but not a private key")),
        };
        let name = if named { name.to_owned() } else { file.file_stem().unwrap_or_default().to_string_lossy().into_owned() };
        Ok(Stored { name, file, header, document, encrypted })
    }

    /// The public key as far as it is known without a passphrase; empty when it is not.
    fn public(&self) -> Result<String, KeyError> {
        if self.encrypted { Ok(self.header.clone().unwrap_or_default()) } else { Ok(self.unlock()?.public_hex()) }
    }

    fn described(&self, public: String) -> Description {
        Description { name: self.name.clone(), public, file: self.file.display().to_string(), encrypted: self.encrypted }
    }

    fn describe(&self) -> Result<Description, KeyError> {
        let known = self.public()?;
        Ok(self.described(if known.is_empty() { self.unlock()?.public_hex() } else { known }))
    }

    /// The key itself. Asks for the passphrase if it needs one.
    fn unlock(&self) -> Result<CallerKey, KeyError> {
        let key = if self.encrypted {
            self.read_key(&decrypt(&self.document, &passphrase(&self.file)?, &self.file)?)?
        } else {
            self.read_key(&self.document)?
        };
        if self.header.as_ref().is_some_and(|header| *header != key.public_hex()) {
            return Err(KeyError::Mislabelled(self.file.clone()));
        }
        Ok(key)
    }

    fn read_key(&self, document: &SecretDocument) -> Result<CallerKey, KeyError> {
        let malformed = || KeyError::Malformed { file: self.file.clone(), why: "not a PKCS#8 private key" };
        let info = PrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|_| malformed())?;
        if info.algorithm.oid != ED25519 {
            return Err(KeyError::Algorithm(self.file.clone()));
        }
        // An octet string in an octet string.
        let seed = info.private_key.as_bytes().strip_prefix(&[4, 0x20]).and_then(|seed| seed.try_into().ok());
        Ok(CallerKey::from_seed(&Zeroizing::new(seed.ok_or_else(malformed)?)))
    }
}

fn random(bytes: &mut [u8]) -> Result<(), KeyError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| KeyError::NoRandomness)
}

fn encrypt(pkcs8: &[u8], passphrase: &str) -> Result<SecretDocument, KeyError> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    random(&mut salt)?;
    random(&mut iv)?;
    let scrypt = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).expect("parameters in range");
    let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(scrypt, &salt, iv).expect("a salt of 16 bytes is allowed");
    let info = PrivateKeyInfoRef::from_der(pkcs8).expect("it is PKCS#8");
    Ok(info.encrypt_with_params(parameters, passphrase).expect("a key can be encrypted"))
}

fn decrypt(document: &SecretDocument, passphrase: &str, file: &Path) -> Result<SecretDocument, KeyError> {
    let malformed = || KeyError::Malformed { file: file.to_owned(), why: "not an encrypted PKCS#8 private key" };
    let info = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|_| malformed())?;
    if let EncryptionScheme::Pbes2(pbes2::Parameters { kdf: pbes2::Kdf::Scrypt(scrypt), .. }) = &info.encryption_algorithm {
        let bytes = scrypt.cost_parameter.saturating_mul(u64::from(scrypt.block_size) * 128);
        let is_bearable = (1..=SCRYPT_MAX_BYTES).contains(&bytes) && (1..=SCRYPT_MAX_P).contains(&scrypt.parallelization);
        if !scrypt.cost_parameter.is_power_of_two() || !is_bearable {
            return Err(malformed());
        }
    }
    info.decrypt(passphrase).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            why @ (pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. } | pkcs8::pkcs5::Error::NoPbes1CryptSupport),
        ) => KeyError::Encryption { file: file.to_owned(), why: why.to_string() },
        // Padding or DER that make no sense.
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
            KeyError::WrongPassphrase(file.to_owned())
        }
        _ => malformed(),
    })
}

/// The passphrase that the environment has, if it has one.
fn given_passphrase() -> Result<Option<Zeroizing<String>>, KeyError> {
    match std::env::var(PASSPHRASE_VARIABLE) {
        Ok(passphrase) => Ok(Some(Zeroizing::new(passphrase))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(KeyError::PassphraseText),
    }
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, KeyError> {
    rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(KeyError::NoTerminal)
}

/// The passphrase of a key that there is.
fn passphrase(file: &Path) -> Result<Zeroizing<String>, KeyError> {
    match given_passphrase()? {
        Some(passphrase) => Ok(passphrase),
        None => ask(&format!("Passphrase of {}: ", file.display())),
    }
}

/// The passphrase of a key that is being made. Who types it, types it twice.
fn new_passphrase() -> Result<Zeroizing<String>, KeyError> {
    let (given, typed) = match given_passphrase()? {
        Some(given) => (given, false),
        None => (ask("Passphrase: ")?, true),
    };
    if given.is_empty() {
        return Err(KeyError::EmptyPassphrase);
    }
    if typed && *ask("The same again: ")? != *given {
        return Err(KeyError::PassphrasesDiffer);
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys() {
        let longest = "a".repeat(NAME_MAX_BYTES);
        for name in ["default", "a", "Bob.2-x_y", &longest] {
            assert!(is_name(name), "{name}");
        }
        let too_long = "a".repeat(NAME_MAX_BYTES + 1);
        for name in ["", ".", "..", ".hidden", "a/b", "a b", "größe", "key.pem", "a\n", &too_long] {
            assert!(!is_name(name), "{name}");
        }
    }

    /// RFC 8032, 7.1, test 2.
    #[test]
    fn signs_as_the_standard_says() {
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let key = CallerKey::from_seed(&ledger::hex::decode(seed).expect("hex"));
        assert_eq!(key.public_hex(), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        assert_eq!(key.sign(b"\x72")[..8], [0x92, 0xa0, 0x09, 0xa9, 0xf0, 0xd4, 0xca, 0xb8]);
    }
}
