//! Bundles with clients and tools that are not ours: `@microsoft/ccf-app` and popular libraries from npm, `ccf` and a validator of
//! OpenAPI from PyPI, curl, openssl.
//!
//! File by file: [`tools`] (what is run), [`site`] (a sandbox that curl talks to), `app/` (an app in TypeScript, built with npm),
//! [`typescript`] (what it answers, also in Node), [`crypto`] (each function against openssl), [`history`] (receipts and ranges),
//! [`certificates`] (callers), [`signer`] and [`governance`] (each signed request of members), [`ledger`] (readers of files and documents).

mod certificates;
mod crypto;
mod governance;
mod history;
mod ledger;
mod signer;
mod site;
mod tools;
mod typescript;
