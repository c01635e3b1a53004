//! Metrics of a server, for Prometheus. In: what came of queries. Out: its text format (version 0.0.4).

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::server::served::Served;

/// What came of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All its rows were taken.
    Done,
    /// It is wrong, or failed.
    Failed,
    /// It took too long.
    Timeout,
    /// Its reader left, did not read on, or cancelled it.
    Cancelled,
    /// Too many were under way.
    Refused,
    /// The server stopped.
    Stopped,
}

impl Outcome {
    const ALL: [Self; 6] =
        [Self::Done, Self::Failed, Self::Timeout, Self::Cancelled, Self::Refused, Self::Stopped];

    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        }
    }
}

/// Upper bounds of the histogram of seconds.
const SECONDS: [f64; 10] = [0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0, 300.0, 1200.0];

/// Counters of a server.
#[derive(Default)]
pub(crate) struct Metrics {
    queries: [AtomicU64; Outcome::ALL.len()],
    rows: AtomicU64,
    bytes: AtomicU64,
    /// Queries that took no longer than the bound, and than none.
    seconds: [AtomicU64; SECONDS.len() + 1],
    micros: AtomicU64,
    running: AtomicI64,
    waiting: AtomicI64,
}

/// Something that is counted while it lasts.
pub(crate) struct Lasting<'a>(&'a AtomicI64);

impl<'a> Lasting<'a> {
    fn count(gauge: &'a AtomicI64) -> Self {
        gauge.fetch_add(1, Relaxed);
        Self(gauge)
    }
}

impl Drop for Lasting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Metrics {
    /// A query that runs, until what is returned is dropped.
    pub(crate) fn running(&self) -> Lasting<'_> {
        Lasting::count(&self.running)
    }

    /// A query that waits for its turn, until what is returned is dropped.
    pub(crate) fn waiting(&self) -> Lasting<'_> {
        Lasting::count(&self.waiting)
    }

    /// Queries that run.
    pub(crate) fn n_running(&self) -> i64 {
        self.running.load(Relaxed)
    }

    /// Queries that wait for their turn.
    pub(crate) fn n_waiting(&self) -> i64 {
        self.waiting.load(Relaxed)
    }

    /// Rows that were sent.
    pub(crate) fn sent(&self, n_rows: usize, n_bytes: usize) {
        self.rows.fetch_add(n_rows as u64, Relaxed);
        self.bytes.fetch_add(n_bytes as u64, Relaxed);
    }

    /// A query that ended.
    pub(crate) fn ended(&self, outcome: Outcome, took: Duration) {
        self.queries[outcome as usize].fetch_add(1, Relaxed);
        let secs = took.as_secs_f64();
        for (at, bound) in SECONDS.iter().enumerate() {
            if secs <= *bound {
                self.seconds[at].fetch_add(1, Relaxed);
            }
        }
        self.seconds[SECONDS.len()].fetch_add(1, Relaxed);
        self.micros.fetch_add(took.as_micros() as u64, Relaxed);
    }

    /// All of them, with what `served` says of its snapshot and its memory.
    pub(crate) fn text(&self, served: &Served) -> String {
        let (versions, age) = served.newest_versions();
        let mut text = Text::default();
        let queries = Outcome::ALL.map(|outcome| {
            let n = self.queries[outcome as usize].load(Relaxed);
            (format!("{{outcome=\"{}\"}}", outcome.name()), n)
        });
        text.metric("queries_total", "counter", "Queries of programs that ended.", queries);
        let plain = |n: u64| [(String::new(), n)];
        text.metric("rows_total", "counter", "Rows sent.", plain(self.rows.load(Relaxed)));
        let help = "Bytes of rows sent, as they lay in memory.";
        text.metric("bytes_total", "counter", help, plain(self.bytes.load(Relaxed)));
        self.histogram(&mut text);
        let gauge = |n: &AtomicI64| plain(n.load(Relaxed).max(0).unsigned_abs());
        text.metric("queries_running", "gauge", "Queries that run.", gauge(&self.running));
        let help = "Queries that wait for their turn.";
        text.metric("queries_waiting", "gauge", help, gauge(&self.waiting));
        let help = "Bytes that the operators of all queries hold.";
        let held = plain(served.held_bytes() as u64);
        text.metric("memory_bytes", "gauge", help, held);
        let help = "Bytes that they may hold.";
        let limit = plain(served.bounds().memory_bytes as u64);
        text.metric("memory_limit_bytes", "gauge", help, limit);
        let versions = versions
            .iter()
            .map(|(table, version)| (format!("{{table=\"{table}\"}}"), version.unsigned_abs()));
        text.metric("table_version", "gauge", "Newest version that was seen.", versions);
        let help = "Seconds since a table last had another version.";
        text.metric("snapshot_age_seconds", "gauge", help, plain(age.as_secs()));
        text.0
    }

    fn histogram(&self, text: &mut Text) {
        let counts = self.seconds.each_ref().map(|count| count.load(Relaxed));
        let bounds = SECONDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        let mut lines: Vec<(String, String)> = bounds
            .zip(counts)
            .map(|(bound, count)| (format!("_bucket{{le=\"{bound}\"}}"), count.to_string()))
            .collect();
        let micros = self.micros.load(Relaxed);
        lines.push(("_sum".to_owned(), format!("{:.6}", micros as f64 / 1e6)));
        lines.push(("_count".to_owned(), counts[SECONDS.len()].to_string()));
        let help = "Seconds that queries took, their readers included.";
        text.metric("query_seconds", "histogram", help, lines);
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    /// A metric and its samples: labels, or the end of the name, and a value.
    fn metric<V: std::fmt::Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, V)>,
    ) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "# HELP tuwen_serve_{name} {help}");
        let _ = writeln!(self.0, "# TYPE tuwen_serve_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "tuwen_serve_{name}{labels} {value}");
        }
    }
}
