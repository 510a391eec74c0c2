//! Signed requests that came before are known by their signatures.
//!
//! ```text
//! {created_at, ten digits}:{hex SHA-256 of the signature} ──▶ what it was
//! ```
//!
//! A table keeps the newest. A request that is older than half of them is refused, so what has been forgotten cannot come again.

use super::names::SERVICE_CONFIG;
use super::{Governing, hex};
use crate::Fault;
use crate::bundle::store::Rows;
use crate::bundle::tables::SINGLETON;
use serde_json::Value;

/// How many requests are remembered, unless the service's settings say otherwise.
pub(super) const WINDOW: u64 = 100;

/// The last second that ten digits can name.
const LAST_SECOND: i64 = 9_999_999_999;

/// How many requests are remembered.
pub(super) fn window(rows: &dyn Rows) -> Result<u64, Fault> {
    let config = rows.get(SERVICE_CONFIG, SINGLETON)?;
    let config: Value = config.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default();
    Ok(config.get("recent_cose_proposals_window_size").and_then(Value::as_u64).unwrap_or(WINDOW))
}

/// Why a request is not taken.
pub(super) enum Refused {
    /// The time that it names has more than ten digits.
    Unwritable,
    /// It came before, and was this.
    Again(String),
    /// It must be from this second on.
    TooOld(String),
}

/// Takes a request that is new and not too old, and remembers it as `what`.
pub(super) fn remember(
    governing: &mut dyn Governing,
    map: &str,
    created_at_s: i64,
    digest: &[u8],
    what: &str,
) -> Result<Result<(), Refused>, Fault> {
    if created_at_s > LAST_SECOND {
        return Ok(Err(Refused::Unwritable));
    }
    let created_at = format!("{created_at_s:010}");
    let key = format!("{created_at}:{}", hex(digest));
    if let Some(before) = governing.get(map, key.as_bytes())? {
        return Ok(Err(Refused::Again(String::from_utf8_lossy(&before).into_owned())));
    }
    // In the order of their times, since all times have ten digits.
    let known: Vec<Vec<u8>> = governing.rows(map)?.into_iter().map(|(key, _)| key).collect();
    if let Some(median) = known.get(known.len() / 2) {
        let median = String::from_utf8_lossy(median);
        let oldest = median.split(':').next().unwrap_or_default();
        if created_at.as_str() < oldest {
            return Ok(Err(Refused::TooOld(oldest.to_owned())));
        }
    }
    let kept = usize::try_from(window(governing)?).unwrap_or(usize::MAX).max(1) - 1;
    for key in &known[..known.len().saturating_sub(kept)] {
        governing.remove(map, key);
    }
    governing.put(map, key.as_bytes(), what.as_bytes());
    Ok(Ok(()))
}
