//! What cannot be seen. In: a text. Out: it without control, zero-width, bidirectional and private-use characters, and without the
//! commands to terminals that the first begin. Those that make
//! one emoji of several characters, or choose how one is drawn, stay where they do that; so do selectors of a Chinese character's
//! form: they are how one writes a name's rare form, and the character itself is the same without them only to a machine.
//! Never touches white space.

use std::sync::LazyLock;

use regex::Regex;

/// Begins a command to a terminal.
const ESCAPE: char = '\u{1b}';

const JOINER: char = '\u{200d}';
const FLAG: char = '\u{1f3f4}';
const END_OF_TAGS: char = '\u{e007f}';

static PICTOGRAPH: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\p{Extended_Pictographic}$").expect("the pattern is well formed")
});

pub(super) fn without_invisible(text: &str) -> Option<String> {
    if !text.chars().any(is_invisible) {
        return None;
    }
    let mut visible = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == ESCAPE {
            rest = without_command(rest.as_str()).chars();
            continue;
        }
        let next = rest.clone().next();
        let before = visible.chars().next_back();
        if !is_invisible(c) || is_part_of_character(before, c, next) {
            visible.push(c);
        }
        // The flags of England, Scotland, Wales: a black flag, letters that cannot be seen, and their end.
        if c == FLAG {
            let tags = rest.as_str().trim_start_matches(is_tag);
            let n_bytes = rest.as_str().len() - tags.len();
            if n_bytes > 0 && tags.starts_with(END_OF_TAGS) {
                visible.push_str(&rest.as_str()[..n_bytes]);
                visible.push(END_OF_TAGS);
                rest = tags[END_OF_TAGS.len_utf8()..].chars();
            }
        }
    }
    (visible.len() < text.len()).then_some(visible)
}

/// What follows the rest of a control sequence (ECMA-48, 5.4: CSI), such as `[31m` behind the escape that a terminal takes for red; all of
/// `text` if it does not begin with one.
fn without_command(text: &str) -> &str {
    let Some(parameters) = text.strip_prefix('[') else { return text };
    let intermediate = parameters.trim_start_matches(|c| matches!(c, '0'..='?'));
    let end = intermediate.trim_start_matches(|c| matches!(c, ' '..='/'));
    match end.chars().next() {
        Some('@'..='~') => &end[1..],
        // It may have been cut off.
        None => end,
        Some(_) => text,
    }
}

fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0020}'..='\u{e007e}')
}

/// Whether `c`, which cannot be seen, makes one character of those beside it.
fn is_part_of_character(before: Option<char>, c: char, next: Option<char>) -> bool {
    let Some(before) = before else { return false };
    match c {
        // Drawn in colour, or not; a digit so on a key.
        '\u{fe0e}' | '\u{fe0f}' => {
            is_pictograph(before)
                || matches!(before, '0'..='9' | '#' | '*') && next == Some('\u{20e3}')
        }
        JOINER => {
            let is_emoji = before == '\u{fe0f}'
                || matches!(before, '\u{1f3fb}'..='\u{1f3ff}')
                || is_pictograph(before);
            is_emoji && next.is_some_and(is_pictograph)
        }
        '\u{e0100}'..='\u{e01ef}' => is_ideograph(before),
        _ => false,
    }
}

/// Whether `c` is an emoji or what can be drawn as one.
pub(super) fn is_pictograph(c: char) -> bool {
    PICTOGRAPH.is_match(c.encode_utf8(&mut [0; 4]))
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn is_invisible(c: char) -> bool {
    match c {
        ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{3000}'..='\u{3163}' | '\u{3400}'..='\u{9fff}' => false,
        _ if c.is_control() => !c.is_whitespace(),
        // Soft hyphen; joiners and fillers; marks of direction; the replacement character.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffd}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        // Tags, selectors; private use: icons of some page's own font.
        | '\u{e0000}'..='\u{e0fff}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{f0000}'..='\u{10ffff}'
        // Not characters.
        | '\u{fdd0}'..='\u{fdef}' => true,
        _ => u32::from(c) & 0xfffe == 0xfffe,
    }
}
