//! One WebSocket connection: frames to requests, replies to frames.

use crate::commit::{Backend, Done, Job, Refused};
use crate::limits;
use crate::node::Script;
use crate::rpc::{self, Frame, Problem, Request, code};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{SinkExt, StreamExt};
use machine::{AuthError, Call, Caller};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use tokio::sync::{mpsc, oneshot};

const TOO_MANY: &str = "Too many active requests. Try again in a few minutes.";

/// Serves a connection until either side ends it.
pub async fn serve(socket: WebSocket, backend: Backend, caller: Caller) {
    backend.metrics().connections.fetch_add(1, Relaxed);
    let (mut sink, mut stream) = socket.split();
    let (replies, mut unsent) = mpsc::channel::<String>(limits::MAX_UNSENT_REPLIES);
    let connection = Connection {
        backend: backend.clone(),
        caller,
        replies,
        circular: Arc::new(AtomicBool::new(false)),
        unsent_bytes: Arc::new(AtomicUsize::new(0)),
        lost: Arc::new(AtomicBool::new(false)),
    };
    let mut ready = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = unsent.recv_many(&mut ready, 64) => {
                if connection.lost.load(Relaxed) {
                    break;
                }
                let send = async {
                    for reply in ready.drain(..) {
                        let bytes = reply.len();
                        sink.feed(Message::Text(reply.into())).await?;
                        connection.unsent_bytes.fetch_sub(bytes, Relaxed);
                    }
                    sink.flush().await
                };
                match tokio::time::timeout(limits::WRITE_TIMEOUT, send).await {
                    Ok(Ok(())) if !connection.lost.load(Relaxed) => {}
                    _ => break,
                }
            }
            frame = stream.next() => match frame {
                Some(Ok(Message::Text(text))) => connection.take(&text).await,
                // As the old server did: a binary frame is read as text.
                Some(Ok(Message::Binary(bytes))) => match std::str::from_utf8(&bytes) {
                    Ok(text) => connection.take(text).await,
                    Err(_) => connection.refuse(code::PARSE_ERROR, "Parse error", "The frame is no UTF-8"),
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => break,
                Some(Err(error)) => {
                    // Too large to be read, or no WebSocket frame.
                    let close = CloseFrame { code: 1009, reason: error.to_string().chars().take(100).collect::<String>().into() };
                    let _ = tokio::time::timeout(limits::WRITE_TIMEOUT, sink.send(Message::Close(Some(close)))).await;
                    break;
                }
            }
        }
    }
    backend.metrics().connections.fetch_sub(1, Relaxed);
}

struct Connection {
    backend: Backend,
    caller: Caller,
    replies: mpsc::Sender<String>,
    /// The client reads CircularJSON, as nodevms-client does. What it sends is plain JSON.
    circular: Arc<AtomicBool>,
    /// Bytes of the replies that wait.
    unsent_bytes: Arc<AtomicUsize>,
    /// It does not read its replies.
    lost: Arc<AtomicBool>,
}

impl Connection {
    async fn take(&self, text: &str) {
        if text.len() > limits::MAX_FRAME_BYTES {
            let data = format!("A frame may have {} bytes", limits::MAX_FRAME_BYTES);
            return self.refuse(code::INVALID_REQUEST, "Invalid Request", &data);
        }
        match rpc::parse(text, limits::MAX_BATCH) {
            Frame::One(Ok(request)) => self.one(request),
            Frame::One(Err(problem)) => self.problem(&problem),
            Frame::Batch(requests) => self.batch(requests),
        }
    }

