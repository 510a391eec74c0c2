//! HTTP on the port of the WebSocket: a status page, the ledger and the archive for auditors, metrics.
//!
//! | path | answer |
//! |---|---|
//! | `/` | a status page; with `Upgrade: websocket`, the RPC |
//! | `/ledger` | JSON: what is served, the last and the last signed transaction, the chunk files with their sizes |
//! | `/ledger/FILE` | a chunk file; `?from=N` skips bytes |
//! | `/archive` | the rows of the files archive at one transaction, see [`archive`] |
//! | `/files/PATH` | a file; a folder as JSON |
//! | `/metrics`, `/healthz` | for operators |

use crate::commit::{Backend, View};
use crate::{limits, socket};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use machine::script::archive::Entry;
use machine::{Caller, maps};
use serde::{Deserialize, Serialize};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Bound;
use tokio::sync::mpsc;

/// The header that names the transaction which a view of the state belongs to.
pub const TRANSACTION_HEADER: &str = "x-glassbox-transaction";

/// What ends `/archive`: a length that no key has.
pub const ARCHIVE_END: u64 = u64::MAX;

/// What `/ledger` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The last durable transaction.
    pub last: String,
    /// The last signature.
    pub signed: String,
    /// The chunk files in their order.
    pub files: Vec<ChunkFile>,
}

/// A chunk file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkFile {
    /// Its name.
    pub name: String,
    /// Bytes of it that are durable.
    pub bytes: u64,
}

/// The routes, below a mount path (`/` or `/name`).
pub fn router(backend: Backend, mount: &str) -> Router {
    let routes = Router::new()
        .route("/", get(root))
        .route("/ledger", get(ledger))
        .route("/ledger/{file}", get(ledger_file))
        .route("/archive", get(archive))
        .route("/files", get(files_root))
        .route("/files/", get(files_root))
        .route("/files/{*path}", get(files))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .with_state(backend.clone());
    match mount.trim_matches('/') {
        "" => routes,
        mount => Router::new().route(&format!("/{mount}/"), get(root).with_state(backend)).nest(&format!("/{mount}"), routes),
    }
}

async fn root(State(backend): State<Backend>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    if !parts.headers.contains_key(header::UPGRADE) {
        return Html(status_page(&backend)).into_response();
    }
    let caller = match caller(&backend, &parts.uri, &parts.headers) {
        Ok(caller) => caller,
        Err(response) => return *response,
    };
    if backend.metrics().connections.load(std::sync::atomic::Ordering::Relaxed) >= limits::MAX_CONNECTIONS as u64 {
        return (StatusCode::SERVICE_UNAVAILABLE, "Too many connections\n").into_response();
    }
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade
            .read_buffer_size(4 << 10)
            .write_buffer_size(4 << 10)
            .max_write_buffer_size(usize::MAX)
            .max_message_size(limits::MAX_READ_BYTES)
            .max_frame_size(limits::MAX_READ_BYTES)
            .on_upgrade(move |socket| socket::serve(socket, backend, caller)),
        Err(rejection) => rejection.into_response(),
    }
}

/// Who connects. Only under `--debug` may a caller say so himself, by `?user=` or Basic credentials.
fn caller(backend: &Backend, uri: &Uri, headers: &HeaderMap) -> Result<Caller, Box<Response>> {
    if !backend.callers().debug {
        return Ok(Caller::Anonymous);
    }
    #[derive(Deserialize)]
    struct Params {
        user: Option<String>,
    }
    let bad = |text: &'static str| Box::new((StatusCode::BAD_REQUEST, text).into_response());
    let from_query = || Query::<Params>::try_from_uri(uri).ok().and_then(|Query(params)| params.user);
    let name = match headers.get(header::AUTHORIZATION) {
        None => from_query(),
        Some(value) => {
            let encoded = value
                .to_str()
                .ok()
                .and_then(|value| value.strip_prefix("Basic "))
                .ok_or_else(|| bad("Basic credentials expected\n"))?;
            let decoded = base64::prelude::BASE64_STANDARD.decode(encoded.trim()).ok();
            let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| bad("malformed credentials\n"))?;
            Some(text.split_once(':').map_or(text.clone(), |(user, _)| user.to_owned()))
        }
    };
    match name {
        Some(name) if name.len() > limits::MAX_NAME_BYTES => Err(bad("the user's name is too long\n")),
        Some(name) if machine::auth::looks_like_a_key(&name) => Err(bad("a key cannot be a name: sign the calls\n")),
        Some(name) if !name.is_empty() => Ok(Caller::Named(name)),
        _ => Ok(Caller::Anonymous),
    }
}

