//! The packages that vats import by name. Their exports are the guest's own (`sandbox/guest/prelude/vats`).

/// All names. A `*` stands for the rest.
pub const PACKAGES: [&str; 29] = [
    "@agoric/assert",
    "@agoric/eventual-send",
    "@agoric/evaluate",
    "@agoric/far",
    "@agoric/harden",
    "@agoric/internal",
    "@agoric/marshal",
    "@agoric/nat",
    "@agoric/produce-promise",
    "@agoric/promise-kit",
    "@agoric/same-structure",
    "@agoric/store",
    "@agoric/swingset-vat/src/vats/comms*",
    "@agoric/swingset-vat/src/vats/timer*",
    "@agoric/swingset-vat/src/vats/vattp*",
    "@agoric/vat-data",
    "@endo/errors",
    "@endo/eventual-send",
    "@endo/exo",
    "@endo/far",
    "@endo/harden",
    "@endo/init",
    "@endo/lockdown",
    "@endo/marshal",
    "@endo/nat",
    "@endo/pass-style",
    "@endo/patterns",
    "@endo/promise-kit",
    "ses",
];

/// Whether a specifier names one of them.
pub fn is_package(specifier: &str) -> bool {
    PACKAGES.iter().any(|name| match name.strip_suffix('*') {
        Some(start) => specifier.strip_prefix(start).is_some_and(|rest| matches!(rest, "" | ".js" | "/index.js")),
        None => specifier == *name,
    })
}