    /// Runs one request; its reply comes when it is durable.
    fn one(&self, request: Request) {
        let outbox = self.outbox();
        match self.route(&request) {
            Route::Reply(reply) => {
                if request.id.is_some() {
                    outbox.send(reply);
                }
            }
            Route::Call => {
                let id = request.id.clone();
                let refused_id = id.clone();
                let wants = request.auth.is_some() || request.receipt;
                let reply = Box::new(move |answer: Answer| {
                    if let Some(id) = id {
                        outbox.send(answer_reply(&id, answer, wants));
                    }
                });
                if let Err(refused) = self.submit(request, reply)
                    && let Some(id) = refused_id
                {
                    self.outbox().send(refused.reply(&id));
                }
            }
            Route::Read => {
                let id = request.id.clone();
                let refused_id = id.clone();
                let tell = Box::new(move |result: machine::Result| {
                    if let Some(id) = id {
                        outbox.send(rpc::result_reply(&id, &result));
                    }
                });
                if let Err(refused) = self.read(request, tell)
                    && let Some(id) = refused_id
                {
                    self.outbox().send(refused.reply(&id));
                }
            }
            Route::Upgrade(script) => {
                let backend = self.backend.clone();
                let id = request.id.clone();
                tokio::spawn(async move {
                    let deployed = backend.deploy(*script).await;
                    if let Some(id) = id {
                        outbox.send(match deployed {
                            Err(error) => rpc::error_reply(Some(&id), code::APP, "UpgradeError", &error),
                            Ok(deployed) => {
                                let methods = serde_json::json!(deployed.exports.methods).to_string();
                                let extras = rpc::extras(&deployed.txid.to_string(), None, None);
                                rpc::with(rpc::result_reply(&id, &Ok(Some(methods))), &extras)
                            }
                        });
                    }
                });
            }
        }
    }

    /// Runs requests in their order and replies to them together.
    fn batch(&self, requests: Vec<Result<Request, Problem>>) {
        let mut replies = Vec::new();
        for request in requests {
            match request {
                Err(problem) => {
                    self.backend.metrics().bad_requests.fetch_add(1, Relaxed);
                    replies.push(Pending::Ready(rpc::problem_reply(&problem)));
                }
                Ok(request) => match (self.route(&request), request.id.clone()) {
                    (Route::Reply(reply), Some(_)) => replies.push(Pending::Ready(reply)),
                    (Route::Reply(_), None) => {}
                    (Route::Read, id) => {
                        let (tell, told) = oneshot::channel();
                        let tell = Box::new(move |result: machine::Result| {
                            let _ = tell.send(result);
                        });
                        match (self.read(request, tell), id) {
                            (Ok(()), Some(id)) => replies.push(Pending::Read(id, told)),
                            (Err(refused), Some(id)) => replies.push(Pending::Ready(refused.reply(&id))),
                            (_, None) => {}
                        }
                    }
                    (Route::Upgrade(_), id) => {
                        let reply = rpc::error_reply(id.as_deref(), code::APP, "Error", "An upgrade stands alone");
                        replies.push(Pending::Ready(reply));
                    }
                    (Route::Call, id) => {
                        let (tell, told) = oneshot::channel();
                        let wants = request.auth.is_some() || request.receipt;
                        let reply = Box::new(move |answer: Answer| {
                            let _ = tell.send(answer);
                        });
                        match (self.submit(request, reply), id) {
                            (Ok(()), Some(id)) => replies.push(Pending::Call(id, told, wants)),
                            (Err(refused), Some(id)) => replies.push(Pending::Ready(refused.reply(&id))),
                            (_, None) => {}
                        }
                    }
                },
            }
        }
        if replies.is_empty() {
            return;
        }
        let outbox = self.outbox();
        // Ends with the last of its calls, each of which is bounded.
        tokio::spawn(async move {
            let mut texts = Vec::with_capacity(replies.len());
            for reply in replies {
                match reply {
                    Pending::Ready(text) => texts.push(text),
                    Pending::Read(id, told) => match told.await {
                        Ok(result) => texts.push(rpc::result_reply(&id, &result)),
                        Err(_) => return,
                    },
                    Pending::Call(id, told, wants) => match told.await {
                        Ok(answer) => texts.push(answer_reply(&id, answer, wants)),
                        Err(_) => return,
                    },
                }
            }
            outbox.send(format!("[{}]", texts.join(",")));
        });
    }

