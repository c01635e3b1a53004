//! What reasons mean, in words. In: a reason as a table has it. Out: a few words in each language; what they are, docs say at length.

use super::lang::Lang;

/// Reason, English, Chinese. Of fetch (see docs/outcomes.md), then of decode, then of curate.
const WORDS: [(&str, &str, &str); 45] = [
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
    ("malformed_line", "the line of the source is broken", "数据源的这一行是坏的"),
    ("no_locator", "neither URL nor file name", "既没有 URL，也没有文件名"),
    ("not_fetched", "nothing was asked for yet", "还没有请求过"),
    ("fetch_failed", "no attempt brought bytes", "没有一次尝试拿到字节"),
    ("not_decoded", "the picture waits for decode", "图片还没有解码"),
    ("image_rejected", "decode rejected the picture", "解码时拒绝了图片"),
    ("placeholder_image", "one picture under many captions", "占位图：一图配多条描述"),
    ("empty_caption", "nothing is left of the caption", "清洗之后描述为空"),
    ("short_caption", "the caption is too short", "描述太短"),
    ("long_caption", "the caption is too long", "描述太长"),
    ("duplicate_caption", "the same caption and image again", "同图同描述重复"),
    ("leak", "the image is in a held-out split", "图片已在更优先的划分里"),
    ("not_curated", "the pair waits for curate", "还没有整理"),
    ("got", "the picture was got", "拿到图片"),
    ("decoded", "the picture was decoded", "已解码"),
    ("train", "to learn from", "用于训练"),
    ("validation", "to choose by", "用于验证"),
    ("test", "to judge by", "用于测试"),
];

/// What `reason` means; nothing if it is none of ours.
pub(super) fn words(lang: Lang, reason: &str) -> &'static str {
    let found = WORDS.iter().find(|(name, ..)| *name == reason);
    found.map_or("", |(_, en, zh)| lang.say(en, zh))
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
                assert!(!words(lang, name).is_empty(), "{name}");
            }
        }
        let mut names: Vec<&str> = WORDS.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), WORDS.len());
        assert_eq!(words(Lang::En, "<script>"), "");
    }
}
