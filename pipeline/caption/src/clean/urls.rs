//! Addresses. In: a text. Out: it without addresses of pages and of mail, and without the brackets and joiners that are left of them.
//! Chinese characters and punctuation end an address, and may stand right before one. A host without `http://` or `www.` is one
//! by its last part alone, so that `ASP.NET`, `Node.js`, `No.1` and `v1.2.3` stay.

use std::ops::Range;

use super::cut::cut;

/// Top-level domains that no product, file or abbreviation ends in: two parts make a host.
const SURE: [&str; 12] =
    ["com", "cn", "net", "org", "edu", "gov", "hk", "tw", "cc", "xyz", "jp", "kr"];

/// Top-level domains that may end something else: a host only with three parts, or with a path.
const LIKELY: [&str; 39] = [
    "me", "io", "tv", "co", "info", "biz", "vip", "top", "club", "shop", "site", "online", "store",
    "fun", "live", "wang", "ltd", "mobi", "asia", "ink", "tech", "uk", "de", "fr", "ru", "eu",
    "ca", "au", "sg", "be", "ly", "gl", "pro", "art", "app", "dev", "name", "int", "mil",
];

/// Microsoft's and its like, in lower case; with a capital, `NET` is a product's.
const PRODUCTS: [&str; 7] = ["asp", "vb", "ado", "ml", "paint", "dot", "json"];

/// Top-level domains behind a Chinese name.
const CHINESE: [&str; 7] = ["com", "cn", "net", "中国", "公司", "网络", "网址"];

/// Longer parts of a name are no host's, nor are longer names (RFC 1035).
const MAX_LABEL: usize = 63;
const MAX_HOST: usize = 253;

/// Endings of files to which an address with Chinese in its path leads.
const ENDINGS: [&str; 12] = [
    ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".html", ".htm", ".shtml", ".php", ".aspx",
    ".jsp",
];

/// What forums write around an address, or around the text of a link.
const FORUM: [&str; 4] = ["[url]", "[/url]", "[img]", "[/img]"];
/// What stands before the address of such a link.
const LINK: &str = "[url=";

pub(super) fn without_urls(text: &str) -> Option<String> {
    if !may_have_address(text) {
        return None;
    }
    let letters = Letters::of(text);
    let mut addresses: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < letters.n() {
        let Some(end) = letters.address_at(at) else {
            at += 1;
            continue;
        };
        let bytes = letters.bytes(at)..letters.bytes(end);
        match addresses.last_mut() {
            Some(last) if last.end == bytes.start => last.end = bytes.end,
            _ => addresses.push(bytes),
        }
        at = end;
    }
    (!addresses.is_empty()).then(|| cut(text, &addresses))
}

fn may_have_address(text: &str) -> bool {
    text.contains(['.', '．', '。', '/', '／', '\\'])
}

/// The characters of a text, full-width ones as ASCII, but for Chinese punctuation.
struct Letters {
    all: Vec<char>,
    /// Where each begins, and the text's end.
    places: Vec<usize>,
}

impl Letters {
    fn of(text: &str) -> Self {
        let all = text.chars().map(ascii_of).collect();
        let places = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut letters = Self { all, places };
        for at in 1..letters.n() {
            if letters.is_dot(at) {
                letters.all[at] = '.';
            }
        }
        letters
    }

    /// Whether a Chinese full stop stands where only a dot can be meant: `www.nipic。com`.
    fn is_dot(&self, at: usize) -> bool {
        let is_inside = |at: usize| self.get(at).is_some_and(|c| c.is_ascii_alphanumeric());
        let is_domain = |name: &&str| self.has(at + 1, name) && !is_inside(at + 1 + name.len());
        self.get(at) == Some('。')
            && is_inside(at - 1)
            && (SURE.iter().any(is_domain)
                || at >= 3 && self.has(at - 3, "www") && is_inside(at + 1))
    }

    fn n(&self) -> usize {
        self.all.len()
    }

    fn bytes(&self, at: usize) -> usize {
        self.places[at]
    }

