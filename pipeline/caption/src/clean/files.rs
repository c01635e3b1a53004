//! Endings of pictures' file names. In: a text. Out: it without the ending, and without what joined it.

const ENDINGS: [&str; 11] =
    [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".jfif", ".avif", ".heic", ".tif", ".tiff"];

pub(super) fn without_ending(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(name) = before_ending(rest) {
        rest = trim_joiners(name);
    }
    (rest.len() < text.len()).then_some(rest)
}

/// What stands before the ending of a picture's file name, if `text` ends in one.
pub(super) fn before_ending(text: &str) -> Option<&str> {
    let text = text.trim_end();
    // Longer ones are no endings.
    let dot = text.len() - text.bytes().rev().take(5).position(|byte| byte == b'.')? - 1;
    let (name, ending) = text.split_at(dot);
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)).then_some(name)
}

/// `text` without the signs that joined what stood behind it.
pub(super) fn trim_joiners(text: &str) -> &str {
    text.trim_end_matches([' ', '_', '-', ',', '/', '|', '(', '[', '（', '【'])
}
