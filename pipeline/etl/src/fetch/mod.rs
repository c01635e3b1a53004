//! The fetch stage. In: locators of pairs that are to be asked for. Out: one row an attempt in originals, outcome recorded, committed
//! chunk by chunk. In the order in which a locator meets them: `stage.rs` runs it, by what `todo.rs` and `last_attempts.rs` ask the
//! tables, `crawl.rs` makes pass after pass; on a cluster (`waves.rs`) the parts of a plan have a crawl each (`ask_exec.rs`,
//! `ask_table.rs`); `pass.rs` starts requests in the order of `queues.rs`, by what is known of each host (`host.rs`), `getter.rs` makes
//! one attempt by `http.rs` or `folder.rs`, `outage.rs` decides whether silence is believed, `attempt.rs` is what one attempt gave,
//! `outcome.rs` how it may end, and `chunk.rs` what is committed together. `http.rs` follows redirects by `requests.rs` (one request,
//! with the client of `client.rs`), `answer.rs` (its head), `body.rs` and `broken.rs` (errors). What those keep to: `address.rs` and
//! `resolve.rs` (public addresses only), `robots.rs`, `places.rs` (few at one host), `slot.rs`, `open_files.rs`, `budget.rs` (memory),
//! `pace.rs` (bandwidth), `headers.rs` (of one's own), `clock.rs` (time), `retry_after.rs`, `encoding.rs`. What is asked for is narrowed
//! by `retry.rs` and `shard.rs`; `tally.rs` is the line that people see, `metrics.rs` the same for Prometheus. Never looks into a picture
//! but to see that it is one, and whole.

mod address;
mod answer;
mod ask_exec;
mod ask_table;
mod attempt;
mod body;
mod broken;
mod budget;
mod chunk;
mod client;
mod clock;
mod crawl;
mod encoding;
mod folder;
mod getter;
mod headers;
mod host;
mod http;
mod last_attempts;
mod metrics;
mod open_files;
mod origin;
mod outage;
mod outcome;
mod pace;
mod pass;
mod places;
mod queues;
mod requests;
mod resolve;
mod retry;
mod retry_after;
mod robots;
mod shard;
mod slot;
mod stage;
mod tally;
mod todo;
mod waves;

pub use address::is_public;
pub use ask_exec::{AskExec, AskPlan};
pub use attempt::{Attempt, Failure, Trace};
pub use origin::Origin;
pub use outcome::{FetchOutcome, Next};
pub(crate) use shard::Shard;
pub use stage::{check, fetch};
