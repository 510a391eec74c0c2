//! A bundle's transaction, executed again and compared.
//!
//! Without the ledger secret, a request that stands in the private part is not executed; one that stands in the public part is,
//! until it needs a private table or a seed. Either way its public writes are taken as they are.

use super::{Bundle, Chance, Request, Response, is_governance};
use crate::difference::{Difference, Divergence, ReplayError, compare, shown};
use crate::input::MalformedRecord;
use crate::machine::Ran;
use crate::maps;
use ledger::write_set::PUBLIC_PREFIX;
use ledger::{Transaction, WriteSet};

/// Tables that no app writes.
const GOVERNED: &str = "public:ccf.";

/// See the module.
pub(crate) fn replay(bundle: &mut Bundle, transaction: &Transaction) -> Result<Ran, ReplayError> {
    let txid = transaction.txid();
    let diverges = |difference| ReplayError::Divergence(Box::new(Divergence { txid, difference }));
    let recorded = match bundle.records().writes(transaction) {
        Ok(recorded) => recorded,
        Err(fault) => return Err(diverges(malformed("private part", &fault.to_string()))),
    };
    let blind = bundle.records().secret().is_none() && !transaction.private().is_empty();
    let public = recorded.get(maps::GLASSBOX, maps::REQUEST_KEY);
    let map = if public.is_some() { maps::GLASSBOX } else { maps::OWN };
    let Some(record) = recorded.get(map, maps::REQUEST_KEY) else {
        if blind {
            return sealed(bundle, transaction, &recorded, None);
        }
        compare("the transaction", &recorded, &WriteSet::new(), true).map_err(diverges)?;
        bundle.records_mut().apply_bundle(txid, &recorded, None)?;
        return Ok(Ran::Nothing);
    };
    let request = Request::decode(record).map_err(|error| diverges(error.into()))?;
    let response = recorded.get(map, maps::RESPONSE_KEY).ok_or_else(|| diverges(malformed("response", "it is missing")))?;
    let response = Response::decode(response).map_err(|error| diverges(error.into()))?;
    let before_ms = bundle.records().time_ms();
    if request.time_ms < before_ms {
        return Err(diverges(Difference::Time { time_ms: request.time_ms, before_ms }));
    }
    let seed = match recorded.get(maps::OWN, maps::SEED_KEY) {
        None => None,
        Some(seed) => Some(seed.try_into().map_err(|_| diverges(malformed("seed", "it has not 32 bytes")))?),
    };
    let executed = bundle.execute(&request, Chance::Recorded(seed), public.is_some());
    if let Some(difference) = bundle.take_problem() {
        return Err(diverges(difference));
    }
    if bundle.was_blinded() {
        return sealed(bundle, transaction, &recorded, Some(&request));
    }
    let exchange = executed?;
    let what = format!("{} {}", request.method, request.path());
    if exchange.response != response {
        return Err(diverges(Difference::Result {
            what,
            recorded: shown(&response.encode()),
            replayed: shown(&exchange.response.encode()),
        }));
    }
    let Some(replayed) = exchange.sealed else {
        return Err(diverges(Difference::Foreign("a request that leaves no transaction")));
    };
    if transaction.claims_digest() != replayed.claims.unwrap_or_default() {
        return Err(diverges(Difference::Claims));
    }
    if blind {
        let public = |writes: &WriteSet| {
            let maps = writes.maps.iter().filter(|(name, _)| name.starts_with(PUBLIC_PREFIX));
            WriteSet { maps: maps.map(|(name, map)| (name.clone(), map.clone())).collect() }
        };
        compare(&what, &public(&recorded), &public(&replayed.writes), true).map_err(diverges)?;
    } else {
        compare(&what, &recorded, &replayed.writes, true).map_err(diverges)?;
    }
    bundle.records_mut().apply_bundle(txid, &replayed.writes, Some(request.time_ms))?;
    Ok(Ran::Request(Box::new((request, response))))
}

/// Takes what is public of a transaction that cannot be executed here.
fn sealed(
    bundle: &mut Bundle,
    transaction: &Transaction,
    recorded: &WriteSet,
    request: Option<&Request>,
) -> Result<Ran, ReplayError> {
    // Governance's requests are public, whatever they need: what no request of governance has written, nobody has decided.
    if !request.is_some_and(|request| is_governance(request.path())) {
        let decided = |map: &str, key: &[u8]| map.starts_with(GOVERNED) || map == maps::GLASSBOX && key == maps::IMAGE_KEY;
        let mut rows =
            recorded.maps.iter().flat_map(|(map, rows)| rows.writes.keys().chain(&rows.removes).map(move |key| (map, key)));
        if let Some((map, key)) = rows.find(|(map, key)| decided(map, key)) {
            let difference = Difference::Unexplained { map: map.clone(), key: String::from_utf8_lossy(key).into_owned() };
            return Err(ReplayError::Divergence(Box::new(Divergence { txid: transaction.txid(), difference })));
        }
    }
    bundle.forget();
    let time_ms = request.map(|request| request.time_ms);
    bundle.records_mut().apply_bundle(transaction.txid(), recorded, time_ms)?;
    bundle.take_over(recorded)?;
    Ok(Ran::Sealed)
}

fn malformed(what: &'static str, why: &str) -> Difference {
    Difference::Malformed(MalformedRecord { what, why: why.into() })
}
