//! Settings of `tuwen serve`.

use serde::{Deserialize, Serialize};

use crate::allowed::Allowed::{FilledText, Line};
use crate::allowed::whole;
use crate::key::settings;

settings! {
    /// Settings of `tuwen serve`.
    pub struct ServeSettings("serve.", settings => settings.serve) {
        /// Where programs connect (Arrow Flight SQL). `ADDRESS:PORT`; `off`: nowhere.
        flight: String = "127.0.0.1:50051".to_owned(), FilledText;
        /// Where the page is (HTTP). `ADDRESS:PORT`; `off`: nowhere. Metrics for Prometheus are
        /// there too, at `/metrics`.
        page: String = "127.0.0.1:8080".to_owned(), FilledText;
        /// Bytes that all queries hold together. What sorts and aggregates hold beyond it is
        /// spilled to disk, other queries fail; 0: half of the machine's memory.
        memory_limit: u64 = 0, whole(0..=1 << 50);
        /// Seconds that a query may take. What its reader makes it wait is not counted; 0: as long
        /// as it needs.
        timeout_secs: u64 = 60, whole(0..=31_536_000);
        /// Queries of programs and of the page that run at once. The others wait for their turn.
        max_queries: usize = 8, whole(1..=1_000);
        /// The file of the token that must be shown. Empty: the variable `TUWEN_TOKEN` has it, or
        /// none is asked for, which is allowed on loopback alone.
        token_file: String = String::new(), Line;
        /// The file of the certificate for TLS. PEM, the server's own first; empty: no TLS, which
        /// is allowed on loopback alone.
        tls_cert: String = String::new(), Line;
        /// The file of the certificate's private key. PEM.
        tls_key: String = String::new(), Line;
    }
}
