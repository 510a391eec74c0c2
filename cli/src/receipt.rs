//! `glassbox receipt`: what a caller keeps, and how it is checked.
//!
//! A saved receipt is CCF's receipt in JSON with four members more: the transaction, the service's certificate, the record of
//! the call, and the same receipt in COSE. The Python package `ccf` takes the file as it is.
//!
//! A call of vats may settle later than in its own transaction, or together with others. Then the receipt is that of the transaction
//! in which it did, whose record has the digest of the call's input beside its result; `call` is that input.

use crate::Failed;
use crate::client::CallError;
use ledger::{Certificate, SavedReceipt, TxId};
use machine::{Caller, Entry, Input, vats};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Check the receipts of calls.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Check a receipt, without the backend and its ledger.
    ///
    /// Exit code 0: it holds. 1: it does not. 2: it cannot be read.
    Verify {
        /// The file.
        file: PathBuf,
        /// The service that it must be of: its certificate, PEM.
        #[arg(long, value_name = "PEM")]
        service_cert: Option<PathBuf>,
        /// Print one JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Write the receipt as a COSE message.
    Cose {
        /// The file.
        file: PathBuf,
        /// Where to.
        out: PathBuf,
    },
}

pub fn run(args: Args) -> Result<(), Failed> {
    match args.command {
        Command::Verify { file, service_cert, json } => verify(&file, service_cert.as_deref(), json),
        Command::Cose { file, out } => {
            let saved = read(&file)?;
            let cose = saved.receipt.to_cose().ok_or_else(|| Failed::unable("the receipt has no COSE form"))?;
            std::fs::write(&out, cose).map_err(|error| Failed::unable(format!("{}: {error}", out.display())))
        }
    }
}

