//! White space. In: a text. Out: single blanks between words, none at the ends.

pub(super) fn folded(text: &str) -> Option<String> {
    // A text that begins after a blank and ends before one.
    let mut after_blank = true;
    let is_folded = text.chars().all(|c| {
        let is_first_blank = c == ' ' && !after_blank;
        after_blank = c.is_whitespace();
        !after_blank || is_first_blank
    });
    if is_folded && (text.is_empty() || !after_blank) {
        return None;
    }
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}