fn status_page(backend: &Backend) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let service = backend.service();
    let durable = backend.durable();
    let txid = |id: Option<ledger::TxId>| id.map_or("none".into(), |id| id.to_string());
    let methods: String =
        backend.exports().methods.iter().map(|method| format!("<li><code>{}</code></li>", escape(method))).collect();
    format!(
        "<!doctype html><meta charset=utf-8><title>{title}</title>\
         <style>body{{font:16px/1.5 system-ui;max-width:44em;margin:3em auto;padding:0 1em}}code{{font-size:90%}}\
         dt{{font-weight:600}}dd{{margin:0 0 .6em 0;overflow-wrap:anywhere}}</style>\
         <h1>{title}</h1><p>A Glassbox backend: anyone can run its ledger again and see whether the operator is honest.</p>\
         <dl><dt>Files</dt><dd><code>{files}</code></dd><dt>Call log</dt><dd><code>{log}</code></dd>\
         <dt>Last transaction</dt><dd>{last}</dd><dt>Signed up to</dt><dd>{signed}</dd></dl>\
         <h2>Methods</h2><ul>{methods}</ul>\
         <p><a href=ledger>ledger</a> · <a href=files/>files</a> · <a href=metrics>metrics</a></p>",
        title = escape(&service.title),
        files = service.files_url(),
        log = service.log_url(),
        last = txid(durable.last),
        signed = txid(durable.signed.map(|head| head.txid)),
    )
}

async fn ledger(State(backend): State<Backend>) -> Response {
    let durable = backend.durable();
    let dir = backend.ledger_dir().to_owned();
    let open = durable.open.clone();
    let listed = tokio::task::spawn_blocking(move || {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with("ledger_") {
                continue;
            }
            let bytes = match &open {
                Some((open, bytes)) if *open == name => *bytes,
                // A chunk that was begun after the look at what is durable.
                _ if !name.ends_with(".committed") => continue,
                _ => entry.metadata()?.len(),
            };
            files.push(ChunkFile { name, bytes });
        }
        std::io::Result::Ok(files)
    });
    let Ok(Ok(mut files)) = listed.await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the ledger cannot be read\n").into_response();
    };
    files.sort_by_key(|file| first_seqno(&file.name));
    let text = |id: Option<ledger::TxId>| id.map_or(String::new(), |id| id.to_string());
    let listing = Listing { last: text(durable.last), signed: text(durable.signed.map(|head| head.txid)), files };
    json(&listing)
}

fn first_seqno(name: &str) -> u64 {
    let digits = name.trim_start_matches("ledger_");
    digits.split(['-', '.']).next().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

fn json(value: &impl Serialize) -> Response {
    let body = serde_json::to_string(value).expect("plain data");
    ([(header::CONTENT_TYPE, "application/json")], body + "\n").into_response()
}

#[derive(Deserialize)]
struct From {
    #[serde(default)]
    from: u64,
}

/// Bytes that are read from a file at once.
const BLOCK_BYTES: usize = 256 << 10;

async fn ledger_file(State(backend): State<Backend>, Path(name): Path<String>, Query(From { from }): Query<From>) -> Response {
    let not_found = || (StatusCode::NOT_FOUND, "no such chunk\n").into_response();
    let well_formed =
        name.strip_prefix("ledger_").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)));
    if !well_formed {
        return not_found();
    }
    let mut path = backend.ledger_dir().join(&name);
    let end = match backend.durable().open {
        Some((open, bytes)) if open == name => bytes,
        _ if name.ends_with(".committed") => u64::MAX,
        _ => {
            // The chunk was completed since it was listed: its first bytes are those of the complete file.
            match completed(backend.ledger_dir(), &name) {
                Some(file) => {
                    path = file;
                    u64::MAX
                }
                None => return not_found(),
            }
        }
    };
    let opened = std::fs::File::open(path).and_then(|mut file| {
        let len = file.metadata()?.len().min(end);
        file.seek(SeekFrom::Start(from.min(len)))?;
        Ok((file, len.saturating_sub(from)))
    });
    let Ok((mut file, mut left)) = opened else { return not_found() };
    let length = left;
    let (send, receive) = mpsc::channel::<Result<Bytes, std::io::Error>>(2);
    tokio::task::spawn_blocking(move || {
        while left > 0 {
            let mut block = vec![0; BLOCK_BYTES.min(left as usize)];
            let read = file.read_exact(&mut block).map(|()| Bytes::from(block));
            left -= read.as_ref().map_or(left, |block| block.len() as u64);
            if send.blocking_send(read).is_err() {
                return;
            }
        }
    });
    (
        [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_LENGTH, length.to_string())],
        stream(receive),
    )
        .into_response()
}