/// Reads a saved receipt. This does not check it.
fn read(file: &Path) -> Result<SavedReceipt, Failed> {
    let unable = |why: String| Failed::unable(format!("{}: {why}", file.display()));
    let text = std::fs::read(file).map_err(|error| unable(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| unable("it is no text".into()))?;
    SavedReceipt::from_json(text.trim_end()).map_err(|error| unable(error.to_string()))
}

/// Reads a certificate, PEM.
pub fn read_certificate(path: &Path) -> Result<Certificate, Failed> {
    let unable = |why: String| Failed::unable(format!("{}: {why}", path.display()));
    let pem = std::fs::read_to_string(path).map_err(|error| unable(error.to_string()))?;
    Certificate::from_pem(&pem).map_err(|error| unable(error.to_string()))
}

/// What a receipt proves.
pub struct Proven {
    /// The input of the call.
    input: Input,
    /// What came of it; what came of each, if there were several to the letter and the millisecond.
    results: Vec<machine::Result>,
    /// The result is a summary of what vats did: no call's.
    is_summary: bool,
}

/// Reads what the record of a receipt says of its call. This does not check the receipt.
pub fn proven(saved: &SavedReceipt) -> Result<Proven, String> {
    let entry = Entry::decode(saved.record.as_bytes()).map_err(|error| error.to_string())?;
    let Some(text) = &saved.call else {
        return Ok(Proven { input: entry.input, results: vec![entry.result], is_summary: entry.is_summary });
    };
    let input = Input::decode(text.as_bytes()).map_err(|error| error.to_string())?;
    let mut results = vats::answers(&entry, text);
    if results.is_empty() {
        return Err("its record says nothing of its call".into());
    }
    results.dedup();
    Ok(Proven { input, results, is_summary: false })
}

fn verify(file: &Path, service_cert: Option<&Path>, json: bool) -> Result<(), Failed> {
    let pinned = service_cert.map(read_certificate).transpose()?;
    let saved = read(file)?;
    let checked = saved.verify(pinned.as_ref()).map_err(|error| error.to_string());
    let (txid, proven) = match checked.and_then(|txid| Ok((txid, proven(&saved)?))) {
        Ok(found) => found,
        Err(why) if json => {
            println!("{}", serde_json::json!({ "verified": false, "error": why }));
            return Err(Failed::new(""));
        }
        Err(why) => return Err(Failed::new(format!("the receipt does not hold: {why}"))),
    };
    let service = pinned.or(saved.service_certificate.clone());
    let service = service.map(|certificate| certificate.id().to_owned()).unwrap_or_default();
    if json {
        let record = saved.record.rsplit_once('\n').unwrap_or_default();
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
        let input = saved.call.as_deref().unwrap_or(record.0);
        let mut found = serde_json::json!({
            "verified": true, "transaction": txid.to_string(), "service": service, "pinned": service_cert.is_some(),
            "input": value(input),
        });
        if saved.call.is_none() {
            found["result"] = value(record.1);
        } else {
            let encoded = |result| value(&String::from_utf8_lossy(&machine::outcome::encode(result)));
            found["result"] = proven.results.first().map(encoded).unwrap_or_default();
            if proven.results.len() > 1 {
                found["results"] = proven.results.iter().map(encoded).collect();
            }
        }
        println!("{found}");
        return Ok(());
    }
    let call = match &proven.input {
        Input::Call(call) => {
            let args = call.args.strip_prefix('[').and_then(|args| args.strip_suffix(']')).unwrap_or(&call.args);
            format!("{}({args})", call.method)
        }
        Input::Init { .. } => "init()".into(),
        Input::Vats { work, .. } => work.name().into(),
        Input::Deploy { code, .. } => format!("deployment of {}", code.name),
    };
    println!("Receipt verified.");
    println!("Transaction: {txid}");
    println!("Call:        {call}");
    if let Input::Call(call) = &proven.input {
        println!("Caller:      {}", call.caller.id().unwrap_or("anonymous".into()));
    }
    for result in &proven.results {
        let shown = match result {
            Ok(Some(json)) => json.clone(),
            Ok(None) => "undefined".into(),
            Err(failure) => format!("{}: {}", failure.name, failure.message),
        };
        println!("{} {shown}", if proven.is_summary { "Vats did:   " } else { "Result:     " });
    }
    println!("Service:     {service}{}", if service_cert.is_some() { "" } else { " (as the receipt says: nothing was pinned)" });
    Ok(())
}

/// Checks a receipt that came with a reply: that it holds, and is about this call and this result.
pub fn check_reply(
    saved: &str,
    service: &Certificate,
    method: &str,
    args: &str,
    key: Option<&str>,
    result: &Result<Option<String>, CallError>,
) -> Result<TxId, Failed> {
    let wrong = |why: String| Failed::new(format!("the receipt that came with the reply does not hold: {why}"));
    let receipt = SavedReceipt::from_json(saved).map_err(|error| wrong(error.to_string()))?;
    let txid = receipt.verify(Some(service)).map_err(|error| wrong(error.to_string()))?;
    let proven = proven(&receipt).map_err(wrong)?;
    let Input::Call(call) = &proven.input else { return Err(wrong("it is of no call".into())) };
    let caller = match &call.caller {
        Caller::Signed(_) => call.caller.id(),
        _ => None,
    };
    let is_it = |recorded: &machine::Result| match (recorded, result) {
        (Ok(ours), Ok(theirs)) => ours == theirs,
        (Err(ours), Err(theirs)) => ours.name == theirs.name && ours.message == theirs.message,
        _ => false,
    };
    let same = !proven.is_summary && proven.results.iter().any(is_it);
    if call.method != method || call.args != args || caller.as_deref() != key || !same {
        return Err(wrong("it is of another call, or of another result".into()));
    }
    Ok(txid)
}

/// Makes the folder that receipts are kept in.
pub fn make_folder(dir: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(dir).map_err(|error| Failed::unable(format!("{}: {error}", dir.display())))
}

/// Writes a receipt, whole or not at all.
pub fn write(file: &Path, saved: &str) -> Result<(), Failed> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut part = tempfile::NamedTempFile::new_in(dir)?;
        part.write_all(saved.as_bytes())?;
        part.write_all(b"\n")?;
        part.as_file().sync_all()?;
        part.persist(file)?;
        Ok(())
    };
    write().map_err(|error| Failed::unable(format!("{}: {error}", file.display())))
}

/// Keeps a receipt in a folder, under the name of its transaction; with the digest of the call, if several may have settled there.
pub fn keep(dir: &Path, txid: TxId, saved: &str) -> Result<(), Failed> {
    let call = SavedReceipt::from_json(saved).ok().and_then(|saved| saved.call);
    let digest = call.map(|call| format!("-{}", &ledger::hex::encode(&ledger::sha256(call.as_bytes()))[..16]));
    write(&dir.join(format!("{txid}{}.json", digest.unwrap_or_default())), saved)
}
