//! The encoding of a source's text. In: its bytes, and what a person says it is. Out: how they are read, or a refusal that says
//! what to set; the same text in UTF-8. Never decides by a file's name, and never reads text in an encoding that is a mere guess.

use std::fmt;
use std::io::{self, Write};

use anyhow::{Result, anyhow};
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{
    BIG5, DecoderResult, Encoding, GB18030, GBK, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE,
};

/// Bytes of lines that are not UTF-8 by which their encoding is told.
const SAMPLE_BYTES: usize = 1 << 20;

/// Lines that may not decode in a file, though they are many beside the others.
const FEW_LINES: u64 = 20;

/// Share of the characters of a Chinese text that are common ones in the encoding that it is in: some 98 %. In another encoding they
/// are about half, since common characters stand in one part of each table.
const LEAST_COMMON: f64 = 0.75;

/// Bytes of text, without ASCII, below which the encoding of an alphabet is hardly told from two Chinese characters.
const FEW_BYTES: usize = 100;

/// From this byte on one of UTF-8 begins a character of three bytes. Short texts of GB 2312 may be UTF-8 by chance, but hardly with
/// those.
const THREE_BYTES: u8 = 0xe0;

/// Written for what does not decode: a byte that UTF-8 never has, so that the line is malformed wherever it ends.
const UNDECODABLE: u8 = 0xff;

/// Bytes of UTF-8 written at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Why the encoding is not known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unclear {
    /// Lines of UTF-8, and lines of something else.
    Mixed {
        /// Those of UTF-8, without those of ASCII alone.
        utf8: u64,
        /// The others.
        other: u64,
        /// What the others look like.
        looks_like: &'static str,
    },
    /// What it looks like, with nothing beside that to say so.
    Guess(&'static str),
    /// UTF-32, or bytes that are no text.
    NoText(&'static str),
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mixed { utf8, other, looks_like } => write!(
                f,
                "expected one encoding, found {utf8} lines of UTF-8 and {other} of what looks like {looks_like}\n\
                 hint: --encoding utf-8 takes the latter for malformed lines, --encoding {looks_like} reads all as that"
            ),
            Self::Guess(looks_like @ ("gb18030" | "Big5")) => write!(
                f,
                "expected UTF-8, UTF-16, or enough text to tell GB18030 and Big5 by, found what may be {looks_like}\n\
                 hint: --encoding {looks_like}, if that is what it is"
            ),
            Self::Guess(looks_like) => write!(
                f,
                "expected UTF-8, GB18030, Big5 or UTF-16, found what looks like {looks_like}\n\
                 hint: --encoding {looks_like}, if that is what it is"
            ),
            Self::NoText(found) => write!(
                f,
                "expected text, found {found}\nhint: save it as a CSV in UTF-8, or as Parquet"
            ),
        }
    }
}

/// The encoding that a person names; none of `auto`.
///
/// # Errors
/// There is none of that name.
pub(super) fn named(label: &str) -> Result<Option<&'static Encoding>> {
    if label.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    let found = Encoding::for_label(label.as_bytes()).filter(|encoding| *encoding != REPLACEMENT);
    found.map(Some).ok_or_else(|| {
        anyhow!(
            "ingest.encoding: expected auto, or the name of an encoding such as utf-8, gb18030, big5 or utf-16le, found `{}`",
            label.escape_debug()
        )
    })
}

/// The name of an encoding, as `--encoding` takes it.
pub(super) fn name_of(encoding: &'static Encoding) -> &'static str {
    // GBK is read as GB18030, which has all of it.
    if encoding == GBK { GB18030.name() } else { encoding.name() }
}

/// How `bytes` are read: as a byte order mark says, else as a person says, else as they themselves show.
///
/// # Errors
/// They do not show it.
pub(super) fn encoding_of(
    bytes: &[u8],
    told: Option<&'static Encoding>,
) -> Result<&'static Encoding, Unclear> {
    if bytes.starts_with(b"\xff\xfe\0\0") || bytes.starts_with(b"\0\0\xfe\xff") {
        return Err(Unclear::NoText("UTF-32"));
    }
    if let Some((marked, _)) = Encoding::for_bom(bytes) {
        return Ok(marked);
    }
    if let Some(told) = told {
        return Ok(told);
    }
    if let Some(utf16) = utf16_without_mark(&bytes[..bytes.len().min(SAMPLE_BYTES)]) {
        return Ok(utf16);
    }
    if std::str::from_utf8(bytes).is_ok() {
        return Ok(UTF_8);
    }
    of_other_lines(bytes)
}

