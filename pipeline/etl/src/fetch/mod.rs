//! The fetch stage. In: locators of pairs that were not asked for yet. Out: one row an attempt in originals, outcome
//! recorded, committed chunk by chunk. `stage.rs` runs it, `http.rs` asks URLs, `folder.rs` reads files, `hosts.rs` keeps
//! requests to public addresses, `attempt.rs` is what one attempt gave. Never looks into a picture but to sniff its type.

mod attempt;
mod folder;
mod hosts;
mod http;
mod stage;

pub use attempt::{Attempt, FetchOutcome};
pub use hosts::is_public;
pub use stage::{Origin, fetch};
