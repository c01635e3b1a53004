//! What the tables' own words mean. In: a split or a reason as `examples` has it. Out: the same for people. The list of reasons is
//! closed (`sql/audits/split_or_reason.sql`); one that is not known here is shown as it is.

use super::lang::Lang;

/// Reasons for which there is no picture to show.
const WITHOUT_PICTURE: [&str; 6] = [
    "malformed_line",
    "no_locator",
    "not_fetched",
    "fetch_failed",
    "not_decoded",
    "image_rejected",
];

/// Whether a row that was refused for `reason` may have a picture.
pub(super) fn may_have_picture(reason: Option<&str>) -> bool {
    reason.is_none_or(|reason| !WITHOUT_PICTURE.contains(&reason))
}

/// A reason in a few words.
pub(super) fn reason(lang: Lang, reason: &str) -> &str {
    match reason {
        "malformed_line" => lang.say("broken line", "行损坏"),
        "no_locator" => lang.say("no URL, no file", "没有地址"),
        "not_fetched" => lang.say("not fetched yet", "尚未抓取"),
        "fetch_failed" => lang.say("fetch failed", "抓取失败"),
        "not_decoded" => lang.say("not decoded yet", "尚未解码"),
        "image_rejected" => lang.say("bad picture file", "图片不合格"),
        "placeholder_image" => lang.say("placeholder", "占位图"),
        "empty_caption" => lang.say("empty caption", "描述为空"),
        "short_caption" => lang.say("caption too short", "描述太短"),
        "long_caption" => lang.say("caption too long", "描述太长"),
        "duplicate_caption" => lang.say("repeated caption", "重复描述"),
        "leak" => lang.say("leak", "泄漏"),
        other => other,
    }
}

/// A reason in a sentence.
pub(super) fn reason_explained(lang: Lang, reason: &str) -> Option<&'static str> {
    Some(match reason {
        "malformed_line" => lang.say("The line of the source is broken.", "数据源的这一行是坏的。"),
        "no_locator" => lang.say("The row has neither a URL nor a file name.", "既没有 URL，也没有文件名。"),
        "not_fetched" => lang.say("Nothing was asked for yet: `tuwen fetch` does.", "还没有请求过；由 `tuwen fetch` 抓取。"),
        "fetch_failed" => lang.say("No attempt brought a picture; the attempts are below.", "没有一次尝试拿到图片，见下面的记录。"),
        "not_decoded" => lang.say("The picture waits for `tuwen decode`.", "图片还在等待 `tuwen decode`。"),
        "image_rejected" => lang.say("The file came, but no picture could be made of it.", "文件拿到了，但无法解码成图片。"),
        "placeholder_image" => lang.say(
            "The same picture stands under more different captions than curate.placeholder_captions: it is a host's “no picture here”.",
            "同一张图有超过 curate.placeholder_captions 条不同的描述，多半是网站的占位图。",
        ),
        "empty_caption" => lang.say("Nothing was left of the caption after cleaning.", "清洗之后描述为空。"),
        "short_caption" => lang.say("The clean caption has fewer characters than curate.min_chars.", "清洗后的描述少于 curate.min_chars 个字符。"),
        "long_caption" => lang.say("The clean caption has more characters than curate.max_chars.", "清洗后的描述多于 curate.max_chars 个字符。"),
        "duplicate_caption" => lang.say(
            "The same picture has the same clean caption in the same split already.",
            "同一划分里，这张图已有同样的描述。",
        ),
        "leak" => lang.say(
            "A split that is held out has the same picture, to the byte or nearly: training on it would be cheating.",
            "留出的划分里已有同一张图（逐字节相同，或几乎相同）；拿来训练等于泄题。",
        ),
        _ => return None,
    })
}

/// A split in a sentence.
pub(super) fn split_explained(lang: Lang, split: &str) -> &'static str {
    match split {
        "train" => lang.say("It is trained on.", "用于训练。"),
        "validation" => lang.say("It is held out, to choose a model by.", "留出，用来挑选模型。"),
        "test" => {
            lang.say("It is held out, to judge the chosen model by.", "留出，用来评测选定的模型。")
        }
        _ => lang.say("It is in a split of your own.", "属于自定义的划分。"),
    }
}