    fn submit(&self, request: Request, reply: crate::commit::Reply) -> Result<(), NotRun> {
        let (caller, root) = self.caller(&request)?;
        let job = Job { method: request.method, args: request.args, caller, root, receipt: request.receipt, reply };
        self.backend.submit(job).map_err(NotRun::Refused)
    }

    /// Queues a call that only reads. Who signs it is believed for its whole life: it changes nothing.
    fn read(&self, request: Request, tell: crate::readers::Tell) -> Result<(), NotRun> {
        let (caller, _) = self.caller(&request)?;
        let call = Call { method: request.method, args: request.args, caller, time_ms: 0 };
        self.backend.read(crate::readers::Job { call, tell }).map_err(NotRun::Refused)
    }

    /// Who calls: everything about a signature that does not depend on what other calls do.
    fn caller(&self, request: &Request) -> Result<(Caller, Option<ledger::Hash>), NotRun> {
        let not = |name: &'static str, data: &str| {
            self.backend.metrics().calls_unauthorised.fetch_add(1, Relaxed);
            Err(NotRun::Caller(name, data.to_owned()))
        };
        let auth = match &request.auth {
            None if self.backend.callers().require_auth => {
                return not("AuthRequiredError", "This backend takes signed calls only");
            }
            None => return Ok((self.caller.clone(), None)),
            Some(Err(why)) => return not("MalformedAuthError", why),
            Some(Ok(auth)) => auth,
        };
        if self.caller != Caller::Anonymous {
            return not("MalformedAuthError", "A connection with a name of its own choice cannot sign");
        }
        let backend = &self.backend.service().log;
        if auth.backend != *backend {
            return not("MisdirectedCallError", &format!("The call is for backend {:.64}, this is {backend}", auth.backend));
        }
        if !auth.signed.covers(backend, &auth.root, &request.method, &request.args) {
            return not(AuthError::Altered.name(), &AuthError::Altered.to_string());
        }
        Ok((Caller::Signed(Box::new(auth.signed.clone())), Some(auth.root)))
    }

    /// An upgrade, if the operator has signed it.
    fn upgrade(&self, request: &Request) -> Result<Script, NotRun> {
        let (caller, root) = self.caller(request)?;
        let not = |name: &'static str, data: &str| Err(NotRun::Caller(name, data.to_owned()));
        if caller.id().as_deref() != Some(self.backend.operator()) || !matches!(caller, Caller::Signed(_)) {
            return not("NotTheOperatorError", "Only the key in DIR/keys/operator may upgrade this backend");
        }
        // No transaction says that its nonce was used: it counts for the newest head alone.
        if self.backend.durable().signed.map(|head| head.root) != root {
            return not("StaleCallError", "The backend has gone on since the upgrade was signed");
        }
        match serde_json::from_str::<[Script; 1]>(&request.args) {
            Ok([script]) => Ok(script),
            Err(error) => not("TypeError", &format!("not the code of an upgrade: {error}")),
        }
    }

    /// Answers what needs no call.
    fn route(&self, request: &Request) -> Route {
        let id = request.id.as_deref();
        if request.method == "handshake" {
            // nodevms-client calls it with `null`, and nobody else does.
            self.circular.store(request.null_params, Relaxed);
            let service = self.backend.service();
            let exports = self.backend.exports();
            let head = self.backend.durable().signed;
            let callers = self.backend.callers();
            let mut info = serde_json::json!({
                "methods": exports.methods,
                "callLogUrl": service.log_url(),
                "filesArchiveUrl": service.files_url(),
                "debug": callers.debug,
                "id": service.log,
                "requireAuth": callers.require_auth,
                "serviceCert": self.backend.certificate().pem(),
                "readonly": exports.readonly,
            });
            if let Some(head) = head {
                info["head"] =
                    serde_json::json!({ "transaction": head.txid.to_string(), "root": ledger::hex::encode(&head.root) });
            }
            return Route::Reply(rpc::result_reply(id.unwrap_or("null"), &Ok(Some(info.to_string()))));
        }
        if request.method == "init" {
            return Route::Reply(rpc::error_reply(id, code::APP, "Error", "RPC method not supported"));
        }
        if request.method == rpc::UPGRADE {
            return match self.upgrade(request) {
                Ok(script) => Route::Upgrade(Box::new(script)),
                Err(refused) => Route::Reply(refused.reply(id.unwrap_or("null"))),
            };
        }
        let exports = self.backend.exports();
        // Who wants a receipt gets a transaction, also of a method that only reads.
        if !request.receipt && exports.readonly.contains(&request.method) {
            return Route::Read;
        }
        if !exports.methods.contains(&request.method) {
            self.backend.metrics().bad_requests.fetch_add(1, Relaxed);
            let name: String = request.method.chars().take(limits::MAX_NAME_BYTES).collect();
            return Route::Reply(rpc::error_reply(id, code::METHOD_NOT_FOUND, "Method not found", &name));
        }
        Route::Call
    }

    fn refuse(&self, code: i32, message: &'static str, data: &str) {
        self.problem(&Problem { id: None, code, message, data: data.into() });
    }

    fn problem(&self, problem: &Problem) {
        self.backend.metrics().bad_requests.fetch_add(1, Relaxed);
        self.outbox().send(rpc::problem_reply(problem));
    }

    fn outbox(&self) -> Outbox {
        Outbox {
            replies: self.replies.clone(),
            circular: self.circular.clone(),
            unsent_bytes: self.unsent_bytes.clone(),
            lost: self.lost.clone(),
        }
    }
}

