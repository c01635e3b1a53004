//! The body of an answer. In: its head, and the connection that it comes by. Out: all of it, resumed where it broke off, with its encodings
//! undone; or why not. Never reads more than `fetch.max_bytes`, never holds memory that it has no leave for, never waits longer than the
//! time limits.

use std::time::Duration;

use reqwest::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED,
    TRANSFER_ENCODING,
};
use reqwest::{Response, StatusCode, Version};
use tuwen_settings::FetchSettings;

use crate::fetch::FetchOutcome;
use crate::fetch::attempt::{Failure, Trace};
use crate::fetch::broken::{broken_off, failure};
use crate::fetch::budget::{Budget, Held};
use crate::fetch::clock::Clock;
use crate::fetch::encoding::{self, Undecodable};
use crate::fetch::pace::Pace;
use crate::fetch::requests::{Answer, Requests, Wanted};
use crate::fetch::slot::Slot;

/// How often a body that breaks off is resumed.
const MOST_RESUMES: usize = 5;

/// Memory that a body begins with, unless it is shorter: most pictures of the web need no more.
const FIRST_BODY_BYTES: usize = 256 << 10;

/// A body must have come this long before its speed is judged.
const SPEED_AFTER: Duration = Duration::from_secs(10);

/// A body, and the memory that is reserved for it.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) held: Held,
    /// The headers of the answer that it is of, if that is another than the first.
    pub(super) restarted: Option<HeaderMap>,
}

/// What the head of an answer says of its body.
struct Head {
    ends_by_closing: bool,
    /// What it can be resumed by.
    validator: Option<String>,
    encoding: Option<String>,
}

impl Head {
    fn of(response: &Response) -> Self {
        Self {
            ends_by_closing: ends_by_closing(response),
            validator: validator(response.headers()),
            encoding: encoding_header(response.headers()),
        }
    }
}

/// What all bodies share: memory, bandwidth, limits.
pub(super) struct Bodies {
    budget: Budget,
    pace: Pace,
    settings: FetchSettings,
}

impl Bodies {
    /// `bytes` is the memory for bodies under way.
    pub(super) fn new(settings: &FetchSettings, bytes: u64) -> Self {
        let pace = Pace::new(settings.bytes_per_sec);
        Self { budget: Budget::new(bytes), pace, settings: settings.clone() }
    }

    /// Up to `most_bytes` of a body, with its encodings undone; what comes after them is left.
    pub(super) async fn bounded(
        &self,
        mut response: Response,
        most_bytes: u64,
        clock: &mut Clock,
        trace: &mut Trace,
    ) -> Result<Vec<u8>, Failure> {
        let header = encoding_header(response.headers());
        let mut text = Vec::new();
        let limit = Duration::from_secs(self.settings.read_timeout_secs);
        while (text.len() as u64) < most_bytes {
            let part =
                clock.within(limit, "the next bytes of robots.txt", response.chunk()).await?;
            let Some(part) = part.map_err(|error| failure(&error))? else { break };
            trace.wire_bytes += part.len() as u64;
            text.extend_from_slice(&part);
        }
        text.truncate(most_bytes as usize);
        let Some(header) = header else { return Ok(text) };
        encoding::decode_start(&header, text, most_bytes).map_err(undecodable)
    }

