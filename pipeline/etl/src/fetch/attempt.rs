//! One attempt to get one locator. In: what the network or the file system gave. Out: a row of originals.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, Int64Array, PrimitiveArray, RecordBatch,
    StringArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use tuwen_schemas::schema;

use tuwen_corpus::id::{hex, id_of};

use crate::fetch::FetchOutcome;

/// Characters of a detail that are kept, and of what a server says of itself: some are URLs of megabytes.
const MOST_TEXT_CHARS: usize = 500;

/// What is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The URL, or `file:NAME`.
    pub(crate) locator: String,
    /// Which attempt it is: 1, 2, ….
    pub(crate) attempt: i32,
    /// Which try it is, of the attempts that count as one: 1, 2, ….
    pub(crate) n_tries: i32,
    /// What the server said of the picture that is there, if it is to be asked whether it is still the same.
    pub(crate) known: Validators,
}

/// What tells one state of a picture at a server from another (RFC 9110, 8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

/// Why there are no bytes.
#[derive(Clone, Debug)]
pub struct Failure {
    /// From the closed list, never `Ok`.
    pub outcome: FetchOutcome,
    /// What the network or the file system said.
    pub detail: String,
    /// Whether it is this machine's own, which has no file or port left for a request: it says nothing of a host.
    pub(crate) is_own: bool,
}

impl Failure {
    pub(crate) fn new(outcome: FetchOutcome, detail: impl fmt::Display) -> Self {
        Self { outcome, detail: cut(&detail.to_string()), is_own: false }
    }
}

/// What the network told of an attempt, however it ended.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Status of the last response, if there was one.
    pub http_status: Option<u16>,
    /// Where redirects led; none if there were none.
    pub final_url: Option<String>,
    /// Header Content-Type.
    pub content_type: Option<String>,
    /// Header ETag.
    pub etag: Option<String>,
    /// Header Last-Modified.
    pub last_modified: Option<String>,
    /// The address that answered.
    pub address: Option<IpAddr>,
    /// Bytes of bodies as they came, compressed or thrown away ones too.
    pub wire_bytes: u64,
    /// Whether a host answered anything, to a question for robots.txt too.
    pub(crate) was_answered: bool,
    /// How long the host wants not to be asked.
    pub(crate) retry_after: Option<Duration>,
    /// How long the robots.txt of the first host wants between two requests, if it was read; none: as it likes.
    pub(crate) delay: Option<Option<Duration>>,
}

/// One attempt.
pub struct Attempt {
    /// What was asked for.
    pub locator: String,
    /// How often it had been tried, this time included.
    pub attempt: i32,
    /// Milliseconds it took.
    pub elapsed_ms: i64,
    /// When it ended, microseconds since 1970, UTC.
    pub ended_us: i64,
    /// When it is to be tried again, microseconds since 1970, UTC; none if it is not.
    pub next_try_us: Option<i64>,
    /// What the network told.
    pub trace: Trace,
    /// The bytes, or why not.
    pub result: Result<Got, Failure>,
}

/// A file that came. What it is is found out by whoever got it: there are many of them, and one who writes.
pub struct Got {
    /// The file.
    pub bytes: Vec<u8>,
    /// The first 128 bits of its SHA-256, hex.
    image_id: String,
    media_type: &'static str,
}

impl Got {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { image_id: hex(id_of(&bytes)), media_type: sniff(&bytes), bytes }
    }
}

impl Attempt {
    /// How it ended.
    pub fn outcome(&self) -> FetchOutcome {
        self.result.as_ref().err().map_or(FetchOutcome::Ok, |failure| failure.outcome)
    }

    /// Bytes it brought.
    pub fn bytes_len(&self) -> u64 {
        self.result.as_ref().map_or(0, |got| got.bytes.len() as u64)
    }
}

/// `attempts` as rows of `originals`; the commit numbers them.
///
/// # Errors
/// Never for these columns; Arrow's signature has them.
pub(super) fn to_batch(attempts: &[Attempt]) -> Result<RecordBatch> {
    let total: u64 = attempts.iter().map(Attempt::bytes_len).sum();
    let mut bytes = BinaryBuilder::with_capacity(attempts.len(), total as usize);
    for attempt in attempts {
        bytes.append_option(got(attempt).map(|got| &got.bytes));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![0; attempts.len()])), // seq
        text(attempts, |a| Some(a.locator.as_str())),
        text(attempts, |a| got(a).map(|got| got.image_id.as_str())),
        Arc::new(bytes.finish()),
        text(attempts, |a| got(a).map(|got| got.media_type)),
        text(attempts, |a| Some(a.outcome().name())),
        numbers::<Int32Type>(attempts, |a| a.trace.http_status.map(i32::from)),
        text(attempts, |a| a.result.as_ref().err().map(|failure| failure.detail.as_str())),
        numbers::<Int32Type>(attempts, |a| Some(a.attempt)),
        numbers::<Int64Type>(attempts, |a| Some(a.elapsed_ms)),
        numbers::<Int64Type>(attempts, |a| got(a).map(|got| got.bytes.len() as i64)),
        times(attempts, |a| Some(a.ended_us)),
        times(attempts, |a| a.next_try_us),
        text(attempts, |a| a.trace.final_url.as_deref()),
        text(attempts, |a| a.trace.content_type.as_deref()),
        text(attempts, |a| a.trace.etag.as_deref()),
        text(attempts, |a| a.trace.last_modified.as_deref()),
        text(attempts, |a| a.trace.address.map(|address| address.to_string())),
        numbers::<Int64Type>(attempts, |a| Some(a.trace.wire_bytes as i64)),
    ];
    Ok(RecordBatch::try_new(schema("originals"), columns)?)
}

fn got(attempt: &Attempt) -> Option<&Got> {
    attempt.result.as_ref().ok()
}

fn text<'a, T: AsRef<str>>(
    attempts: &'a [Attempt],
    of: impl Fn(&'a Attempt) -> Option<T>,
) -> ArrayRef {
    Arc::new(attempts.iter().map(of).collect::<StringArray>())
}

fn numbers<T: ArrowPrimitiveType>(
    attempts: &[Attempt],
    of: impl Fn(&Attempt) -> Option<T::Native>,
) -> ArrayRef {
    Arc::new(attempts.iter().map(of).collect::<PrimitiveArray<T>>())
}

fn times(attempts: &[Attempt], of: impl Fn(&Attempt) -> Option<i64>) -> ArrayRef {
    let times: PrimitiveArray<TimestampMicrosecondType> = attempts.iter().map(of).collect();
    Arc::new(times.with_timezone("UTC"))
}

/// `text` without its end if it is long.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_TEXT_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The media type by content, as far as a crawl of pictures needs it.
pub(super) fn sniff(bytes: &[u8]) -> &'static str {
    if let Some(picture) = tuwen_image::media_type(bytes) {
        return picture;
    }
    let start: Vec<u8> = bytes.iter().take(512).map(u8::to_ascii_lowercase).collect();
    let text = start.trim_ascii_start();
    let contains = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    match text {
        _ if text.starts_with(b"<!doctype html") || contains(b"<html") => "text/html",
        _ if text.starts_with(b"{") || text.starts_with(b"[") => "application/json",
        _ if text.starts_with(b"<?xml") => "application/xml",
        _ if text.starts_with(b"%pdf-") => "application/pdf",
        _ if text.get(4..8) == Some(b"ftyp") => "video/mp4",
        _ if !text.is_empty() && std::str::from_utf8(text).is_ok() => "text/plain",
        _ => "application/octet-stream",
    }
}
