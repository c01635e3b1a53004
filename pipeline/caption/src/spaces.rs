//! A text as WordPiece's decoder gives it, with a space between all tokens. In: that text. Out: one without spaces where Chinese and
//! Japanese have none.

/// Removes the spaces that WordPiece puts beside Chinese characters; those between Latin words stay.
pub fn remove_cjk_spaces(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut space = false;
    for c in text.chars() {
        if c.is_whitespace() {
            space = true;
            continue;
        }
        if space && joined.chars().next_back().is_some_and(|last| !is_wide(last) && !is_wide(c)) {
            joined.push(' ');
        }
        space = false;
        joined.push(c);
    }
    joined
}

/// Characters that are written without spaces: ideographs, kana, their punctuation and full-width forms.
fn is_wide(c: char) -> bool {
    matches!(c,
        '\u{2e80}'..='\u{303f}' | '\u{3040}'..='\u{30ff}' | '\u{3100}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ffef}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_beside_chinese_are_removed() {
        for (text, expected) in [
            ("家 居 设 计", "家居设计"),
            ("a red dress", "a red dress"),
            ("红 色 iphone 12 手 机", "红色iphone 12手机"),
            (" 左 上 ， 右 下 。 ", "左上，右下。"),
            ("600 _ 600", "600 _ 600"),
            ("", ""),
        ] {
            assert_eq!(remove_cjk_spaces(text), expected);
        }
    }
}
