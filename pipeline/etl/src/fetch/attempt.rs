//! One attempt to get one locator. In: what the network or the file system gave. Out: a row of originals.

use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Builder, Int64Array, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use tuwen_schemas::schema;

use tuwen_corpus::id::{hex, id_of};

/// How an attempt ended. The list is closed; `originals.outcome` holds these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// The bytes are here.
    Ok,
    /// The answer's status was not 200.
    HttpStatus,
    /// No answer, or not all of it, in time.
    Timeout,
    /// No connection: refused, unreachable, name unknown, TLS.
    Connect,
    /// The address is not public and private hosts are not allowed.
    PrivateHost,
    /// Not an http or https URL.
    BadUrl,
    /// More redirects than `fetch.max_redirects`.
    TooManyRedirects,
    /// More bytes than `fetch.max_bytes`.
    TooLarge,
    /// The answer broke off or was no HTTP.
    Broken,
    /// The image folder has no such file.
    MissingFile,
    /// The file is there but cannot be read.
    Unreadable,
}

impl FetchOutcome {
    /// Failures whose reason may pass: they are tried again, `fetch.attempts` times in all.
    pub const MAY_PASS: [Self; 3] = [Self::Timeout, Self::Connect, Self::Broken];
}

impl fmt::Display for FetchOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::HttpStatus => "http_status",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::PrivateHost => "private_host",
            Self::BadUrl => "bad_url",
            Self::TooManyRedirects => "too_many_redirects",
            Self::TooLarge => "too_large",
            Self::Broken => "broken",
            Self::MissingFile => "missing_file",
            Self::Unreadable => "unreadable",
        })
    }
}

/// Why there are no bytes.
#[derive(Debug)]
pub struct Failure {
    /// From the closed list, never `Ok`.
    pub outcome: FetchOutcome,
    /// Status of the last response, if there was one.
    pub http_status: Option<u16>,
    /// What the network or the file system said.
    pub detail: String,
}

impl Failure {
    pub(crate) fn new(outcome: FetchOutcome, detail: impl fmt::Display) -> Self {
        Self { outcome, http_status: None, detail: detail.to_string() }
    }
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
    /// The bytes with the HTTP status if any, or why not.
    pub result: Result<(Vec<u8>, Option<u16>), Failure>,
}

impl Attempt {
    /// How it ended.
    pub fn outcome(&self) -> FetchOutcome {
        self.result.as_ref().err().map_or(FetchOutcome::Ok, |failure| failure.outcome)
    }

    /// Bytes it brought.
    pub fn bytes_len(&self) -> u64 {
        self.result.as_ref().map_or(0, |(bytes, _)| bytes.len() as u64)
    }
}

/// `attempts` as rows of `originals`; the commit numbers them.
///
/// # Errors
/// Never for these columns; Arrow's signature has them.
pub(super) fn to_batch(attempts: &[Attempt]) -> Result<RecordBatch> {
    let total: u64 = attempts.iter().map(Attempt::bytes_len).sum();
    let [mut locators, mut image_ids, mut media_types, mut outcomes, mut details]: [StringBuilder;
        5] = Default::default();
    let mut bytes = BinaryBuilder::with_capacity(attempts.len(), total as usize);
    let [mut elapsed, mut lengths]: [Int64Builder; 2] = Default::default();
    let [mut statuses, mut numbers]: [Int32Builder; 2] = Default::default();
    let mut ended = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    for attempt in attempts {
        locators.append_value(&attempt.locator);
        numbers.append_value(attempt.attempt);
        elapsed.append_value(attempt.elapsed_ms);
        ended.append_value(attempt.ended_us);
        let body = attempt.result.as_ref().ok().map(|(body, _)| body);
        image_ids.append_option(body.map(|body| hex(id_of(body))));
        media_types.append_option(body.map(|body| sniff(body)));
        lengths.append_option(body.map(|body| body.len() as i64));
        bytes.append_option(body);
        let status = match &attempt.result {
            Ok((_, status)) => {
                outcomes.append_value(FetchOutcome::Ok.to_string());
                details.append_null();
                *status
            }
            Err(failure) => {
                outcomes.append_value(failure.outcome.to_string());
                details.append_value(&failure.detail);
                failure.http_status
            }
        };
        statuses.append_option(status.map(i32::from));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![0; attempts.len()])), // seq
        Arc::new(locators.finish()),
        Arc::new(image_ids.finish()),
        Arc::new(bytes.finish()),
        Arc::new(media_types.finish()),
        Arc::new(outcomes.finish()),
        Arc::new(statuses.finish()),
        Arc::new(details.finish()),
        Arc::new(numbers.finish()),
        Arc::new(elapsed.finish()),
        Arc::new(lengths.finish()),
        Arc::new(ended.finish()),
    ];
    Ok(RecordBatch::try_new(schema("originals"), columns)?)
}

/// The media type by content, as far as a crawl of pictures needs it.
fn sniff(bytes: &[u8]) -> &'static str {
    if let Ok(format) = image::guess_format(bytes) {
        return format.to_mime_type();
    }
    let start: Vec<u8> = bytes.iter().take(512).map(u8::to_ascii_lowercase).collect();
    let text = start.trim_ascii_start();
    let contains = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    match text {
        _ if text.starts_with(b"<!doctype html") || contains(b"<html") => "text/html",
        _ if contains(b"<svg") => "image/svg+xml",
        _ if text.starts_with(b"{") || text.starts_with(b"[") => "application/json",
        _ if text.starts_with(b"<?xml") => "application/xml",
        _ if !text.is_empty() && std::str::from_utf8(text).is_ok() => "text/plain",
        _ => "application/octet-stream",
    }
}
