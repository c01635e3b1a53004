//! Text that says what it is. In: text of anybody, or bytes on their way to a terminal. Out: the same, with an escape for each
//! character that would move the cursor, colour what follows or turn it around: `\x1b`, `\u{202e}`.

use std::borrow::Cow;
use std::io::{self, Write};

/// `text` with escapes; ends of lines and tabs stay.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if !is_hidden(c) => shown.push(c),
            c if c.is_ascii() => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => shown.extend(c.escape_unicode()),
        }
    }
    shown.into()
}

/// Controls (C0 and C1), and the marks, embeddings, overrides and isolates of the bidirectional algorithm.
fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes text to a terminal, with escapes.
pub(crate) struct Visible<W> {
    out: W,
    /// The beginning of a character whose rest comes with the next bytes.
    begun: Vec<u8>,
}

impl<W> Visible<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, begun: Vec::new() }
    }

    /// What is written to; a character that was only begun is dropped.
    pub(crate) fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            // No text at all: its bytes are shown as far as they are.
            Err(_) => self.begun.len(),
        };
        let rest = self.begun.split_off(whole);
        self.out.write_all(visible(&String::from_utf8_lossy(&self.begun)).as_bytes())?;
        self.begun = rest;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [(&str, &str); 6] = [
        ("红圆\tb\n", "红圆\tb\n"),
        ("\u{1b}[31mred", "\\x1b[31mred"),
        ("a\rb\u{7f}\0", "a\\x0db\\x7f\\x00"),
        ("\u{9b}31m", "\\u{9b}31m"),
        ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
        ("👩\u{200d}🚀 e\u{301}", "👩\u{200d}🚀 e\u{301}"),
    ];

    #[test]
    fn what_moves_the_cursor_is_escaped() {
        for (text, expected) in TEXTS {
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn bytes_may_come_one_by_one() {
        for (text, expected) in TEXTS {
            let mut out = Visible::new(Vec::new());
            for byte in text.as_bytes() {
                assert_eq!(out.write(std::slice::from_ref(byte)).unwrap(), 1);
            }
            assert_eq!(String::from_utf8(out.into_inner()).unwrap(), expected);
        }
    }
}
