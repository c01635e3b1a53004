//! What nodes of the flow are called, and how much of all they are. In: a node, a stage, numbers. Out: texts in a language.

use super::super::lang::Lang;
use super::super::outcomes::outcome;
use super::super::words::{reason_explained, split_explained};
use super::flow::{Node, Stage};

/// What a node is called on the page.
pub(super) fn name(node: &Node, lang: Lang) -> String {
    match (node.stage, node.name.as_str()) {
        (Stage::Fetch, "got") => lang.say("picture got", "拿到图片").to_owned(),
        (Stage::Decode, "decoded") => lang.say("decoded", "已解码").to_owned(),
        (_, name) => name.to_owned(),
    }
}

pub(super) fn stage_name(stage: Stage, lang: Lang) -> &'static str {
    match stage {
        Stage::Source => lang.say("Sources", "数据源"),
        Stage::Fetch => lang.say("Fetch", "抓取"),
        Stage::Decode => lang.say("Decode", "解码"),
        Stage::Curate => lang.say("Curate", "整理"),
    }
}

/// What a node means, where that is known.
pub(super) fn meaning(node: &Node, lang: Lang) -> &'static str {
    let known = match node.stage {
        Stage::Source => None,
        Stage::Curate if node.is_kept => Some(split_explained(lang, &node.name)),
        _ if node.name == "not_curated" => {
            Some(lang.say("The pair waits for `tuwen curate`.", "这一对还在等待 `tuwen curate`。"))
        }
        _ => outcome(lang, &node.name).or_else(|| reason_explained(lang, &node.name)),
    };
    known.unwrap_or_default()
}

/// `12.3 %`; what is there is never 0 %, and what is missing never 100 %.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let percent = part as f64 / whole.max(1) as f64 * 100.0;
    match percent {
        _ if part == 0 || part == whole => format!("{percent:.0} %"),
        ..0.05 => "< 0.1 %".to_owned(),
        99.95.. => "> 99.9 %".to_owned(),
        _ => format!("{percent:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_nothing() {
        for (part, whole, expected) in [
            (0, 10, "0 %"),
            (10, 10, "100 %"),
            (1, 1_000_000, "< 0.1 %"),
            (999_999, 1_000_000, "> 99.9 %"),
            (1, 3, "33.3 %"),
            (0, 0, "0 %"),
        ] {
            assert_eq!(percent(part, whole), expected);
        }
    }
}
