//! The picture's own size, as crawls put it at the end of captions (`600_600`, `640x464`). In: a text. Out: it without the size, what
//! joined it, and the brackets around it. The size of what is shown stays (`地毯 120*200`, `1200*800*750`, `尺寸640x464`), and so do
//! years and model numbers (`1990_2000`, `GTX1080x2000`, `6300_3310`).

use super::files::{before_ending, trim_joiners};

/// Words that say that numbers behind them are of the thing shown.
const DIMENSIONS: [&str; 16] = [
    "尺寸",
    "规格",
    "大小",
    "长宽",
    "宽高",
    "高宽",
    "面积",
    "型号",
    "编号",
    "货号",
    "分辨率",
    "像素",
    "约",
    "size",
    "Size",
    "SIZE",
];

/// The sides of pictures that are also written with `*`, the sign of a thing's size; the longer one first.
const STANDARD: [(u32, u32); 34] = [
    (480, 320),
    (640, 360),
    (640, 480),
    (720, 480),
    (720, 576),
    (800, 480),
    (800, 600),
    (854, 480),
    (960, 540),
    (960, 640),
    (1024, 576),
    (1024, 600),
    (1024, 768),
    (1080, 720),
    (1152, 864),
    (1280, 720),
    (1280, 800),
    (1280, 960),
    (1280, 1024),
    (1440, 900),
    (1440, 1080),
    (1600, 900),
    (1600, 1200),
    (1680, 1050),
    (1920, 1080),
    (1920, 1200),
    (2048, 1536),
    (2160, 1080),
    (2160, 1440),
    (2340, 1080),
    (2400, 1080),
    (2560, 1440),
    (2560, 1600),
    (3840, 2160),
];

/// Sides of 1,000 pixels and more that many pictures have.
const LARGE_SIDES: [u32; 34] = [
    1000, 1024, 1080, 1136, 1152, 1200, 1242, 1280, 1334, 1366, 1400, 1440, 1500, 1536, 1600, 1680,
    1800, 1920, 2000, 2048, 2160, 2340, 2400, 2436, 2448, 2560, 2592, 3000, 3024, 3072, 3264, 3840,
    4000, 4032,
];

/// No picture of a crawl that says its size by `_` is larger.
const LONGEST_SIDE: u32 = 4096;

/// Paper's millimetres that are no whole tens.
const PAPER: [(u32, u32); 3] = [(594, 420), (841, 594), (1189, 841)];

pub(super) fn without_size(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(before) = before_size(rest) {
        rest = trim_joiners(before);
    }
    (rest.len() < text.len()).then_some(rest)
}

/// What stands before a picture's size, if `text` ends in one.
fn before_size(text: &str) -> Option<&str> {
    let mut text = text.trim_end();
    let mut is_surely_picture = false;
    if let Some(before) = before_ending(text) {
        text = before.trim_end();
        is_surely_picture = true;
    }
    let bracket = text.chars().next_back().and_then(opening);
    if bracket.is_some() {
        text = text[..text.len() - text.chars().next_back()?.len_utf8()].trim_end();
    }
    let unit = text.len().checked_sub(2).filter(|at| text.is_char_boundary(*at));
    if let Some(at) = unit.filter(|at| text[*at..].eq_ignore_ascii_case("px")) {
        text = text[..at].trim_end();
        is_surely_picture = true;
    }
    let (text, height) = before_side(text)?;
    let text = strip_blank(text);
    let joiner = text.chars().next_back().filter(|c| matches!(c, '_' | 'x' | 'X' | '×' | '*'))?;
    let (before, width) = before_side(strip_blank(&text[..text.len() - joiner.len_utf8()]))?;
    let before = match bracket {
        Some(bracket) => before.trim_end().strip_suffix(bracket)?,
        None => before,
    };
    let is_picture = is_surely_picture || is_picture(joiner, width, height);
    (is_picture && ends_before_size(before, is_surely_picture)).then_some(before)
}

/// Whether numbers joined so are the size of a picture, as far as they themselves can say.
fn is_picture(joiner: char, width: u32, height: u32) -> bool {
    match joiner {
        // Not 1990_2000, nor a date, nor two models (6300_3310, 737_747).
        '_' => {
            let is_year = |n: u32| (1900..2100).contains(&n);
            let is_day = (10..=12).contains(&(height / 100)) && (1..=31).contains(&(height % 100));
            let is_period = is_year(width) && is_year(height) && width < height;
            let is_date = (1990..2040).contains(&width) && is_day;
            let is_side = is_common_side(width) || is_common_side(height);
            is_side && width.max(height) <= LONGEST_SIDE && !is_period && !is_date
        }
        // Below are centimetres: of a rug, a bed sheet.
        _ if width.min(height) < 300 => false,
        // Furniture's millimetres are whole tens.
        '*' | '×' => {
            let sides = (width.max(height), width.min(height));
            let is_whole = width.is_multiple_of(10) && height.is_multiple_of(10);
            STANDARD.contains(&sides) || !is_whole && !PAPER.contains(&sides)
        }
        _ => true,
    }
}

/// Whether pictures often have a side of so many pixels: whole tens, or blocks of a video; of the large ones those of screens and cameras.
fn is_common_side(side_px: u32) -> bool {
    match side_px {
        0..1000 => side_px.is_multiple_of(10) || side_px.is_multiple_of(64),
        _ => LARGE_SIDES.contains(&side_px),
    }
}

/// Whether what stands before two numbers lets them be a picture's size.
fn ends_before_size(before: &str, is_surely_picture: bool) -> bool {
    let trimmed = before.trim_end();
    // A third number before them, whatever joins it.
    let chain = trimmed.trim_end_matches(['*', '×', '_', '-', '/', 'x', 'X']);
    if chain.len() < trimmed.len() && chain.trim_end().ends_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let says_dimension = trimmed.trim_end_matches([':', '：', ' ', '(', '（', '是', '为']);
    if DIMENSIONS.iter().any(|word| says_dimension.ends_with(word)) {
        return false;
    }
    let mut backwards = before.chars().rev();
    match backwards.next() {
        None => true,
        // Part of a name or number, unless it is a file's.
        Some('_' | '-' | '.') => match backwards.next() {
            Some(c) if c.is_ascii_uppercase() => is_surely_picture,
            Some(c) => !c.is_ascii_digit(),
            None => true,
        },
        Some(' ') => !trimmed.ends_with(['*', '×', '=', '+', ':']),
        Some(c) => !c.is_ascii_alphanumeric() && !"@*×=+:：~≈≥≤<>$¥#%".contains(c),
    }
}

/// The number of three or four digits that `text` ends in, and what stands before it.
fn before_side(text: &str) -> Option<(&str, u32)> {
    let before = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &text[before.len()..];
    let is_side = matches!(digits.len(), 3 | 4) && !digits.starts_with('0');
    is_side.then(|| digits.parse().ok()).flatten().map(|side| (before, side))
}

fn strip_blank(text: &str) -> &str {
    text.strip_suffix(' ').unwrap_or(text)
}

/// The bracket that `closing` closes.
fn opening(closing: char) -> Option<char> {
    Some(match closing {
        ')' => '(',
        ']' => '[',
        '）' => '（',
        '】' => '【',
        _ => return None,
    })
}
