//! Settings of `tuwen fetch`.

use serde::{Deserialize, Serialize};

use crate::allowed::Allowed::{Bool, HeaderText, Line, OneOf, Server, Shard, Socket};
use crate::allowed::whole;
use crate::key::{choices, settings};

/// Bytes that one commit of originals may collect. They stand in one Arrow array, which ends at 2
/// GiB: a chunk that is nearly full and one more body of [`MOST_BODY_BYTES`] must fit.
const MOST_CHUNK_BYTES: i64 = 1 << 30;

/// Bytes of one body. A batch of originals has 16 rows (`BYTES_BATCH_ROWS` in tuwen-corpus), which
/// must fit into one Arrow array.
const MOST_BODY_BYTES: i64 = 127 << 20;

/// Less memory does not hold one commit and a body beside it.
const LEAST_MEMORY_BYTES: i64 = 64 << 20;

choices! {
    /// What a proxy that the environment names (`HTTPS_PROXY` and its like) is for a crawl.
    #[derive(Default)]
    pub enum ProxyUse {
        /// An error while private addresses may not be asked: a proxy resolves names itself, where
        /// nobody sees whether their addresses are public. Used where they may.
        #[default]
        Refuse = "refuse",
        /// Nothing: the hosts are asked directly.
        Ignore = "ignore",
        /// What all requests go through; it has to keep them away from private addresses.
        Use = "use",
    }
}

settings! {
    /// Settings of `tuwen fetch`.
    pub struct FetchSettings("fetch.", settings => settings.fetch) {
        /// Requests under way at once.
        concurrency: usize = 128, whole(1..=10_000);
        /// Requests under way to one host. That is: to one registered domain, and to one address.
        /// Redirects count where they lead.
        per_host: usize = 16, whole(1..=10_000);
        /// URLs of one host asked for in a second. That is: of one registered domain; 0: no limit.
        /// A host that asks for less (Retry-After, Crawl-delay) gets less.
        requests_per_sec: u64 = 0, whole(0..=1_000_000);
        /// Bytes a second of all requests together. 0: no limit.
        bytes_per_sec: u64 = 0, whole(0..=1_000_000_000_000);
        /// Bytes that a run may bring in all. Then it does what Ctrl-C does; 0: no limit. A
        /// compressed body counts as it is unpacked, where that is more than came.
        byte_budget: u64 = 0, whole(0..=1_000_000_000_000_000);
        /// Bytes of memory for bodies and commits.
        memory_limit: u64 = 1 << 30, whole(LEAST_MEMORY_BYTES..=1 << 40);
        /// Tries of a URL whose failure may pass. Each comes four times as long after the one
        /// before; see the table of outcomes.
        attempts: i32 = 8, whole(1..=100);
        /// Seconds that a run waits at its end. It waits for URLs whose next try is due by then;
        /// the others are left to later runs. 0: all of them.
        longest_wait_secs: u64 = 60, whole(0..=86_400);
        /// Seconds that a name server may take.
        dns_timeout_secs: u64 = 10, whole(1..=3_600);
        /// Seconds until a connection must stand. TLS is a part of it.
        connect_timeout_secs: u64 = 10, whole(1..=3_600);
        /// Seconds from the request to the answer's head.
        first_byte_timeout_secs: u64 = 20, whole(1..=3_600);
        /// Seconds in which a body must go on.
        read_timeout_secs: u64 = 20, whole(1..=3_600);
        /// Bytes a second that a body must bring. From its tenth second on.
        least_bytes_per_sec: u64 = 512, whole(0..=1_000_000_000);
        /// Seconds a whole request may take. Body and redirects are parts of it; a robots.txt
        /// has as long for itself.
        timeout_secs: u64 = 300, whole(1..=86_400);
        /// Largest body accepted, in bytes. Compressed answers are counted as they come and as
        /// they are.
        max_bytes: u64 = 64 << 20, whole(1..=MOST_BODY_BYTES);
        /// Redirects followed for one URL.
        max_redirects: usize = 5, whole(0..=100);
        /// Whether private addresses may be asked. That is: all that are not public, such as
        /// loopback and link-local ones.
        allow_private_hosts: bool = false, Bool;
        /// What a proxy is for. That is: one that the environment names.
        proxy: ProxyUse = ProxyUse::default(), OneOf(ProxyUse::NAMES);
        /// The name server to ask. `ADDRESS` or `ADDRESS:PORT`; empty: what the system is set to.
        /// A caching one on this machine serves large crawls best.
        name_server: String = String::new(), Server;
        /// Whether robots.txt is kept to. It is asked for once a day (RFC 9309).
        robots: bool = true, Bool;
        /// Directives of X-Robots-Tag not kept to. Divided by commas. The others of noai,
        /// noimageai, noindex and noimageindex forbid to keep an answer that has them.
        ignored_directives: String = String::new(), Line;
        /// How the owner of a host reaches you. A mail address or a page: it is said with each
        /// request, and asked for before a crawl of more than 10,000 URLs.
        contact: String = String::new(), Line;
        /// What requests say they are (User-Agent). The contact follows.
        user_agent: String = concat!("tuwen/", env!("CARGO_PKG_VERSION")).to_owned(), HeaderText;
        /// The page that requests come from (Referer). Empty: none.
        referer: String = String::new(), Line;
        /// The file of headers of your own. TOML, a table for each domain (`["example.com"]`, then
        /// `Cookie = "…"`): they go to it and to the domains below it alone; empty: none.
        headers: String = String::new(), Line;
        /// Whether URLs that failed are tried again. For whatever reason they did.
        retry_failed: bool = false, Bool;
        /// Whether pictures are asked for again. A server that says they are still the same (ETag,
        /// Last-Modified) sends nothing, and nothing is stored twice.
        refresh: bool = false, Bool;
        /// Outcomes after which URLs are tried again. Divided by commas, besides those that are
        /// due; see the table of outcomes.
        retry: String = String::new(), Line;
        /// Of these only what was asked for before. That is: what is refreshed or tried again (all
        /// that failed, if no outcome is named) must last have been asked for so many seconds ago;
        /// 0: all.
        retry_older_than_secs: u64 = 0, whole(0..=3_153_600_000);
        /// The part of the crawl to fetch, `K/N`. The hosts of part K of N; empty: all.
        shard: String = String::new(), Shard;
        /// Where Prometheus finds metrics. `ADDRESS:PORT`, while a crawl lasts; empty: nowhere.
        metrics: String = String::new(), Socket;
        /// Bytes of originals in one commit. A killed run loses at most these.
        chunk_bytes: u64 = 128 << 20, whole(1..=MOST_CHUNK_BYTES);
        /// Seconds until what came is committed. However little it is.
        commit_secs: u64 = 30, whole(1..=86_400);
        /// On a cluster, seconds after which a wave ends. What it got is committed then, at once;
        /// a driver that is killed loses at most one.
        wave_secs: u64 = 300, whole(1..=86_400);
    }
}
