//! The fetch stage. In: locators of pairs that are to be asked for. Out: one row an attempt in originals, outcome recorded, committed
//! chunk by chunk. In the order in which a locator meets them: `stage.rs` runs it, by what `todo.rs` and `told.rs` ask the tables,
//! `crawl.rs` has the requests under way; on a cluster (`waves.rs`) the parts of a plan have one each (`ask.rs`, `ask_table.rs`);
//! `asking.rs` starts them in the order of `queues.rs`, `getter.rs` makes one attempt by `http.rs` or `folder.rs`, `outage.rs` decides
//! whether silence is believed, `attempt.rs` is what one attempt gave, `outcome.rs` how it may end, and `chunk.rs` what is committed
//! together. `http.rs` follows redirects by `requests.rs` (one request, with the client of `client.rs`), `answer.rs` (its head), `body.rs`
//! and `broken.rs` (errors). What those keep to: `address.rs` and `resolve.rs` (public addresses only), `robots.rs`, `places.rs` (few at
//! one host), `slot.rs`, `files.rs` (open ones), `budget.rs` (memory), `pace.rs` (bandwidth), `headers.rs` (of one's own), `clock.rs`
//! (time), `retry_after.rs`, `encoding.rs`. What is asked for is narrowed by `retry.rs` and `shard.rs`; `tally.rs` is the line that
//! people see, `metrics.rs` the same for Prometheus. Never looks into a picture but to see that it is one, and whole.

mod address;
mod answer;
mod ask;
mod ask_table;
mod asking;
mod attempt;
mod body;
mod broken;
mod budget;
mod chunk;
mod client;
mod clock;
mod crawl;
mod encoding;
mod files;
mod folder;
mod getter;
mod headers;
mod http;
mod metrics;
mod origin;
mod outage;
mod outcome;
mod pace;
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
mod told;
mod waves;

pub use address::is_public;
pub use ask::{AskExec, AskPlan};
pub use attempt::{Attempt, Failure, Trace};
pub use origin::Origin;
pub use outcome::{FetchOutcome, Next};
pub(crate) use shard::Shard;
pub use stage::{check, fetch};
