//! What cleaning changed of a caption, letter by letter. In: two texts. Out: the parts that stayed, went and came. Letters that cannot
//! be seen are named.

use maud::{Markup, html};

/// Letters of both texts, what they begin and end with alike left out, up to which they are compared letter by letter; longer ones are
/// shown one after the other.
const MOST_CELLS: usize = 4_000_000;

/// A part of the two texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Same(String),
    Gone(String),
    Come(String),
}

/// The parts of two texts.
pub(super) fn parts(before: &str, after: &str) -> Vec<Part> {
    let (a, b): (Vec<char>, Vec<char>) = (before.chars().collect(), after.chars().collect());
    let head = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let tails = a[head..].iter().rev().zip(b[head..].iter().rev());
    let tail = tails.take_while(|(a, b)| a == b).count();
    let (a_end, b_end) = (a.len() - tail, b.len() - tail);
    let mut parts = Vec::new();
    a[..head].iter().for_each(|&c| push(&mut parts, Part::Same(c.into())));
    middle(&a[head..a_end], &b[head..b_end], &mut parts);
    a[a_end..].iter().for_each(|&c| push(&mut parts, Part::Same(c.into())));
    parts
}

/// By a longest common subsequence.
fn middle(a: &[char], b: &[char], parts: &mut Vec<Part>) {
    let gone = |c: &char| Part::Gone((*c).into());
    let come = |c: &char| Part::Come((*c).into());
    if a.len().saturating_mul(b.len()) > MOST_CELLS {
        a.iter().for_each(|c| push(parts, gone(c)));
        b.iter().for_each(|c| push(parts, come(c)));
        return;
    }
    // `longest[i][j]`: of what is left of both from i and j on.
    let width = b.len() + 1;
    let mut longest = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = match a[i] == b[j] {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            push(parts, Part::Same(a[i].into()));
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            push(parts, gone(&a[i]));
            i += 1;
        } else {
            push(parts, come(&b[j]));
            j += 1;
        }
    }
    a[i..].iter().for_each(|c| push(parts, gone(c)));
    b[j..].iter().for_each(|c| push(parts, come(c)));
}

/// Adds a letter to the last part if it is of the same kind.
fn push(parts: &mut Vec<Part>, part: Part) {
    match (parts.last_mut(), part) {
        (Some(Part::Same(last)), Part::Same(text))
        | (Some(Part::Gone(last)), Part::Gone(text))
        | (Some(Part::Come(last)), Part::Come(text)) => last.push_str(&text),
        (_, part) => parts.push(part),
    }
}

/// The parts one after the other.
pub(super) fn shown(parts: &[Part]) -> Markup {
    html! {
        @for part in parts {
            @match part {
                Part::Same(text) => (visible(text)),
                Part::Gone(text) => del { (visible(text)) },
                Part::Come(text) => ins { (visible(text)) },
            }
        }
    }
}

/// A text in which letters that nothing is seen of, or that turn the direction of others, are named.
pub(super) fn visible(text: &str) -> Markup {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
    };
    let pieces = text.split_inclusive(is_hidden);
    html! {
        @for piece in pieces {
            @match piece.chars().next_back().filter(|&c| is_hidden(c)) {
                Some(hidden) => {
                    (&piece[..piece.len() - hidden.len_utf8()])
                    span.hidden-letter { (format!("U+{:04X}", u32::from(hidden))) }
                },
                None => (piece),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_two_texts_make_both() {
        for (before, after) in [
            ("", ""),
            ("红圆", "红圆"),
            ("&nbsp;<b>红圆</b> 600_600", "红圆"),
            ("abc", ""),
            ("", "abc"),
            ("aXbXc", "abc"),
            ("kitten", "sitting"),
            ("aaaa", "aa"),
        ] {
            let found = parts(before, after);
            let (mut old, mut new) = (String::new(), String::new());
            for part in &found {
                match part {
                    Part::Same(text) => {
                        old.push_str(text);
                        new.push_str(text);
                    }
                    Part::Gone(text) => old.push_str(text),
                    Part::Come(text) => new.push_str(text),
                }
            }
            assert_eq!((old.as_str(), new.as_str()), (before, after));
        }
        let long = "长".repeat(3000);
        assert_eq!(parts(&long, &"短".repeat(3000)).len(), 2);
        assert_eq!(
            parts("<b>红</b>圆", "红圆"),
            [
                Part::Gone("<b>".into()),
                Part::Same("红".into()),
                Part::Gone("</b>".into()),
                Part::Same("圆".into())
            ]
        );
    }

    #[test]
    fn hidden_letters_are_named_and_markup_is_text() {
        let shown = visible("a\u{202e}<b>\u{0}").into_string();
        assert_eq!(
            shown,
            "a<span class=\"hidden-letter\">U+202E</span>&lt;b&gt;<span class=\"hidden-letter\">U+0000</span>"
        );
    }
}
