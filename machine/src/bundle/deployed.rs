//! The app that is deployed: its endpoints, its limits, and the heap that every request begins with.
//!
//! Nothing here is chance or time of its own: modules are evaluated with the seed below, which is no secret, at the time that
//! the transaction has which deployed them.

use super::access::Context;
use super::host::{Kv, Lent};
use super::modules::Sources;
use super::options::Options;
use super::routes::Routes;
use super::run;
use super::store::Rows;
use super::turn::{Chance, Turn};
use super::{is_open, tables};
use crate::Fault;
use sandbox::{Image, Outcome, Realm, Sandbox};

/// Tables whose change has modules evaluated anew.
pub(crate) const IMAGE_TABLES: [&str; 4] =
    [tables::MODULES, tables::ENDPOINTS, tables::RUNTIME_OPTIONS, tables::INTERPRETER_FLUSH];

/// What chance is drawn from while modules are evaluated. Everybody knows it, so no keys are made from it.
const KNOWN_SEED: [u8; 32] = *b"glassbox: modules are evaluated.";

/// See the module.
#[derive(Default)]
pub struct Deployed {
    /// The endpoints.
    pub routes: Routes,
    /// The limits.
    pub options: Options,
    /// The service serves users.
    pub open: bool,
    /// The heap after the modules; `None` if there are none.
    pub image: Option<Image>,
}

impl Deployed {
    /// What tables say, without an image.
    pub(crate) fn read(rows: &impl Rows) -> Result<Deployed, Fault> {
        Ok(Deployed { routes: Routes::read(rows)?, options: Options::read(rows)?, open: is_open(rows)?, image: None })
    }
}

type Come = Result<(Deployed, Option<Realm<Kv>>), String>;

/// Evaluates the modules of the endpoints of the tables, or those given. The inner error says why they do not come up.
pub(crate) fn deploy(
    sandbox: &Sandbox,
    mut lent: Option<Box<Lent>>,
    back: &mut Option<Box<Lent>>,
    sources: Sources,
    entries: Option<Vec<String>>,
    time_ms: u64,
) -> Result<Come, Fault> {
    let store = &lent.as_deref().expect("lent by the caller").store;
    let read = Deployed::read(store);
    let mut deployed = match read {
        Ok(deployed) => deployed,
        Err(fault) => {
            *back = lent;
            return Err(fault);
        }
    };
    let entries = entries.unwrap_or_else(|| deployed.routes.modules().into_iter().map(str::to_owned).collect());
    if entries.is_empty() {
        *back = lent;
        return Ok(Ok((deployed, None)));
    }
    let mut host = Kv::new(Context::Loading, sources);
    host.always_shows_time = deployed.options.enable_untrusted_date_time;
    let mut realm = match Realm::new(sandbox, deployed.options.limits(), host) {
        Ok(realm) => realm,
        Err(fault) => {
            *back = lent;
            return Err(fault.into());
        }
    };
    // The request that deploys goes on with its own chance after that.
    let evaluation = Turn { time_ms, chance: Chance::Known(KNOWN_SEED), ..Turn::default() };
    let aside = lent.as_deref_mut().map(|lent| std::mem::replace(&mut lent.turn, evaluation));
    let names = serde_json::to_string(&entries).expect("strings can be written");
    let outcome = run::lend(&mut realm, lent, back, Context::Loading, |realm| realm.modules("app", &names, time_ms));
    if let (Some(lent), Some(turn)) = (back.as_deref_mut(), aside) {
        lent.turn = turn;
    }
    Ok(match outcome? {
        Outcome::Failure(failure) | Outcome::Refused(failure) => {
            let what = if failure.name == "Error" { failure.message.clone() } else { run::told(&failure) };
            let place = run::shown(&failure.stack);
            Err(format!("{what}\n{place}").trim_end().to_owned())
        }
        _ => {
            deployed.image = Some(realm.freeze()?);
            Ok((deployed, Some(realm)))
        }
    })
}