/// UTF-16 shows by its zeros: of the letters of ASCII, of which each source has some, every second byte is one.
fn utf16_without_mark(sample: &[u8]) -> Option<&'static Encoding> {
    let zeros = |first: usize| sample.iter().skip(first).step_by(2).filter(|b| **b == 0).count();
    let (even, odd, pairs) = (zeros(0), zeros(1), sample.len() / 2);
    // U+4E00, the commonest of Chinese letters, has a zero too, at the other place.
    let is_one = |many: usize, few: usize| many * 10 >= pairs && many > 3 * few;
    match (is_one(odd, even), is_one(even, odd)) {
        _ if pairs == 0 => None,
        (true, false) => Some(UTF_16LE),
        (false, true) => Some(UTF_16BE),
        _ => None,
    }
}

/// The encoding of bytes that are not all UTF-8.
fn of_other_lines(bytes: &[u8]) -> Result<&'static Encoding, Unclear> {
    let (mut ascii, mut utf8, mut surely_utf8, mut other) = (0u64, 0, 0, 0);
    let mut sample = Vec::new();
    for line in bytes.split(|b| *b == b'\n') {
        if line.is_ascii() {
            ascii += u64::from(!line.trim_ascii().is_empty());
            continue;
        }
        if std::str::from_utf8(line).is_ok() {
            utf8 += 1;
            surely_utf8 += u64::from(line.iter().any(|b| *b >= THREE_BYTES));
            continue;
        }
        other += 1;
        if sample.len() < SAMPLE_BYTES {
            sample.extend_from_slice(&line[..line.len().min(SAMPLE_BYTES)]);
            sample.push(b'\n');
        }
    }
    // A line of UTF-8 may be damaged.
    if is_few(other, utf8) || (other == 1 && surely_utf8 > 0) {
        return Ok(UTF_8);
    }
    let (guess, is_confirmed) = guess(&sample);
    let looks_like = name_of(guess);
    if surely_utf8 * 9 > other || utf8 > other {
        return Err(Unclear::Mixed { utf8, other, looks_like });
    }
    let errors = convert(bytes, guess, io::sink()).unwrap_or(u64::MAX);
    if is_confirmed && is_few(errors, other.saturating_sub(errors)) {
        return Ok(guess);
    }
    // A file of ASCII with a damaged line says nothing of encodings; its header does not count.
    if is_few(other, ascii.saturating_sub(1)) {
        return Ok(UTF_8);
    }
    Err(Unclear::Guess(looks_like))
}

/// Whether `bad` lines are few beside `good` ones.
fn is_few(bad: u64, good: u64) -> bool {
    bad * 50 <= good || (bad <= FEW_LINES && bad * 2 <= good)
}

/// What `sample` looks like, and whether the characters that it has then are those that Chinese texts have.
fn guess(sample: &[u8]) -> (&'static Encoding, bool) {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(sample, true);
    let guess = detector.guess(None, Utf8Detection::Deny);
    let (gb18030, big5) = (common(sample, gb18030_character), common(sample, big5_character));
    let is_gb18030 = || convert(sample, GB18030, io::sink()).is_ok_and(|n_errors| n_errors == 0);
    if has_four_bytes(sample) && gb18030 >= LEAST_COMMON && is_gb18030() {
        return (GB18030, true);
    }
    let n_bytes = sample.iter().filter(|b| !b.is_ascii()).count();
    if guess.is_single_byte() && n_bytes < FEW_BYTES && gb18030 >= LEAST_COMMON && is_gb18030() {
        return (GB18030, false);
    }
    let guess = if guess == GBK { GB18030 } else { guess };
    let is_confirmed = (guess == GB18030 && gb18030 >= LEAST_COMMON && gb18030 > big5)
        || (guess == BIG5 && big5 >= LEAST_COMMON && big5 > gb18030);
    (guess, is_confirmed)
}

