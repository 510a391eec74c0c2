//! Vats' sources as they are installed: the vats, and every module that they import.
//!
//! # Invariants
//!
//! - Nothing is imported that is not here, but the packages of [`packages`].
//! - It is written as JSON, into the ledger: the order of everything is fixed.

pub mod module;
pub mod packages;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// In the order in which they get their numbers.
    pub vats: Vec<VatSource>,
    /// The name of the vat whose `bootstrap` is called.
    pub bootstrap: String,
    /// By their path from the root, like `/vat-bot.js`, as they were written.
    pub modules: BTreeMap<String, String>,
    /// What `vatAdmin` makes vats of: names, and the paths of their modules.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bundles: BTreeMap<String, String>,
}

/// A vat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VatSource {
    /// Its name.
    pub name: String,
    /// The path of its module.
    pub module: String,
    /// For `buildRootObject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<serde_json::Value>,
    /// How the kernel runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<serde_json::Value>,
}

impl Source {
    /// The module that a path stands for, which may lack `.js` or `/index.js`.
    pub fn module(&self, path: &str) -> Option<(&str, &str)> {
        candidates(path)
            .into_iter()
            .find_map(|path| self.modules.get_key_value(&path))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// What an imported path may mean, first choice first.
pub fn candidates(path: &str) -> [String; 3] {
    [path.to_owned(), format!("{path}.js"), format!("{}/index.js", path.trim_end_matches('/'))]
}

/// The path that a relative specifier means in a module: both begin with a `/`. `None` if it leaves the root.
pub fn join(importer: &str, specifier: &str) -> Option<String> {
    let mut parts: Vec<&str> = importer.split('/').skip(1).collect();
    parts.pop();
    for part in specifier.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}