/// The complete chunk that an open one has become.
fn completed(dir: &std::path::Path, open: &str) -> Option<std::path::PathBuf> {
    let prefix = format!("{open}-");
    let name = std::fs::read_dir(dir).ok()?.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))?;
    Some(name.path())
}

fn stream(mut receive: mpsc::Receiver<Result<Bytes, std::io::Error>>) -> Body {
    Body::from_stream(futures_util::stream::poll_fn(move |context| receive.poll_recv(context)))
}

async fn look(backend: &Backend) -> Result<View, Box<Response>> {
    backend
        .look()
        .await
        .ok_or_else(|| Box::new((StatusCode::SERVICE_UNAVAILABLE, "the backend is busy or stopping\n").into_response()))
}

/// The archive's rows at one transaction, which the header names: for each, in the order of the keys, a u64 LE length and
/// the key, a u64 LE length and the value; then [`ARCHIVE_END`], so that a cut is noticed.
async fn archive(State(backend): State<Backend>) -> Response {
    let view = match look(&backend).await {
        Ok(view) => view,
        Err(response) => return *response,
    };
    let headers =
        [(header::CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()), (TRANSACTION_HEADER, view.txid.to_string())];
    let (send, receive) = mpsc::channel::<Result<Bytes, std::io::Error>>(2);
    tokio::task::spawn_blocking(move || {
        let mut block = Vec::new();
        let rows = match view.snapshot.range(maps::FILES, Bound::Unbounded, Bound::Unbounded) {
            Ok(rows) => rows,
            Err(error) => {
                let _ = send.blocking_send(Err(std::io::Error::other(error.to_string())));
                return;
            }
        };
        for row in rows {
            let (key, entry) = match row {
                Ok(row) => row,
                Err(error) => {
                    let _ = send.blocking_send(Err(std::io::Error::other(error.to_string())));
                    return;
                }
            };
            for field in [&key[..], entry.value()] {
                block.extend_from_slice(&(field.len() as u64).to_le_bytes());
                block.extend_from_slice(field);
            }
            if block.len() >= BLOCK_BYTES && send.blocking_send(Ok(std::mem::take(&mut block).into())).is_err() {
                return;
            }
        }
        block.extend_from_slice(&ARCHIVE_END.to_le_bytes());
        let _ = send.blocking_send(Ok(block.into()));
    });
    (headers, stream(receive)).into_response()
}

async fn files_root(state: State<Backend>) -> Response {
    files(state, Path(String::new())).await
}

/// An entry of a folder, as `/files/` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// `file` or `folder`.
    pub kind: String,
    /// Bytes.
    pub size: usize,
    /// Milliseconds since 1970.
    pub modified: u64,
}

async fn files(State(backend): State<Backend>, Path(path): Path<String>) -> Response {
    let view = match look(&backend).await {
        Ok(view) => view,
        Err(response) => return *response,
    };
    let read = tokio::task::spawn_blocking(move || read_files(&view, &path).map(|found| (found, view.txid)));
    let not_found = || (StatusCode::NOT_FOUND, "no such file\n").into_response();
    match read.await {
        Ok(Some((Found::File(content), txid))) => {
            let headers =
                [(header::CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()), (TRANSACTION_HEADER, txid.to_string())];
            (headers, content).into_response()
        }
        Ok(Some((Found::Folder(entries), _))) => json(&entries),
        _ => not_found(),
    }
}

enum Found {
    File(Vec<u8>),
    Folder(Vec<FileEntry>),
}

fn read_files(view: &View, path: &str) -> Option<Found> {
    let path = path.trim_matches('/');
    let key = if path.is_empty() { String::new() } else { format!("/{path}") };
    if !key.is_empty() {
        let row = view.snapshot.get(maps::FILES, key.as_bytes()).ok()??;
        if let Some(content) = Entry::decode(row.value())?.content {
            return Some(Found::File(content.into_owned()));
        }
    }
    let (from, to) = (format!("{key}/"), format!("{key}0"));
    let rows = view.snapshot.range(maps::FILES, Bound::Included(from.as_bytes()), Bound::Excluded(to.as_bytes())).ok()?;
    let mut entries = Vec::new();
    for row in rows {
        let (path, row) = row.ok()?;
        let name = std::str::from_utf8(&path[from.len()..]).ok()?;
        if name.contains('/') {
            continue;
        }
        let entry = Entry::decode(row.value())?;
        let kind = if entry.is_folder() { "folder" } else { "file" };
        entries.push(FileEntry { name: name.into(), kind: kind.into(), size: entry.size(), modified: entry.modified_ms });
    }
    Some(Found::Folder(entries))
}

async fn metrics(State(backend): State<Backend>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], backend.metrics().page()).into_response()
}

async fn health() -> &'static str {
    "ok\n"
}
