//! HTML's character references. In: a text. Out: it with each read as browsers read it in running text: also without its semicolon
//! where HTML allows that, and Windows' characters for the numbers 128 to 159. `AT&T` and `a&b=c` are none.

use std::convert::Infallible;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

const ESCAPED: &str = "&amp;";

pub(super) fn decoded(text: &str) -> Option<String> {
    if !has_reference(text) {
        return None;
    }
    let mut decoded = String::with_capacity(text.len());
    // What stands before a `<` is never a tag, so that the tokenizer finds nothing but text.
    for piece in text.split_inclusive('<') {
        let (piece, bracket) = match piece.strip_suffix('<') {
            Some(piece) => (piece, "<"),
            None => (piece, ""),
        };
        match has_reference(piece) {
            true => decode(piece, &mut decoded),
            false => decoded.push_str(piece),
        }
        decoded.push_str(bracket);
    }
    (decoded != text).then_some(decoded)
}

/// Whether there can be one.
fn has_reference(text: &str) -> bool {
    text.as_bytes()
        .windows(2)
        .any(|pair| pair[0] == b'&' && (pair[1] == b'#' || pair[1].is_ascii_alphabetic()))
}

fn decode(piece: &str, decoded: &mut String) {
    // Escaped again and again (`&amp;amp;lt;`), it is decoded in one go.
    let mut text = String::with_capacity(piece.len());
    let mut rest = piece;
    while let Some(at) = rest.find(ESCAPED) {
        text.push_str(&rest[..at + ESCAPED.len()]);
        rest = rest[at + ESCAPED.len()..].trim_start_matches("amp;");
    }
    text.push_str(rest);
    let emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| {
        if let CallbackEvent::String { value } = event {
            decoded.push_str(&String::from_utf8_lossy(value));
        }
        None::<Infallible>
    });
    let Ok(()) = Tokenizer::new_with_emitter(text.as_str(), emitter).finish();
}
