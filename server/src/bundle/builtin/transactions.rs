//! `/commit`, `/tx` and `/receipt`: what has become of a transaction.
//!
//! Committed is what a signature on disk covers. A receipt of what is still to be signed is a matter of waiting: 202.

use super::{Answer, Call, Context, bad_query};
use ledger::TxId;
use machine::Fault;
use machine::bundle::Response;
use machine::bundle::consensus::{self, Status};
use serde_json::json;

const TXID: &str = "transaction_id";
const HISTORY: &str = "view_history";
const SINCE: &str = "view_history_since";

/// What is told of when to come again, in seconds.
const RETRY_AFTER_S: &str = "1";

/// `GET /commit`
pub fn commit(call: &Call) -> Answer {
    let context = call.context;
    let committed = context.committed.unwrap_or(TxId { view: 0, seqno: 0 });
    let mut body = json!({ "transaction_id": committed.to_string() });
    let history = |since: u64| {
        let views = views(context)?;
        let since = views.into_iter().filter(|(view, _)| *view >= since);
        Ok::<Vec<String>, Fault>(since.map(|(view, first)| format!("{view}.{first}")).collect())
    };
    // What is no number is as if it were not there.
    if let Some(since) = call.request.parameter(SINCE).and_then(|text| text.parse::<u64>().ok()) {
        let message = format!("Invalid value for {SINCE}, must be in range [1, current_term]");
        if since == 0 {
            return Ok(bad_query(message));
        }
        if views(context)?.last().is_none_or(|(last, _)| since > *last) {
            return Ok(Response::error(404, "InvalidQueryParameterValue", message));
        }
        body[HISTORY] = json!(history(since)?);
    }
    match call.request.parameter(HISTORY).as_deref() {
        None => {}
        Some("true") => body[HISTORY] = json!(history(1)?),
        Some("false") => drop(body.as_object_mut().and_then(|body| body.remove(HISTORY))),
        Some(_) => {
            return Ok(bad_query(format!("Invalid value for {HISTORY}, must be one of [true, false] when present")));
        }
    }
    Ok(Response::json(200, &body))
}

/// `GET /tx`
pub fn status(call: &Call) -> Answer {
    let Some(text) = call.request.parameter(TXID) else {
        return Ok(bad_query(format!("Missing query parameter '{TXID}'")));
    };
    let Some((view, seqno)) = parse(&text) else {
        return Ok(bad_query(format!(
            "The value '{text}' passed as query parameter '{TXID}' could not be converted to a valid Transaction ID."
        )));
    };
    let status = status_of(call.context, view, seqno)?;
    Ok(Response::json(200, &json!({ TXID: format!("{view}.{seqno}"), "status": status.name() })))
}

/// `GET /receipt`
pub fn receipt(call: &Call) -> Answer {
    let Some(text) = call.request.parameter(TXID) else {
        return Ok(bad_query(format!("Query string must contain a '{TXID}' parameter")));
    };
    let Some((view, seqno)) = parse(&text) else {
        return Ok(bad_query(format!("The value '{text}' passed as '{TXID}' could not be converted to a valid Tx ID.")));
    };
    let status = status_of(call.context, view, seqno)?;
    let sorry = |code: &str| {
        let status = status.name();
        let message = format!("Only committed transactions can be queried. Transaction {view}.{seqno} is {status}");
        Response::error(404, code, message)
    };
    let receipt = match status {
        Status::Invalid => return Ok(sorry("TransactionInvalid")),
        Status::Unknown => return Ok(sorry("TransactionPendingOrUnknown").with("cache-control", "no-cache")),
        Status::Pending => None,
        Status::Committed => call.context.ledger.http_receipt(seqno)?,
    };
    Ok(match receipt {
        Some(receipt) => Response::json(200, &receipt),
        None => Response::text(202, &format!("Historical transaction {view}.{seqno} is not currently available."))
            .with("retry-after", RETRY_AFTER_S),
    })
}

/// View and seqno: digits, a dot, digits, both from 1.
pub fn parse(text: &str) -> Option<(u64, u64)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| digits && *number > 0)
    };
    let (view, seqno) = text.split_once('.')?;
    Some((number(view)?, number(seqno)?))
}

/// What a transaction is, going by what is on disk.
pub fn status_of(context: &Context, view: u64, seqno: u64) -> Result<Status, Fault> {
    let store = context.reading.store();
    let published = context.reading.seqno();
    let Some(last) = context.last else { return consensus::status(&store, view, seqno) };
    // What was written after the state was published was written by this process, in the view that it has.
    let of = if seqno <= published { consensus::view_of(&store, seqno)? } else { (seqno <= last.seqno).then_some(last.view) };
    Ok(match of {
        Some(of) if of == view && context.committed.is_some_and(|committed| seqno <= committed.seqno) => Status::Committed,
        Some(of) if of == view => Status::Pending,
        _ if view > last.view || of.is_none() && view == last.view => Status::Unknown,
        _ => Status::Invalid,
    })
}

/// Views and their first transactions, in order. The last may not be among what was published yet.
pub fn views(context: &Context) -> Result<Vec<(u64, u64)>, Fault> {
    let mut views = consensus::views(&context.reading.store())?;
    if let Some(last) = context.last.filter(|last| views.last().is_none_or(|(view, _)| *view < last.view)) {
        views.push((last.view, context.reading.seqno() + 1));
    }
    Ok(views)
}