/// The share of characters that are common in an encoding; `character` gives the length of the one that bytes begin with, and whether it
/// is.
fn common(sample: &[u8], character: fn(&[u8]) -> (usize, bool)) -> f64 {
    let (mut n_all, mut n_common, mut rest) = (0u64, 0u64, sample);
    while let Some(start) = rest.iter().position(|b| !b.is_ascii()) {
        rest = &rest[start..];
        if rest.len() < 2 {
            break;
        }
        let (length, is_common) = character(rest);
        n_all += 1;
        n_common += u64::from(is_common);
        rest = &rest[length..];
    }
    n_common as f64 / n_all.max(1) as f64
}

/// Common ones are those of GB 2312's symbols and its first level, the 3,755 characters in common use. One of four bytes counts as
/// such: no other encoding has digits in those places.
fn gb18030_character(bytes: &[u8]) -> (usize, bool) {
    match bytes {
        [0x81..=0xfe, b'0'..=b'9', 0x81..=0xfe, b'0'..=b'9', ..] => (4, true),
        [0xa1..=0xa9 | 0xb0..=0xd7, 0xa1..=0xff, ..] => (2, true),
        _ => (2, false),
    }
}

/// Common ones are those of Big5's symbols and its first level, the 5,401 characters in common use.
fn big5_character(bytes: &[u8]) -> (usize, bool) {
    (2, matches!(bytes, [0xa1..=0xc6, 0x40..=0x7e | 0xa1..=0xfe, ..]))
}

fn has_four_bytes(sample: &[u8]) -> bool {
    sample.windows(4).any(|bytes| gb18030_character(bytes).0 == 4)
}