    fn get(&self, at: usize) -> Option<char> {
        self.all.get(at).copied()
    }

    fn before(&self, at: usize) -> Option<char> {
        at.checked_sub(1).and_then(|at| self.get(at))
    }

    /// Whether `word` stands at `at`, in whatever case.
    fn has(&self, at: usize, word: &str) -> bool {
        word.chars()
            .enumerate()
            .all(|(i, c)| self.get(at + i).is_some_and(|found| found.eq_ignore_ascii_case(&c)))
    }

    /// From `at` on, how many are so; of more than a host's part may have, one more than that.
    fn short_run(&self, at: usize, is_so: impl Fn(char) -> bool) -> usize {
        self.all[at.min(self.n())..].iter().take(MAX_LABEL + 1).take_while(|c| is_so(**c)).count()
    }

    /// From `at` on, how many are so.
    fn run(&self, at: usize, is_so: impl Fn(char) -> bool) -> usize {
        self.all[at.min(self.n())..].iter().take_while(|c| is_so(**c)).count()
    }

    /// Where the address that begins at `at` ends.
    fn address_at(&self, at: usize) -> Option<usize> {
        let first = self.get(at)?;
        if first == '[' {
            return self.forum_tag(at);
        }
        if !(first.is_ascii_alphanumeric() || matches!(first, '/' | '@')) {
            return None;
        }
        self.with_scheme(at).or_else(|| {
            if !self.can_begin(at) {
                return None;
            }
            match first {
                // As in a page, that takes its own scheme; as in the name of an account.
                '/' => self.has(at, "//").then(|| self.host(at + 2)).flatten(),
                '@' => self.host(at + 1),
                _ => self.mail(at).or_else(|| self.host(at)),
            }
        })
    }

    /// `[img]`, `[url=http://…]`.
    fn forum_tag(&self, at: usize) -> Option<usize> {
        if let Some(n) = self.has_forum_word(at) {
            return Some(at + n);
        }
        let start = at + LINK.len();
        let address = self.has(at, LINK).then(|| self.with_scheme(start)).flatten()?;
        (self.get(address) == Some(']')).then_some(address + 1)
    }

    fn has_forum_word(&self, at: usize) -> Option<usize> {
        FORUM.iter().find(|word| self.has(at, word)).map(|word| word.len())
    }

    /// `http://` and whatever follows.
    fn with_scheme(&self, at: usize) -> Option<usize> {
        let n_name = ["https", "http", "ftps", "ftp"].iter().find(|name| self.has(at, name))?.len();
        let colon = at + n_name;
        if self.get(colon) != Some(':') {
            return None;
        }
        let n_slashes = self.run(colon + 1, |c| matches!(c, '/' | '\\')).min(3);
        let start = colon + 1 + n_slashes;
        if n_slashes == 0 {
            return self.has(start, "www.").then(|| self.rest(start));
        }
        Some(self.rest(self.chinese_host(start).unwrap_or(start)))
    }

