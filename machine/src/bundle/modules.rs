//! Where a realm's modules come from.

use super::store::{Rows, Store};
use super::tables;
use crate::Fault;
use sandbox::Answer;
use std::collections::BTreeMap;

/// The sources of modules.
pub(crate) enum Sources {
    /// The app that is deployed.
    Tables,
    /// These, by path: a constitution, a ballot, or a bundle that is tried out.
    Texts(BTreeMap<String, String>),
}

impl Sources {
    /// One module.
    pub fn one(name: &str, source: &str) -> Sources {
        Sources::Texts(BTreeMap::from([(name.to_owned(), source.to_owned())]))
    }

    pub fn find(&self, name: &str, store: Option<&Store>) -> Result<Answer, Fault> {
        let text = match (self, store) {
            (Sources::Texts(texts), _) => texts.get(name).cloned(),
            (Sources::Tables, None) => None,
            (Sources::Tables, Some(store)) => {
                let source = store.get(tables::MODULES, name.as_bytes())?;
                source.map(|source| String::from_utf8_lossy(&source).into_owned())
            }
        };
        Ok(text.map_or(Answer::Nothing, Answer::Text))
    }
}