/// Writes `bytes` as UTF-8 without a byte order mark; returns how often they do not decode, each marked with [`UNDECODABLE`].
///
/// # Errors
/// `out` cannot be written to.
pub(super) fn convert(
    bytes: &[u8],
    encoding: &'static Encoding,
    mut out: impl Write,
) -> io::Result<u64> {
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut rest, mut n_errors) = (bytes, 0);
    loop {
        let (result, n_read, n_written) =
            decoder.decode_to_utf8_without_replacement(rest, &mut buffer, true);
        rest = &rest[n_read..];
        out.write_all(&buffer[..n_written])?;
        match result {
            DecoderResult::InputEmpty => return Ok(n_errors),
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => {
                n_errors += 1;
                out.write_all(&[UNDECODABLE])?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTIONS: &str = "text,url,filename\n红色的连衣裙放在桌子上,http://a/1,1.jpg\n北京天安门广场的夜景,http://a/2,2.jpg\n";

    fn in_encoding(text: &str, encoding: &'static Encoding) -> Vec<u8> {
        let utf16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect();
        if encoding == UTF_16LE {
            return utf16(u16::to_le_bytes);
        }
        if encoding == UTF_16BE {
            return utf16(u16::to_be_bytes);
        }
        let (bytes, _, is_lossy) = encoding.encode(text);
        assert!(!is_lossy, "{text}");
        bytes.into_owned()
    }

    #[test]
    fn encodings_are_told_and_undone() {
        let traditional =
            "text,url\n紅色的連衣裙放在桌子上,http://a/1\n臺北市的夜景非常漂亮,http://a/2\n";
        for (text, encoding) in [
            (CAPTIONS, UTF_8),
            (CAPTIONS, GB18030),
            ("text,url\n㐀㐁㐂红色,u\n😀裙子,v\n", GB18030),
            ("text,url\n𠀀𠀁,u\n", GB18030),
            (CAPTIONS, UTF_16LE),
            (CAPTIONS, UTF_16BE),
            (traditional, BIG5),
            (traditional, UTF_16LE),
            ("text,url\na cat,http://a/1\n", UTF_8),
            ("", UTF_8),
        ] {
            let bytes = in_encoding(text, encoding);
            assert_eq!(encoding_of(&bytes, None), Ok(encoding), "{text}");
            let mut utf8 = Vec::new();
            assert_eq!(convert(&bytes, encoding, &mut utf8).unwrap(), 0);
            assert_eq!(utf8, text.as_bytes());
        }
        let marked = [b"\xff\xfe".to_vec(), in_encoding(CAPTIONS, UTF_16LE)].concat();
        assert_eq!(encoding_of(&marked, Some(GB18030)), Ok(UTF_16LE));
        assert_eq!(encoding_of(&in_encoding(CAPTIONS, GB18030), Some(BIG5)), Ok(BIG5));
    }

    #[test]
    fn damaged_lines_of_utf8_do_not_make_another_encoding_of_it() {
        for (bytes, expected) in [
            ([CAPTIONS.as_bytes(), b"\xba\xec\xb5\xc4,u,f\n"].concat(), Ok(UTF_8)),
            (b"text,url\na,u\nb,u\ncaf\xe9,u\n".to_vec(), Ok(UTF_8)),
            ("text,url\n红,u\n".bytes().chain(*b"\xff\xfe,u\n").collect(), Ok(UTF_8)),
            (
                [CAPTIONS.as_bytes(), &in_encoding(CAPTIONS, GB18030)].concat(),
                Err(Unclear::Mixed { utf8: 2, other: 2, looks_like: "gb18030" }),
            ),
            (b"\xff\xfe\0\0t\0\0\0".to_vec(), Err(Unclear::NoText("UTF-32"))),
            // Its last line is UTF-8 by chance.
            (in_encoding(&format!("{CAPTIONS}联通,u\n"), GB18030), Ok(GB18030)),
        ] {
            assert_eq!(encoding_of(&bytes, None), expected);
        }
    }

    #[test]
    fn what_is_not_sure_is_refused_by_name() {
        let japanese: String =
            (0..50).map(|i| format!("赤いドレスを着た女性{i},http://a/{i}\n")).collect();
        let russian: String =
            (0..50).map(|i| format!("Красное платье на столе{i},http://a/{i}\n")).collect();
        for (text, label) in [(japanese, "shift_jis"), (russian, "windows-1251")] {
            let encoding = named(label).unwrap().unwrap();
            let bytes = in_encoding(&text, encoding);
            let unclear = encoding_of(&bytes, None).unwrap_err().to_string();
            let expected = format!("hint: --encoding {}", encoding.name());
            assert!(unclear.contains(&expected), "{unclear}");
            assert_eq!(encoding_of(&bytes, Some(encoding)), Ok(encoding));
        }
        // One character is no evidence, but this is what it would be.
        let short = encoding_of(&in_encoding("text,url\n短,u\n", GB18030), None);
        assert_eq!(short, Err(Unclear::Guess("gb18030")));
        let said = short.unwrap_err().to_string();
        assert!(said.ends_with(
            "found what may be gb18030\nhint: --encoding gb18030, if that is what it is"
        ));
        assert!(
            named("klingon").unwrap_err().to_string().starts_with("ingest.encoding: expected auto")
        );
        assert_eq!(named("AUTO").unwrap(), None);
        assert_eq!(named("GB2312").unwrap().map(name_of), Some("gb18030"));
    }

    #[test]
    fn what_does_not_decode_is_no_utf8_and_leaves_its_neighbours() {
        let mut bytes = in_encoding("红,u\n", GB18030);
        bytes.extend(b"\xb5\n");
        bytes.extend(in_encoding("圆,u\n", GB18030));
        let mut utf8 = Vec::new();
        assert_eq!(convert(&bytes, GB18030, &mut utf8).unwrap(), 1);
        assert_eq!(utf8, ["红,u\n".as_bytes(), b"\xff\n", "圆,u\n".as_bytes()].concat());
    }
}
