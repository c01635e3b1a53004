//! Settings of `tuwen fetch`.

use serde::{Deserialize, Serialize};

use crate::allowed::Allowed::{Bool, HeaderText};
use crate::allowed::whole;
use crate::key::settings;

/// Bytes that one commit of originals may collect. They stand in one Arrow array, which ends at 2
/// GiB: a chunk that is nearly full and one more body of [`MOST_BODY_BYTES`] must fit.
const MOST_CHUNK_BYTES: i64 = 1 << 30;

/// Bytes of one body. A batch of originals has 16 rows (`BYTES_BATCH_ROWS` in tuwen-corpus), which
/// must fit into one Arrow array.
const MOST_BODY_BYTES: i64 = 127 << 20;

settings! {
    /// Settings of `tuwen fetch`.
    pub struct FetchSettings("fetch.", settings => settings.fetch) {
        /// Requests under way at once.
        concurrency: usize = 64, whole(1..=10_000);
        /// Requests under way to one host.
        per_host: usize = 16, whole(1..=10_000);
        /// Tries of a URL whose failure may pass. That is: no answer in time, no connection, an
        /// answer that broke off.
        attempts: i32 = 2, whole(1..=100);
        /// Seconds until a connection must stand.
        connect_timeout_secs: u64 = 5, whole(1..=3_600);
        /// Seconds a whole request may take, body included.
        timeout_secs: u64 = 20, whole(1..=86_400);
        /// Largest body accepted, in bytes.
        max_bytes: u64 = 64 << 20, whole(1..=MOST_BODY_BYTES);
        /// Redirects followed for one URL.
        max_redirects: usize = 5, whole(0..=100);
        /// Whether private addresses may be asked. That is: all that are not public, such as
        /// loopback and link-local ones.
        allow_private_hosts: bool = false, Bool;
        /// Whether URLs that failed before are tried again.
        retry_failed: bool = false, Bool;
        /// What requests say they are (header User-Agent).
        user_agent: String = concat!("tuwen/", env!("CARGO_PKG_VERSION")).to_owned(), HeaderText;
        /// Bytes of originals in one commit. A killed run loses at most these.
        chunk_bytes: u64 = 128 << 20, whole(1..=MOST_CHUNK_BYTES);
    }
}