    /// A host, its port and path; one that could be something else is none.
    fn host(&self, at: usize) -> Option<usize> {
        let is_page = self.has(at, "www.");
        let mut labels: Vec<Range<usize>> = Vec::new();
        let mut start = at;
        let end = loop {
            let n = self.short_run(start, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
            if n == 0 || n > MAX_LABEL || start + n - at > MAX_HOST {
                break labels.last()?.end;
            }
            let label = start..start + n;
            // nipic.com_红色: a joiner, not a part of the name.
            let joiner = label.clone().find(|at| matches!(self.get(*at), Some('_' | '-')));
            let is_end = |joiner: &usize| !labels.is_empty() && self.is_sure(start..*joiner);
            if let Some(joiner) = joiner.filter(is_end) {
                labels.push(start..joiner);
                break joiner;
            }
            labels.push(label.clone());
            if self.get(label.end) != Some('.') {
                break label.end;
            }
            start = label.end + 1;
        };
        if is_page {
            let end = self.chinese_host(at + "www.".len()).unwrap_or(end);
            // Cut off right behind `www.`; or a word, if text follows.
            let has_name = labels.len() > 1 || end > labels[0].end;
            return match has_name {
                true => Some(self.behind_host(end)),
                false => (at + 4 == self.n() || self.get(at + 4) == Some(' ')).then_some(at + 4),
            };
        }
        let [.., second, last] = labels.as_slice() else { return None };
        let joined = |label: &Range<usize>| self.all[label.clone()].contains(&'_');
        let is_named = self.get(at).is_some_and(|c| c.is_ascii_alphanumeric())
            && !joined(second)
            && !joined(last)
            // red_www.taobao.com: the host begins later.
            && !labels.iter().any(|label| label.len() > 4 && self.has(label.end - 4, "_www"));
        let is_host = self.is_sure(last.clone()) && !self.is_product(&labels)
            || self.is_one_of(last, &LIKELY)
                && (labels.len() > 2 && second.len() > 1 || self.has_path(end))
            || self.has(last.start, "xn--");
        (is_named && is_host).then(|| self.behind_host(end))
    }

    fn is_sure(&self, label: Range<usize>) -> bool {
        self.is_one_of(&label, &SURE)
    }

    fn is_one_of(&self, label: &Range<usize>, known: &[&str]) -> bool {
        known.iter().any(|name| name.len() == label.len() && self.has(label.start, name))
    }

    /// `ASP.NET`, `vb.net`, `Json.NET`.
    fn is_product(&self, labels: &[Range<usize>]) -> bool {
        let [first, last] = labels else { return false };
        let has_capital = self.all[last.clone()].iter().any(char::is_ascii_uppercase);
        self.is_one_of(last, &["net"]) && (has_capital || self.is_one_of(first, &PRODUCTS))
    }

    fn has_path(&self, end: usize) -> bool {
        self.get(end) == Some('/') && self.get(end + 1).is_some_and(|c| c.is_ascii_alphanumeric())
    }

    /// A host of Chinese characters.
    fn chinese_host(&self, at: usize) -> Option<usize> {
        let is_name = |c: char| is_han(c) || c.is_ascii_alphanumeric() || c == '-';
        let n = self.short_run(at, is_name);
        let dot = at + n;
        let has_chinese = self.all[at.min(self.n())..dot.min(self.n())].iter().any(|c| is_han(*c));
        if n > MAX_LABEL || !has_chinese || self.get(dot) != Some('.') {
            return None;
        }
        let domain = CHINESE.iter().find(|domain| self.has(dot + 1, domain))?;
        let end = dot + 1 + domain.chars().count();
        let goes_on = domain.is_ascii() && self.get(end).is_some_and(|c| c.is_ascii_alphanumeric());
        (!goes_on).then_some(end)
    }

    /// Port and path.
    fn behind_host(&self, end: usize) -> usize {
        let n_port = match self.get(end) {
            Some(':') => self.short_run(end + 1, |c| c.is_ascii_digit()),
            _ => 0,
        };
        let end = if (1..=5).contains(&n_port) { end + 1 + n_port } else { end };
        match self.get(end) {
            Some('/' | '\\') => self.rest(end),
            Some('?' | '#' | '&' | '=' | '%')
                if self.get(end + 1).is_some_and(|c| c.is_ascii_alphanumeric()) =>
            {
                self.rest(end)
            }
            _ => end,
        }
    }

    /// The end of an address that goes on at `at`: up to the first character that no address has, but for a path in Chinese, a bracket
    /// that closes none of its own, and without the punctuation of the sentence around it.
    fn rest(&self, at: usize) -> usize {
        let (mut round, mut square) = (0_usize, 0_usize);
        let mut end = at;
        while let Some(c) = self.get(end) {
            if !is_of_address(c) {
                match self.chinese_path(end) {
                    Some(further) => end = further,
                    None => break,
                }
                continue;
            }
            let is_forum = |at| self.has_forum_word(at).is_some() || self.has(at, LINK);
            match c {
                '[' if is_forum(end) => break,
                ')' if round == 0 => break,
                ']' if square == 0 => break,
                '(' => round += 1,
                ')' => round -= 1,
                '[' => square += 1,
                ']' => square -= 1,
                _ => {}
            }
            end += 1;
        }
        while end > at
            && self.before(end).is_some_and(|c| {
                matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '(' | '[')
            })
        {
            end -= 1;
        }
        // A path that a page showed only the beginning of.
        let n_dots = self.run(end, |c| matches!(c, '.' | '…'));
        let is_shortened =
            self.before(end) == Some('/') && (n_dots > 1 || self.get(end) == Some('…'));
        if is_shortened { end + n_dots } else { end }
    }

