//! Caption cleaning. In: a caption as crawled. Out: what a person would have written. Cleaning twice is cleaning once.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

/// Rounds after which a caption that still changes is an attack on the cleaner; each round undoes one layer of escaping.
const MAX_ROUNDS: usize = 8;

static TAG: LazyLock<Regex> = LazyLock::new(|| pattern(r"</?[A-Za-z][^<>]{0,200}>"));
static URL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)(?:https?|ftp)://[\x21-\x7e]+|\bwww\.[\x21-\x7e]+|\b[a-z0-9][a-z0-9.-]*\.(?:com|cn|net|org)(?:/[\x21-\x7e]*|\b)",
    )
});
// The crawl's picture sizes: two numbers of three or four digits joined by _, x, X, × or *, at the end.
static SIZE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?:^|[^0-9A-Za-z.])(?P<size>[1-9][0-9]{2,3}\s?[_xX×*]\s?[1-9][0-9]{2,3}(?:\s?px)?)(?:\.(?i:jpe?g|png|webp|gif|bmp))?\s*$",
    )
});
static FILE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\.(?:jpe?g|png|webp|gif|bmp)\s*$"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is well formed")
}

/// NFKC; HTML entities, tags, control and invisible characters, URLs, and the crawl's size suffixes (`600_600`, `640x464`)
/// taken out; white space folded to single blanks and trimmed.
pub fn clean_caption(caption: &str) -> String {
    let mut clean = caption.to_owned();
    for _ in 0..MAX_ROUNDS {
        let next = once(&clean);
        if next == clean {
            break;
        }
        clean = next;
    }
    clean
}

fn once(caption: &str) -> String {
    let text = html_escape::decode_html_entities(caption);
    let text: String = text.nfkc().collect();
    // Most captions have nothing of these, which is seen sooner without a pattern.
    let text = match text.contains('<') {
        true => TAG.replace_all(&text, " "),
        false => Cow::Borrowed(text.as_str()),
    };
    let text = match text.contains(['.', ':']) {
        true => URL.replace_all(&text, " "),
        false => text,
    };
    let text: String = text.chars().filter_map(visible).collect();
    let text = fold_blanks(&text);
    let text = strip_size(&text);
    fold_blanks(&text)
}

/// White space becomes a blank; what cannot be seen goes.
fn visible(c: char) -> Option<char> {
    match c {
        _ if c.is_whitespace() => Some(' '),
        _ if c.is_control() => None,
        // Zero-width, bidirectional and other format characters, variation selectors, the replacement character, private use.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffd}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{e0000}'..='\u{10ffff}' => None,
        _ => Some(c),
    }
}

fn fold_blanks(text: &str) -> String {
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Takes sizes and file endings off the end, however many follow each other.
fn strip_size(text: &str) -> Cow<'_, str> {
    let mut rest = text;
    loop {
        let end = match SIZE.captures(rest).and_then(|found| found.name("size")) {
            Some(size) => size.start(),
            None => match FILE.find(rest) {
                Some(ending) => ending.start(),
                None => return Cow::Borrowed(rest),
            },
        };
        rest = rest[..end].trim_end_matches([' ', '_', '-', ',', '(', '[', '/']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans() {
        for (caption, expected) in [
            ("家居起居室设计装修600_600", "家居起居室设计装修"),
            ("书法书法作品 640_464", "书法书法作品"),
            ("书法作品 640x464", "书法作品"),
            ("书法作品640×464.jpg", "书法作品"),
            ("作品(800*600", "作品"),
            ("作品 800x600 640x480", "作品"),
            ("A&amp;B &lt;i&gt;好&lt;/i&gt;", "A&B 好"),
            ("&amp;amp;", "&"),
            ("ＡＢＣ　１２３", "ABC 123"),
            ("好\u{200b}看\u{0}\t的\n图", "好看 的 图"),
            ("见 https://a.cn/x?y=1 图", "见 图"),
            ("看 www.baidu.com 吧", "看 吧"),
            ("挂画 30x40", "挂画 30x40"),
            ("  ", ""),
            ("100_500", ""),
            ("iPhone 12", "iPhone 12"),
            ("2022年 3x3 篮球", "2022年 3x3 篮球"),
            ("1920x1080分辨率壁纸", "1920x1080分辨率壁纸"),
            ("4:3", "4:3"),
        ] {
            assert_eq!(clean_caption(caption), expected, "{caption}");
        }
    }

    #[test]
    fn cleaning_twice_is_cleaning_once() {
        // Every caption of up to four of these pieces.
        let pieces = [
            "a",
            "600_600",
            "640x464 ",
            "&amp;",
            "amp;",
            "&lt;b&gt;",
            "http://x",
            ".jpg",
            "好",
            " ",
            "lt;",
            "\u{3000}",
            "(",
            "５00x500",
        ];
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    for d in ["", "100x200", "&amp;lt;"] {
                        let once = clean_caption(&[a, b, c, d].concat());
                        assert_eq!(clean_caption(&once), once, "{a}{b}{c}{d}");
                    }
                }
            }
        }
    }
}
