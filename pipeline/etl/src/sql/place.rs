//! A place in a text of SQL. In: a line and a column. Out: the line, or what is around the place of a long one, and a caret below.

use std::fmt;

use datafusion::sql::sqlparser::tokenizer::Location;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of a terminal that are shown of a line before and behind the caret.
const SHOWN_WIDTH: usize = 60;

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of its line, from 1 on.
    pub number: u64,
    /// The line up to it.
    pub before: String,
    /// The line from it on.
    pub after: String,
}

impl Place {
    /// The place of `text` in line and column, from 1 on.
    pub(super) fn of(text: &str, location: Location) -> Self {
        let line = text.lines().nth(location.line.saturating_sub(1) as usize).unwrap_or_default();
        let column = location.column.saturating_sub(1) as usize;
        let at = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
        let shown = |part: &str| part.replace('\t', " ");
        Self { number: location.line, before: shown(&line[..at]), after: shown(&line[at..]) }
    }
}

impl fmt::Display for Place {
    /// The line, or the part of it around the place, and a caret below.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut width, mut from) = (0, self.before.len());
        for (at, c) in self.before.char_indices().rev() {
            width += c.width().unwrap_or(0);
            if width > SHOWN_WIDTH {
                break;
            }
            from = at;
        }
        let (mut width, mut to) = (0, 0);
        for (at, c) in self.after.char_indices() {
            width += c.width().unwrap_or(0);
            if width > SHOWN_WIDTH {
                break;
            }
            to = at + c.len_utf8();
        }
        let cut = |is_cut: bool| if is_cut { "…" } else { "" };
        let start = format!("LINE {}: {}{}", self.number, cut(from > 0), &self.before[from..]);
        writeln!(f, "{start}{}{}", &self.after[..to], cut(to < self.after.len()))?;
        write!(f, "{:1$}^", "", start.width())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_below_its_character_whatever_the_width() {
        let place =
            |text: &str, line, column| Place::of(text, Location { line, column }).to_string();
        assert_eq!(place("select *\nfrom\timage", 2, 6), "LINE 2: from image\n             ^");
        assert_eq!(
            place("select '图', x", 1, 13),
            "LINE 1: select '图', x\n                     ^"
        );
        assert_eq!(place("select", 1, 7), "LINE 1: select\n              ^");
        let long = format!("{}x{}", "a".repeat(100), "b".repeat(100));
        let shown = place(&long, 1, 101);
        assert!(shown.starts_with("LINE 1: …aaa") && shown.contains("axb"), "{shown}");
        let (line, caret) = shown.split_once('\n').unwrap();
        assert_eq!(line.chars().nth(caret.len() - 1), Some('x'));
    }
}
