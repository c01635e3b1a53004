//! Unicode's compatibility forms. In: a text. Out: its NFKC (`Ａ` is `A`, `㎡` is `m2`), but for what a reader would then read otherwise:
//! numbers written as one character where one stands beside another number (`10½` is not `101⁄2`, nor `①②` `12`), an accent that stands
//! alone (`¯\_(ツ)_/¯`), an emoji (`™️`, `🈚`).

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::decompose_compatible;

use super::invisible::is_pictograph;

/// From a full-width form to its ASCII character.
const FULL_WIDTH: u32 = 0xfee0;

pub(super) fn normalized(text: &str) -> Option<String> {
    let mut is_normal = true;
    for c in text.chars() {
        match c {
            '\0'..='\u{7f}' => {}
            _ if is_always_normal(c) => {}
            '\u{ff01}'..='\u{ff5e}' | '\u{3000}' => is_normal = false,
            _ => return by_segments(text),
        }
    }
    // Nothing in it joins its neighbours.
    (!is_normal).then(|| text.chars().map(narrow).collect())
}

/// Chinese characters and punctuation, which most captions are of: the same in NFKC, and nothing to their neighbours.
fn is_always_normal(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{3001}'..='\u{3029}' | '\u{2013}'..='\u{2016}' | '\u{2018}'..='\u{201f}')
}

fn narrow(c: char) -> char {
    match c {
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - FULL_WIDTH).unwrap_or(c),
        _ => c,
    }
}

/// NFKC of what stands between characters that stay as they are.
fn by_segments(text: &str) -> Option<String> {
    let mut normal = String::with_capacity(text.len());
    let mut segment = 0;
    let numbers_stay = has_numbers_side_by_side(text);
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        if c.is_ascii() || is_always_normal(c) {
            continue;
        }
        let next = rest.clone().next().map(|(_, next)| next);
        if is_number(c) && numbers_stay || is_emoji(c, next) || is_accent(c) {
            normal.extend(text[segment..at].nfkc());
            normal.push(c);
            segment = at + c.len_utf8();
        }
    }
    normal.extend(text[segment..].nfkc());
    (normal != text).then_some(normal)
}

/// Whether a number written as one character would become part of another.
fn has_numbers_side_by_side(text: &str) -> bool {
    let is_digit = |c: char| narrow(c).is_ascii_digit();
    let mut pairs = text.chars().zip(text.chars().skip(1));
    pairs.any(|(left, right)| {
        is_number(left) && (is_number(right) || is_digit(right))
            || is_digit(left) && is_number(right)
    })
}

/// Numbers written as one character that are ASCII in NFKC: `²`, `½`, `Ⅻ`, `①`, `⒈`.
fn is_number(c: char) -> bool {
    matches!(
        c,
        '²' | '³'
            | '¹'
            | '¼'..='¾'
            | '\u{2070}'
            | '\u{2074}'..='\u{2079}'
            | '\u{2080}'..='\u{2089}'
            | '\u{2150}'..='\u{217f}'
            | '\u{2189}'
            | '\u{2460}'..='\u{2473}'
            | '\u{2488}'..='\u{249b}'
            | '\u{24ea}'
            | '\u{3251}'..='\u{325f}'
            | '\u{32b1}'..='\u{32bf}'
    )
}

/// An emoji that NFKC would make letters or Chinese characters of.
fn is_emoji(c: char, next: Option<char>) -> bool {
    match c {
        '\u{1f201}'
        | '\u{1f21a}'
        | '\u{1f22f}'
        | '\u{1f232}'..='\u{1f236}'
        | '\u{1f238}'..='\u{1f23a}'
        | '\u{1f250}'..='\u{1f251}' => true,
        _ => next == Some('\u{fe0f}') && is_pictograph(c),
    }
}

/// An accent without a letter, which NFKC puts on a blank.
fn is_accent(c: char) -> bool {
    let mut parts = 0;
    let mut is_on_blank = false;
    decompose_compatible(c, |part| {
        is_on_blank |= parts == 0 && part == ' ';
        parts += 1;
    });
    is_on_blank && parts > 1
}
