//! The rules on crawled captions, whose answers were written by hand (`tests/captions.tsv`), and what holds for any text.

use super::*;
use crate::literal::tests::random;

/// Caption, answer, and what it is an example of.
const CAPTIONS: &str = include_str!("../../tests/captions.tsv");

/// `\u{200b}` and `\t` as they are written in the table.
fn unescaped(field: &str) -> String {
    let mut text = String::new();
    let mut rest = field;
    while let Some((before, code)) = rest.split_once("\\u{") {
        let (code, after) = code.split_once('}').unwrap();
        text += before;
        text.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
        rest = after;
    }
    text + rest
}

fn captions() -> impl Iterator<Item = (String, String)> {
    CAPTIONS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        assert!(matches!(fields.len(), 2 | 3), "{line}");
        (unescaped(fields[0]), unescaped(fields[1]))
    })
}

#[test]
fn captions_are_as_a_person_would_have_written_them() {
    assert!(captions().count() >= 150);
    let wrong: Vec<String> = captions()
        .map(|(caption, expected)| (clean_caption(&caption, Rules::ALL), caption, expected))
        .filter(|(found, _, expected)| found != expected)
        .map(|(found, caption, expected)| {
            format!("{caption:?}: expected {expected:?}, found {found:?}")
        })
        .collect();
    assert!(wrong.is_empty(), "{} captions\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_rule_is_needed_and_named() {
    for rule in Rule::ALL {
        let needs = |(caption, expected): (String, String)| {
            changed_by(&caption, Rules::ALL).contains(&rule)
                && clean_caption(&caption, Rules::ALL.without(rule)) != expected
        };
        assert!(captions().any(needs), "{rule:?}");
        assert_eq!(rule.name().parse::<Rules>().unwrap(), Rules::NONE.with(rule));
    }
    assert_eq!("".parse::<Rules>().unwrap(), Rules::NONE);
    assert_eq!(" urls , tags".parse::<Rules>().unwrap().to_string(), "tags,urls");
    assert_eq!(Rules::ALL.to_string().parse::<Rules>().unwrap(), Rules::ALL);
    let error = "tags,url".parse::<Rules>().unwrap_err().to_string();
    assert_eq!(
        error,
        "expected names of caption rules (tags,entities,invisible,urls,nfkc,sizes,files,blanks) with commas between them, found `url`"
    );
}

#[test]
fn a_rule_that_is_off_changes_nothing() {
    for (caption, _) in captions() {
        assert_eq!(clean_caption(&caption, Rules::NONE), caption);
        assert!(changed_by(&caption, Rules::NONE).is_empty());
        let changing = changed_by(&caption, Rules::ALL);
        let is_clean = clean_caption(&caption, Rules::ALL) == caption;
        assert_eq!(changing.is_empty(), is_clean, "{caption}");
    }
    assert_eq!(
        changed_by("<b>红色</b>&nbsp;www.a.com，600_600", Rules::ALL),
        [Rule::Tags, Rule::Entities, Rule::Urls, Rule::Nfkc, Rule::Sizes]
    );
}

#[test]
fn nfkc_is_unicodes_but_for_what_a_reader_would_miss() {
    use unicode_normalization::UnicodeNormalization;

    let emoji = "🈁🈚🈯🈲🈳🈴🈵🈶🈸🈹🈺🉐🉑";
    for c in '\0'..=char::MAX {
        for text in [format!("中{c}国，"), format!("{c}\u{301}"), format!("e{c}　")] {
            let found = nfkc::normalized(&text).unwrap_or_else(|| text.clone());
            let expected: String = text.nfkc().collect();
            let is_accent = c != ' ' && c.nfkd().next() == Some(' ') && c.nfkd().count() > 1;
            let stays = found.contains(c) && (is_accent || emoji.contains(c));
            assert!(found == expected || stays, "{text:?}: {found:?}");
        }
        let text = format!("1{c}");
        let found = nfkc::normalized(&text).unwrap_or_else(|| text.clone());
        assert!(found == text || found == text.nfkc().collect::<String>(), "{text:?}: {found:?}");
    }
}

/// What rules cut or make, whole and in parts.
const PIECES: [&str; 66] = [
    "[img]",
    "[url=",
    "a",
    "b",
    "好",
    "7",
    " ",
    "\u{3000}",
    "600_600",
    "640x464 ",
    "５00x500",
    "*800",
    "_",
    "-",
    "(",
    ")",
    "（",
    "】",
    ".jpg",
    ".",
    "&amp;",
    "amp;",
    "&",
    "#",
    "38;",
    "lt;",
    "&lt",
    "&lt;b&gt;",
    "&#x3c;",
    "<",
    ">",
    "<b",
    "<b>",
    "</b>",
    "<br>",
    "<!--",
    "-->",
    "<script>",
    "</script>",
    "<img src=\"",
    "\"",
    "=",
    "<![CDATA[",
    "]]>",
    "<b且c>",
    "http://",
    "http：//",
    "www.",
    "ｗｗｗ．",
    "nipic.com",
    ".com",
    ".net",
    "@",
    "/",
    "，",
    "。",
    ":",
    "\u{200b}",
    "\u{200d}",
    "\u{fe0f}",
    "👩",
    "①",
    "½",
    "™",
    "\u{e0100}",
    "¨",
];

#[test]
fn cleaning_twice_is_cleaning_once() {
    let mut next = random();
    for n in 0..300_000 {
        let text: String = (0..1 + next(8)).map(|_| PIECES[next(PIECES.len())]).collect();
        // All rules, and each set of them in turn.
        let rules = if n % 2 == 0 { Rules::ALL } else { Rules((n / 2 % 256) as u8) };
        let once = clean_caption(&text, rules);
        assert_eq!(clean_caption(&once, rules), once, "{text:?} by {rules}");
        assert_eq!(changed_by(&once, rules), [], "{text:?} by {rules}");
    }
}

#[test]
fn an_attack_ends_and_leaves_nothing_to_clean() {
    let nested = (0..2_000).fold("amp;".to_owned(), |inner, _| format!("&#38{inner}"));
    let times = |piece: &str| piece.repeat(100_000);
    for attack in [
        format!("&{}lt;", times("amp;")),
        format!("{}b{}", times("<"), times("b>")),
        nested,
        times("<a "),
        times("<a href=\""),
        times("<!-"),
        times("</b "),
        times("a-"),
        times("a."),
        times("a@"),
        times("http:"),
        times("http://("),
        times("(www.a.com"),
        times("[url=http://"),
        times("http://a]"),
        times("www.a,"),
        times("www.a.com,"),
        times(" ") + &times("www.a.com "),
        times("www。"),
        times("600_600 "),
        times("(600x600"),
        times(".jpg"),
        times("👩\u{200d}"),
        times("①"),
        times("e\u{301}\u{323}"),
        times("<![CDATA["),
        times("<script>"),
    ] {
        let once = clean_caption(&attack, Rules::ALL);
        assert_eq!(clean_caption(&once, Rules::ALL), once);
    }
}
