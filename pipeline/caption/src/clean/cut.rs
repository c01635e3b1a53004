//! What is left where something was cut out of a text. In: a text, and what goes. Out: the rest, joined as if it had never been there:
//! without brackets that held nothing else, and without what joined it to the text.

use std::ops::Range;

/// What joins an address to the text beside it.
const JOINERS: [char; 8] = ['_', '-', '–', '—', '|', '/', '·', '•'];

const BRACKETS: [&str; 14] = [
    "()", "[]", "{}", "<>", "（）", "［］", "【】", "〔〕", "《》", "〈〉", "「」", "『』", "“”",
    "‘’",
];

/// Commas and blanks between addresses that are looked behind; a longer row is no list.
const MAX_LISTING: usize = 64;

/// `text` without `addresses`, joined as if they had never been there.
pub(super) fn cut(text: &str, addresses: &[Range<usize>]) -> String {
    let mut left = String::with_capacity(text.len());
    let mut at = 0;
    for address in addresses {
        // Brackets around an earlier one may have gone.
        if address.start < at {
            continue;
        }
        left.push_str(&text[at..address.start]);
        at = address.end;
        while let Some((n_left, n_right)) = empty_brackets(&left, &text[at..]) {
            left.truncate(n_left);
            at += n_right;
        }
        // A forum's tag stands within a line.
        let is_apart = !text[address.clone()].starts_with('[');
        at += join(&mut left, &text[at..], is_apart);
    }
    left + &text[at..]
}

/// If `left` ends in a bracket that `right` closes: the bytes of `left` before it, and those of `right` up to behind it.
fn empty_brackets(left: &str, right: &str) -> Option<(usize, usize)> {
    // Nor is a list left of addresses that were one.
    let is_listing = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '，' | '、' | '；');
    let listing = left.char_indices().rev().take(MAX_LISTING).take_while(|(_, c)| is_listing(*c));
    let outside = &left[..listing.last().map_or(left.len(), |(at, _)| at)];
    let opening = outside.chars().next_back()?;
    let inside = right.trim_start_matches(is_listing);
    let closing = inside.chars().next()?;
    let is_pair = BRACKETS.iter().any(|pair| pair.chars().eq([opening, closing]));
    // Quotes that look alike may be others' ends.
    let is_quote = left.ends_with(['"', '\'']) && right.starts_with(opening);
    let n_right = right.len() - inside.len() + closing.len_utf8();
    (is_pair || is_quote).then_some((outside.len() - opening.len_utf8(), n_right))
}

/// Makes `left` fit to what follows; gives the bytes of `right` that go. `is_apart`: whether words on both sides are.
fn join(left: &mut String, right: &str, is_apart: bool) -> usize {
    let after = right.trim_start();
    let blanks = right.len() - after.len();
    let n_outside = left.trim_end().len();
    if left.len() > n_outside {
        // One blank is enough, however many there are.
        left.truncate(n_outside);
        left.push(' ');
    }
    let outside = left.trim_end();
    if after.is_empty() {
        left.truncate(outside.trim_end_matches(JOINERS).trim_end().len());
        return right.len();
    }
    if outside.is_empty() {
        left.clear();
        return right.len() - after.trim_start_matches(JOINERS).trim_start().len();
    }
    let next = after.chars().next().unwrap_or(' ');
    // One joiner is left of the two around an address.
    if JOINERS.contains(&next) && outside.ends_with(next) {
        return blanks + next.len_utf8();
    }
    if is_closing(next) {
        left.truncate(outside.len());
        return blanks;
    }
    if left.len() > outside.len() {
        return blanks;
    }
    let is_word = |c: char| c.is_alphanumeric();
    if is_apart && blanks == 0 && is_word(next) && outside.ends_with(is_word) {
        left.push(' ');
    }
    0
}

fn is_closing(c: char) -> bool {
    ",.;:!?)]}，。、；：！？）】》」』”…".contains(c)
}
