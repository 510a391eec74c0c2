//! The constitutions that come with Glassbox, and what makes a text a constitution.
//!
//! ```text
//! validate(input)                                    ──▶ { valid, description }
//! resolve(proposal, proposerId, votes, proposalId)   ──▶ "Open", "Accepted" or "Rejected"
//! apply(proposal, proposalId)
//! ```
//!
//! Both are one module, put together from files that stand beside this one. They differ in `resolve`: by default a proposal is
//! accepted when more than half of the active members are for it; in a sandbox every proposal is.

use super::{Answer, Governing, described, resolve};
use serde_json::Value;

const ACTIONS: &str = include_str!("constitution/actions.js");
const APP: &str = include_str!("constitution/app.js");
const TOKENS: &str = include_str!("constitution/tokens.js");
const CHECKS: &str = include_str!("constitution/checks.js");
const VALIDATE: &str = include_str!("constitution/validate.js");
const RESOLVE_DEFAULT: &str = include_str!("constitution/resolve_default.js");
const RESOLVE_SANDBOX: &str = include_str!("constitution/resolve_sandbox.js");

fn joined(resolve: &str) -> String {
    [CHECKS, APP, TOKENS, ACTIONS, VALIDATE, resolve].join("\n")
}

/// More than half of the active members decide.
pub fn default() -> String {
    joined(RESOLVE_DEFAULT)
}

/// Every proposal is accepted at once: for development.
pub fn sandbox() -> String {
    joined(RESOLVE_SANDBOX)
}

/// The functions of a constitution, and how many parameters they may have.
const EXPORTS: [(&str, std::ops::RangeInclusive<u64>); 3] = [("validate", 1..=1), ("resolve", 3..=4), ("apply", 2..=2)];

/// Whether a text is a constitution. The inner error says why not.
pub(super) fn check(governing: &mut dyn Governing, text: &str) -> Answer<Result<(), String>> {
    let file = resolve::file();
    let names = EXPORTS.map(|(name, _)| name);
    let shape = match governing.shape(&file, text, &names)? {
        Ok(shape) => shape,
        Err(failure) => {
            // The realm's own words, without the name of the error around them.
            let known = failure.message.starts_with("Failed to ");
            let why = if known { failure.message } else { format!("Failed to compile constitution: {}", described(&failure)) };
            return Ok(Err(why));
        }
    };
    for (name, expected) in EXPORTS {
        let Some(count) = shape.get(name).and_then(Value::as_u64) else {
            return Ok(Err(format!("Failed to find export '{name}' in the constitution")));
        };
        if !expected.contains(&count) {
            let (least, most) = (expected.start(), expected.end());
            let range = if least == most { least.to_string() } else { format!("between {least} and {most}") };
            return Ok(Err(format!("constitution exports function {name} with {count} args, expected {range} args")));
        }
    }
    Ok(Ok(()))
}