    /// Where a path goes on whose part at `at` is Chinese: behind its last slash, or a file's ending, whichever is further; none where
    /// neither follows, for then it is the sentence that goes on.
    fn chinese_path(&self, at: usize) -> Option<usize> {
        if self.before(at) != Some('/') || !self.get(at).is_some_and(is_han) {
            return None;
        }
        let part = |c: char| is_han(c) || is_of_address(c);
        let stop = (at..).find(|i| !self.get(*i).is_some_and(part))?;
        let ends = |i: usize| {
            let is_ending = |ending: &str| {
                let length = ending.len();
                i >= at + length
                    && self.has(i - length, ending)
                    && !self.get(i).is_some_and(|c| c.is_ascii_alphanumeric())
            };
            self.before(i) == Some('/') || ENDINGS.iter().any(|ending| is_ending(ending))
        };
        (at + 1..=stop).rev().find(|i| ends(*i))
    }

    /// An address of mail.
    fn mail(&self, at: usize) -> Option<usize> {
        let start = if self.has(at, "mailto:") { at + "mailto:".len() } else { at };
        let n = self.short_run(start, |c| {
            c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '%')
        });
        if n == 0 || n > MAX_LABEL || self.get(start + n) != Some('@') {
            return None;
        }
        let mut end = start + n + 1;
        let mut n_parts = 0;
        let mut last = 0..0;
        loop {
            let n = self.short_run(end, |c| c.is_ascii_alphanumeric() || c == '-');
            if n == 0 {
                break;
            }
            if end + n - start > MAX_HOST {
                return None;
            }
            n_parts += 1;
            last = end..end + n;
            end += n;
            if self.get(end) != Some('.') {
                break;
            }
            end += 1;
        }
        let is_domain = n_parts > 1
            && last.len() > 1
            && self.all[last.clone()].iter().all(char::is_ascii_alphabetic);
        is_domain.then_some(last.end)
    }

    /// Whether an address may begin at `at`: not inside a word, nor inside an address that was none.
    fn can_begin(&self, at: usize) -> bool {
        match self.before(at) {
            None => true,
            Some(c) if c.is_ascii_alphanumeric() => false,
            Some('.' | '@' | '%' | '$' | '\\') => false,
            // `http` in letters that NFKC has yet to make plain.
            Some(':') if self.get(at) == Some('/') => self.before(at - 1).is_none_or(is_han),
            Some('/' | '=' | '&' | '?' | '+' | '~') => {
                self.before(at - 1).is_none_or(|c| !is_of_address(c))
            }
            Some(c) => !is_of_address(c) || c.is_ascii(),
        }
    }
}

/// Full-width forms as ASCII, but for the punctuation of Chinese sentences.
fn ascii_of(c: char) -> char {
    match c {
        '！' | '（' | '）' | '，' | '；' | '？' | '［' | '］' => c,
        '！'..='～' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// What may stand in an address: ASCII but for quotes, angle brackets and their like, and letters that no Chinese text has.
fn is_of_address(c: char) -> bool {
    match c {
        '"' | '<' | '>' | '`' | '{' | '}' | '|' | '^' => false,
        '!'..='~' | '\u{a1}'..='\u{ff}' | '\u{300}'..='\u{36f}' => true,
        _ => c < '\u{1100}' && c.is_alphanumeric(),
    }
}