    /// All of the body, resumed where it breaks off, with its encodings undone.
    pub(super) async fn whole(
        &self,
        requests: &Requests,
        mut answer: Answer,
        clock: &mut Clock,
        slot: &mut Slot,
        trace: &mut Trace,
    ) -> Result<Body, Failure> {
        let mut head = Head::of(&answer.response);
        let mut body = Body { bytes: Vec::new(), held: Held::default(), restarted: None };
        let mut resumes = 0;
        while let Err(failure) = self.read(&mut answer.response, &mut body, clock, trace).await {
            let Some(validator) = head.validator.as_deref().filter(|_| {
                failure.outcome == FetchOutcome::Truncated
                    && resumes < MOST_RESUMES
                    && !body.bytes.is_empty()
            }) else {
                return Err(failure);
            };
            resumes += 1;
            let at = body.bytes.len() as u64;
            let url = answer.url.clone();
            // The place that the broken answer has is the one to go on with.
            answer.places.clear();
            let wanted = Wanted::From(at, validator);
            let Ok(rest) = requests.ask(url, wanted, clock, slot, trace).await else {
                return Err(failure);
            };
            match rest.response.status() {
                StatusCode::PARTIAL_CONTENT if goes_on_at(rest.response.headers(), at) => {}
                StatusCode::OK => {
                    head = Head::of(&rest.response);
                    body.bytes.clear();
                    body.restarted = Some(rest.response.headers().clone());
                    trace.note_again(&rest.response);
                }
                _ => return Err(failure),
            }
            answer = rest;
        }
        if let Some(header) = head.encoding {
            let (bytes, max_bytes) = (std::mem::take(&mut body.bytes), self.settings.max_bytes);
            // As long as nobody knows how long it becomes.
            let needed = bytes.len() as u64 + 2 * max_bytes;
            clock.excused(self.budget.grow(&mut body.held, needed)).await;
            let decoded =
                tokio::task::spawn_blocking(move || encoding::decode(&header, bytes, max_bytes));
            body.bytes = match decoded.await {
                Ok(Ok(bytes)) => bytes,
                Ok(Err(Undecodable::TooLarge)) => return Err(self.too_large(max_bytes + 1)),
                Ok(Err(error)) => return Err(undecodable(error)),
                Err(panic) => return Err(Failure::new(FetchOutcome::Broken, panic)),
            };
            body.bytes.shrink_to_fit();
            body.held.shrink(body.bytes.len() as u64);
        }
        if head.ends_by_closing && lacks_its_end(&body.bytes) {
            let detail = format!("{} bytes of a picture without its end", body.bytes.len());
            return Err(Failure::new(FetchOutcome::Truncated, detail));
        }
        Ok(body)
    }

    /// Reads `response` to its end onto `body`.
    async fn read(
        &self,
        response: &mut Response,
        body: &mut Body,
        clock: &mut Clock,
        trace: &mut Trace,
    ) -> Result<(), Failure> {
        let declared = response.content_length();
        let declared = declared.map(|n| n.saturating_add(body.bytes.len() as u64));
        if let Some(length) = declared.filter(|length| *length > self.settings.max_bytes) {
            return Err(self.too_large(length));
        }
        let limit = Duration::from_secs(self.settings.read_timeout_secs);
        let (mut came, mut spent) = (0_u64, Duration::ZERO);
        loop {
            let began = tokio::time::Instant::now();
            let part = clock.within(limit, "the next bytes of the body", response.chunk()).await?;
            spent += began.elapsed();
            let part = match part {
                Ok(Some(part)) => part,
                Ok(None) => return Ok(()),
                Err(error) => return Err(broken_off(&error, body.bytes.len())),
            };
            (came, trace.wire_bytes) =
                (came + part.len() as u64, trace.wire_bytes + part.len() as u64);
            let n_bytes = body.bytes.len() as u64 + part.len() as u64;
            if n_bytes > self.settings.max_bytes {
                return Err(self.too_large(n_bytes));
            }
            self.make_room(body, n_bytes as usize, declared, clock).await;
            clock.excused(self.pace.pay(part.len())).await;
            body.bytes.extend_from_slice(&part);
            let least = self.settings.least_bytes_per_sec as f64 * spent.as_secs_f64();
            if spent >= SPEED_AFTER && (came as f64) < least {
                let detail = format!(
                    "{came} bytes in {:.0} s, fetch.least_bytes_per_sec is {}",
                    spent.as_secs_f64(),
                    self.settings.least_bytes_per_sec
                );
                return Err(Failure::new(FetchOutcome::Timeout, detail));
            }
        }
    }

    /// Makes `body` hold `n_bytes`, when there is memory for it. It grows step by step, whatever length was declared: what an allocator
    /// reserves at once may be memory that others have used before, and is in use then.
    async fn make_room(
        &self,
        body: &mut Body,
        n_bytes: usize,
        declared: Option<u64>,
        clock: &mut Clock,
    ) {
        let capacity = body.bytes.capacity();
        if n_bytes <= capacity {
            return;
        }
        let most = declared.map_or(usize::MAX, |length| length as usize);
        let larger = (2 * capacity).max(FIRST_BODY_BYTES).min(most).max(n_bytes);
        // Both are there while what came is moved.
        clock.excused(self.budget.grow(&mut body.held, (capacity + larger) as u64)).await;
        body.bytes.reserve_exact(larger - body.bytes.len());
        body.held.shrink(larger as u64);
    }

    fn too_large(&self, found: u64) -> Failure {
        let detail =
            format!("{found} bytes or more, fetch.max_bytes is {}", self.settings.max_bytes);
        Failure::new(FetchOutcome::TooLarge, detail)
    }
}