type Answer = Result<Done, AuthError>;

/// Why a request is not run.
enum NotRun {
    Refused(Refused),
    /// The caller is not believed: the name of the error, and what is wrong.
    Caller(&'static str, String),
}

impl NotRun {
    fn reply(&self, id: &str) -> String {
        match self {
            NotRun::Refused(Refused::Busy) => rpc::error_reply(Some(id), code::APP, "Error", TOO_MANY),
            NotRun::Refused(Refused::Stopping) => rpc::error_reply(Some(id), code::APP, "Error", "The backend is stopping"),
            NotRun::Caller(name, data) => rpc::error_reply(Some(id), code::CALLER, name, data),
        }
    }
}

/// The reply to a call. `wants`: with what is said beside the result.
fn answer_reply(id: &str, answer: Answer, wants: bool) -> String {
    match answer {
        Err(error) => rpc::error_reply(Some(id), code::CALLER, error.name(), &error.to_string()),
        Ok(done) => {
            let reply = rpc::result_reply(id, &done.result);
            if !wants {
                return reply;
            }
            rpc::with(reply, &rpc::extras(&done.txid.to_string(), done.head.as_ref(), done.receipt.as_deref()))
        }
    }
}

enum Route {
    Reply(String),
    Call,
    Read,
    Upgrade(Box<Script>),
}

enum Pending {
    Ready(String),
    Call(String, oneshot::Receiver<Answer>, bool),
    Read(String, oneshot::Receiver<machine::Result>),
}

/// Where replies go. Never waits: a client that does not read its replies is given up.
struct Outbox {
    replies: mpsc::Sender<String>,
    circular: Arc<AtomicBool>,
    unsent_bytes: Arc<AtomicUsize>,
    lost: Arc<AtomicBool>,
}

impl Outbox {
    fn send(&self, mut reply: String) {
        if self.lost.load(Relaxed) {
            return;
        }
        if self.circular.load(Relaxed) {
            reply = rpc::circular(reply);
        }
        let waiting = self.unsent_bytes.fetch_add(reply.len(), Relaxed);
        let too_much = waiting > 0 && waiting + reply.len() > limits::MAX_UNSENT_BYTES;
        if too_much {
            self.lost.store(true, Relaxed);
            // Wakes the connection, which may have sent everything by now.
            reply.clear();
        }
        if self.replies.try_send(reply).is_err() {
            self.lost.store(true, Relaxed);
        }
    }
}
