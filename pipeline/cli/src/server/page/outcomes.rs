//! What fetch and decode said, in words. In: an outcome or a reason as `originals` or `images` has it. Out: a few words in each language;
//! docs/outcomes.md says it at length, `words.rs` what curate says.

use super::lang::Lang;

/// Outcome or reason, English, Chinese; of fetch, then of decode.
const WORDS: [(&str, &str, &str); 27] = [
    ("http_status", "the server said no", "服务器拒绝"),
    ("rate_limited", "the host wants to be asked less", "主机要求少请求"),
    ("server_error", "the server had an error", "服务器出错"),
    ("timeout", "it took too long", "超时"),
    ("unknown_host", "the name has no address", "域名没有地址"),
    ("dns", "no name server answered", "没有域名服务器应答"),
    ("connect", "no connection", "无法连接"),
    ("tls", "no encrypted connection", "无法加密连接"),
    ("broken", "the answer is no HTTP", "应答不是 HTTP"),
    ("truncated", "it broke off", "中途断开"),
    ("empty", "an answer without a byte", "应答为空"),
    ("not_an_image", "it is no picture", "不是图片"),
    ("too_large", "more bytes than are allowed", "超过字节上限"),
    ("too_many_redirects", "too many redirects", "重定向过多"),
    ("bad_url", "no http or https URL", "不是 http(s) 网址"),
    ("private_host", "the address is not public", "不是公网地址"),
    ("robots_disallowed", "robots.txt forbids it", "robots.txt 禁止"),
    ("robots_unavailable", "robots.txt cannot be read", "robots.txt 无法读取"),
    ("opted_out", "X-Robots-Tag forbids to keep it", "X-Robots-Tag 禁止保存"),
    ("host_down", "the host does not answer", "主机没有应答"),
    ("missing_file", "the folder has no such file", "文件夹里没有这个文件"),
    ("unreadable", "the file cannot be read", "文件无法读取"),
    ("not_modified", "it is still the same", "没有变化"),
    ("too_many_pixels", "more pixels than are allowed", "超过像素上限"),
    ("unsupported_format", "a kind of picture that is not decoded", "不支持的图片种类"),
    ("out_of_memory", "decoding it would take too much memory", "解码需要太多内存"),
    ("corrupt", "the file is damaged", "文件损坏"),
];

/// What `outcome` means; nothing if it is none of ours.
pub(super) fn outcome(lang: Lang, outcome: &str) -> Option<&'static str> {
    let found = WORDS.iter().find(|(name, ..)| *name == outcome);
    found.map(|(_, en, zh)| lang.say(en, zh))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tuwen_etl::fetch::FetchOutcome;
    use tuwen_image::RejectReason;

    #[test]
    fn every_reason_has_words_in_both_languages() {
        let outcomes = FetchOutcome::ALL.iter().map(|outcome| outcome.name());
        let reasons = RejectReason::ALL.iter().map(|reason| reason.name());
        for name in outcomes.chain(reasons).filter(|name| *name != "ok") {
            for lang in [Lang::En, Lang::Zh] {
                assert!(outcome(lang, name).is_some(), "{name}");
            }
        }
        let mut names: Vec<&str> = WORDS.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), WORDS.len());
        assert_eq!(outcome(Lang::En, "<script>"), None);
    }
}
