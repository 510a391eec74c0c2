//! `glassbox vat serve`: vats behind the same protocol as a script. What a vat registers with `vats.http` can be called.

use super::{Prepared, Vats, mail};
use crate::Failed;
use crate::exec::{self, Listen, Serving};
use server::commit::Callers;
use server::vats::Said;
use std::path::{Path, PathBuf};

/// Serve vats: what they register can be called.
#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    pub(super) vats: Vats,
    #[command(flatten)]
    listen: Listen,
    /// The vat whose root object can be called, unless one registers another with `vats.http`.
    #[arg(long, value_name = "VAT")]
    root: Option<String>,
    /// Let callers name themselves (?user=, Basic credentials); show console.debug.
    #[arg(short, long)]
    debug: bool,
    /// Take signed calls only.
    #[arg(long, conflicts_with = "debug")]
    require_auth: bool,
    #[command(flatten)]
    mail: mail::Args,
}

/// The vat that answers calls, always there.
const HTTP: &str = "http";

pub fn run(args: Args) -> Result<(), Failed> {
    let Args { vats, listen, root, debug, require_auth, mail } = args;
    let mut said = Said { root: root.clone(), ..vats.said()? };
    if mail.are_given() {
        said.devices.push(mail::DEVICE.into());
    }
    let kept = vats.dir.as_deref().filter(|dir| vats.only_goes_on(dir));
    let mut prepared = if kept.is_some() { None } else { Some(with_root(vats.prepare(&[HTTP])?, root)?) };
    if let Some(Prepared { install, .. }) = &mut prepared
        && mail.are_given()
        && !install.devices.iter().any(|device| device == mail::DEVICE)
    {
        install.devices.push(mail::DEVICE.into());
    }
    let dir = match (&vats.dir, &prepared) {
        (Some(dir), _) => dir.clone(),
        (None, prepared) => beside(prepared.as_ref().map_or("vats", |prepared| &prepared.name), vats.basedir.as_deref()),
    };
    let dir = std::path::absolute(&dir).map_err(|error| Failed::new(format!("{}: {error}", dir.display())))?;
    if let Some(prepared) = &prepared {
        vats.announce(prepared, Some(&dir));
    }
    let options = vats.options(dir, prepared, said);
    let callers = Callers { debug, require_auth };
    exec::runtime()?.block_on(async {
        let mail = mail.prepare().await?;
        let serving = Serving::start(listen, options, callers, exec::console(debug || vats.verbose)).await?;
        let _carrier = mail.map(|mail| mail.carry(serving.backend()));
        serving.serve().await
    })
}

fn with_root(mut prepared: Prepared, root: Option<String>) -> Result<Prepared, Failed> {
    if let Some(root) = root {
        let vats = &prepared.install.source.vats;
        if !vats.iter().any(|vat| vat.name == root) {
            let names: Vec<&str> = vats.iter().map(|vat| vat.name.as_str()).collect();
            return Err(Failed::unable(format!("there is no vat '{root}'; there are: {}", names.join(", "))));
        }
        prepared.install.root = Some(root);
    }
    Ok(prepared)
}

/// Where vats are kept that nobody has said a place for: never among their sources.
fn beside(name: &str, basedir: Option<&Path>) -> PathBuf {
    let dir = PathBuf::from(format!("./{name}"));
    let is_basedir = basedir.is_some_and(|basedir| {
        matches!((std::fs::canonicalize(basedir), std::fs::canonicalize(&dir)), (Ok(basedir), Ok(dir)) if basedir == dir)
    });
    if is_basedir { PathBuf::from(format!("./{name}.ledger")) } else { dir }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vats_are_not_kept_among_their_sources() {
        // `src` and `tests` are folders where the tests run.
        assert_eq!(beside("src", Some(Path::new("src"))), Path::new("./src.ledger"));
        assert_eq!(beside("src", Some(Path::new("tests"))), Path::new("./src"));
        assert_eq!(beside("vats", None), Path::new("./vats"));
    }
}