/// Whether only the end of the connection says where the body ends, so that a cut cannot be told from it.
fn ends_by_closing(response: &Response) -> bool {
    let headers = response.headers();
    response.version() <= Version::HTTP_11
        && response.content_length().is_none()
        && !headers.contains_key(TRANSFER_ENCODING)
}

/// Whether a picture whose format marks its end has lost it.
fn lacks_its_end(bytes: &[u8]) -> bool {
    let last = |pattern: &[u8]| bytes.windows(pattern.len()).rposition(|part| part == pattern);
    match bytes {
        // The end of the image behind the last start of a scan: a thumbnail has both too.
        [0xff, 0xd8, 0xff, ..] => last(&[0xff, 0xd9]) < last(&[0xff, 0xda]),
        [0x89, b'P', b'N', b'G', ..] => last(b"IEND").is_none(),
        [b'G', b'I', b'F', b'8', ..] => !has_trailer(bytes),
        [b'R', b'I', b'F', b'F', a, b, c, d, b'W', b'E', b'B', b'P', ..] => {
            // The last byte may be padding.
            (bytes.len() as u64) < u64::from(u32::from_le_bytes([*a, *b, *c, *d])) + 7
        }
        _ => false,
    }
}

/// Whether a GIF comes to the byte that ends it, whatever stands behind. Source: GIF89a, 17 to 27.
fn has_trailer(gif: &[u8]) -> bool {
    // The colours that a byte of flags tells of.
    let colors = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3_usize << ((flags & 7) + 1) };
    let Some(flags) = gif.get(10) else { return false };
    let mut at = 13 + colors(*flags);
    loop {
        let head = match gif.get(at..) {
            Some([b';', ..]) => return true,
            // An extension and its label; a picture, its colours, and the size of its codes.
            Some([b'!', _, ..]) => 2,
            Some([b',', _, _, _, _, _, _, _, _, flags, ..]) => 11 + colors(*flags),
            // What is neither is passed over, as PIL does.
            Some([_, ..]) => {
                at += 1;
                continue;
            }
            _ => return false,
        };
        at += head;
        // Blocks, each with its length before it, the last of none.
        while let Some(length) = gif.get(at) {
            at += 1 + usize::from(*length);
            if *length == 0 {
                break;
            }
        }
    }
}

fn undecodable(error: Undecodable) -> Failure {
    let detail = match error {
        Undecodable::TooLarge => "longer than allowed".to_owned(),
        Undecodable::Broken(detail) => detail,
    };
    Failure::new(FetchOutcome::Broken, format!("Content-Encoding: {detail}"))
}

/// What a body can be resumed by: a strong ETag or a date, from a server that does not say it cannot.
fn validator(headers: &HeaderMap) -> Option<String> {
    if headers.get(ACCEPT_RANGES).is_some_and(|value| value == "none") {
        return None;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let etag = text(ETAG).filter(|etag| etag.starts_with('"'));
    etag.or_else(|| text(LAST_MODIFIED)).map(str::to_owned)
}

/// Whether the part begins at `at`.
fn goes_on_at(headers: &HeaderMap, at: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {at}-")))
}

fn encoding_header(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = values.collect();
    (!all.is_empty()).then(|| all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_was_cut_is_told_from_one_with_something_behind() {
        // Two frames, of colours of all and of its own, with a comment before them.
        let gif = b"GIF89a\x01\0\x01\0\x81\0\0\xff\0\0\0\xff\0\0\0\0\0\0\0!\xfe\x05;note\0,\0\0\0\0\x01\0\x01\0\0\x08\x04\0\x01\x04\x04\0,\0\0\0\0\x01\0\x01\0\x80\0\0\xff\xff\xff\xff\x08\x04\0\x01\x04\x04\0;";
        assert!(!lacks_its_end(gif));
        assert!(!lacks_its_end(&[gif.as_slice(), b"<!-- ; -->"].concat()));
        for length in 6..gif.len() {
            assert!(lacks_its_end(&gif[..length]), "{length}");
        }
        let webp = b"RIFF\x0e\0\0\0WEBPVP8L\x01\0\0\0\x2f\0";
        assert!(!lacks_its_end(webp));
        assert!(!lacks_its_end(&webp[..webp.len() - 1]));
        assert!(lacks_its_end(&webp[..webp.len() - 2]));
        assert!(!lacks_its_end(&[webp.as_slice(), b"more"].concat()));
    }
}
