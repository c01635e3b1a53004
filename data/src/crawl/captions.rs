//! Captions as a crawl brings them. In: an honest caption. Out: it with something wrong, what cleaning must make of it, and
//! what must become of its row. Never a picture.

use super::{Fate, KEPT, rejected};

/// Mishaps of captions, and how many of them come with 3,000 scenes.
pub const CAPTION_CASES: [(&str, usize); 12] = [
    ("size_suffix", 20),
    ("size_suffix_x", 10),
    ("entity_blank", 6),
    ("entity_in_text", 6),
    ("full_width", 6),
    ("control_characters", 6),
    ("url_in_caption", 8),
    ("line_break", 4),
    ("no_caption", 6),
    ("only_url", 4),
    ("short_caption", 4),
    ("long_caption", 4),
];

/// A caption gone wrong.
pub(super) struct BadCaption {
    /// As the CSV has it.
    pub(super) text: String,
    /// What cleaning must make of it.
    pub(super) clean_text: String,
    /// What must become of its row.
    pub(super) fate: Fate,
}

/// The honest caption `text` with the mishap `case`.
pub(super) fn bad_caption(case: &str, text: &str) -> BadCaption {
    let cleaned =
        |dirty: String| BadCaption { text: dirty, clean_text: text.to_string(), fate: KEPT };
    let changed =
        |dirty: String, clean_text: String| BadCaption { text: dirty, clean_text, fate: KEPT };
    let gone = |dirty: &str, reason| BadCaption {
        text: dirty.to_string(),
        clean_text: String::new(),
        fate: rejected(reason),
    };
    match case {
        "size_suffix" => cleaned(format!("{text}600_600")),
        "size_suffix_x" => cleaned(format!("{text} 640x464")),
        "entity_blank" => cleaned(format!("&nbsp;{text}&nbsp;&nbsp;")),
        "entity_in_text" => changed(format!("{text}&amp;{text}"), format!("{text}&{text}")),
        "full_width" => changed(format!("{text}　（ＨＤ）"), format!("{text} (HD)")),
        "control_characters" => cleaned(format!("\u{7}{text}\u{1f}")),
        "url_in_caption" => cleaned(format!("{text} http://www.example.com/a.jpg")),
        "line_break" => cleaned(format!("{text}\n")),
        "no_caption" => gone("", "empty_caption"),
        "only_url" => gone("http://www.example.com/a.jpg", "empty_caption"),
        "short_caption" => gone("图", "short_caption"),
        "long_caption" => gone(&text.repeat(30), "long_caption"),
        unknown => unreachable!("caption case {unknown} is in CAPTION_CASES but has no arm"),
    }
}
