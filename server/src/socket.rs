//! One WebSocket connection: frames to requests, replies to frames.

use crate::commit::{Backend, Done, Job, Refused};
use crate::limits;
use crate::rpc::{self, Frame, Problem, Request, code};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{SinkExt, StreamExt};
use machine::Caller;
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
                let reply = Box::new(move |done: Done| {
                    if let Some(id) = id {
                        outbox.send(rpc::result_reply(&id, &done.result));
                    }
                });
                if let Err(refused) = self.submit(request, reply)
                    && let Some(id) = refused_id
                {
                    self.outbox().send(refusal_reply(&id, refused));
                }
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
                    (Route::Call, id) => {
                        let (tell, told) = oneshot::channel();
                        let reply = Box::new(move |done: Done| {
                            let _ = tell.send(done.result);
                        });
                        match (self.submit(request, reply), id) {
                            (Ok(()), Some(id)) => replies.push(Pending::Call(id, told)),
                            (Err(refused), Some(id)) => replies.push(Pending::Ready(refusal_reply(&id, refused))),
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
                    Pending::Call(id, told) => match told.await {
                        Ok(result) => texts.push(rpc::result_reply(&id, &result)),
                        Err(_) => return,
                    },
                }
            }
            outbox.send(format!("[{}]", texts.join(",")));
        });
    }

    fn submit(&self, request: Request, reply: crate::commit::Reply) -> Result<(), Refused> {
        self.backend.submit(Job { method: request.method, args: request.args, caller: self.caller.clone(), reply })
    }

    /// Answers what needs no call.
    fn route(&self, request: &Request) -> Route {
        let id = request.id.as_deref();
        if request.method == "handshake" {
            // nodevms-client calls it with `null`, and nobody else does.
            self.circular.store(request.null_params, Relaxed);
            let service = self.backend.service();
            let info = serde_json::json!({
                "methods": self.backend.methods(),
                "callLogUrl": service.log_url(),
                "filesArchiveUrl": service.files_url(),
                "debug": self.backend.debug(),
            });
            return Route::Reply(rpc::result_reply(id.unwrap_or("null"), &Ok(Some(info.to_string()))));
        }
        if request.method == "init" {
            return Route::Reply(rpc::error_reply(id, code::APP, "Error", "RPC method not supported"));
        }
        if !self.backend.methods().contains(&request.method) {
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

fn refusal_reply(id: &str, refused: Refused) -> String {
    let data = match refused {
        Refused::Busy => TOO_MANY,
        Refused::Stopping => "The backend is stopping",
    };
    rpc::error_reply(Some(id), code::APP, "Error", data)
}

enum Route {
    Reply(String),
    Call,
}

enum Pending {
    Ready(String),
    Call(String, oneshot::Receiver<machine::Result>),
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
