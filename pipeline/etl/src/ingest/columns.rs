//! Which column of a source is which. In: what a person says (`text=caption,url=image_url`) and the columns that are there. Out:
//! their places; or what is wrong, with a `--columns` that would do. Columns that nobody asks for are left alone.

use anyhow::{Result, bail};

/// What a column is for, and the names by which it is known without being told: those of tuwen, and those under which LAION, COYO,
/// DataComp, Wukong and Conceptual Captions are published, or an image folder of Hugging Face.
const KNOWN: [(&str, &[&str]); 3] = [
    ("text", &["text", "caption"]),
    ("url", &["url", "image_url"]),
    ("filename", &["filename", "file_name"]),
];

/// Words in the names of columns by which one is proposed for captions, and for URLs.
const CAPTION_WORDS: [&str; 9] =
    ["caption", "text", "title", "alt", "desc", "标题", "標題", "描述", "文本"];

const URL_WORDS: [&str; 6] = ["url", "link", "href", "src", "图片", "圖片"];

/// Words in the names of columns by which one is proposed for file names.
const FILE_WORDS: [&str; 3] = ["file", "path", "文件"];

/// How the names of pictures end.
const PICTURE_ENDINGS: [&str; 8] =
    [".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".avif"];

/// Columns that are named in a message.
const SHOWN_COLUMNS: usize = 20;

/// What a person says of the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Columns {
    /// For each of [`KNOWN`] the name, or the number, that it was given.
    given: [Option<String>; 3],
}

/// Where the columns are, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// The captions.
    pub(super) text: usize,
    /// The URLs.
    pub(super) url: Option<usize>,
    /// The file names.
    pub(super) filename: Option<usize>,
}

/// Columns that lack what is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// Their names, or a first line that was taken for them.
    pub(super) names: Vec<String>,
    /// The row after them, where there is one.
    pub(super) sample: Vec<String>,
}

impl Columns {
    /// Reads `text=NAME,url=NAME,filename=NAME`; what is left out is known by its usual names. Numbers, from 1, stand for columns of
    /// files without a header.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut columns = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (role, name) = part.split_once('=').unwrap_or((part, ""));
            let (role, name) = (role.trim().to_lowercase(), name.trim());
            let known = KNOWN.iter().position(|(known, _)| *known == role);
            match known {
                Some(known) if !name.is_empty() => columns.given[known] = Some(name.to_lowercase()),
                _ => bail!(
                    "ingest.columns: expected text=NAME,url=NAME,filename=NAME, or numbers of columns, found `{}`",
                    part.escape_debug()
                ),
            }
        }
        let numbers = columns.given.iter().flatten().filter(|name| number(name).is_some()).count();
        if numbers > 0 && (numbers < columns.given.iter().flatten().count() || !columns.suffice()) {
            bail!(
                "ingest.columns: expected the numbers of text and of url or filename, found `{text}`\n\
                 hint: files without a header are read by numbers, such as --columns url=1,text=2"
            );
        }
        Ok(columns)
    }

    fn suffice(&self) -> bool {
        self.given[0].is_some() && (self.given[1].is_some() || self.given[2].is_some())
    }

    /// The columns of a file without a header, if they were given by numbers.
    pub(super) fn numbered(&self) -> Option<Places> {
        let [text, url, filename] =
            self.given.each_ref().map(|name| number(name.as_deref()?).map(|n| n - 1));
        Some(Places { text: text?, url, filename })
    }

    /// The places among columns called `names`.
    pub(super) fn find<S: AsRef<str>>(&self, names: &[S]) -> Option<Places> {
        let is_around = |c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}');
        let place = |name: &str| {
            let is_it = |found: &S| found.as_ref().trim_matches(is_around).to_lowercase() == name;
            names.iter().position(is_it)
        };
        let mut places = [None; 3];
        for (i, (_, known)) in KNOWN.iter().enumerate() {
            places[i] = match &self.given[i] {
                Some(name) => Some(place(name)?),
                None => known.iter().find_map(|name| place(name)),
            };
        }
        let [text, url, filename] = places;
        (url.is_some() || filename.is_some()).then_some(())?;
        Some(Places { text: text?, url, filename })
    }

    /// What a source must have.
    pub(super) fn expected(&self) -> String {
        let wanted = |i: usize| self.given[i].as_deref().unwrap_or(KNOWN[i].0);
        format!("expected the columns `{}` and `{}` or `{}`", wanted(0), wanted(1), wanted(2))
    }

    /// What was expected and found, with a flag that would do where one can be told.
    pub(super) fn refusal(&self, found: &Mismatch) -> String {
        let shown: Vec<&str> = found.names.iter().take(SHOWN_COLUMNS).map(String::as_str).collect();
        let shown: String = shown.join(",").chars().take(200).collect();
        let expected = format!("{}, found `{}`", self.expected(), shown.escape_debug());
        match proposal(found) {
            Some(proposal) => format!("{expected}\nhint: --columns {}", quoted(&proposal)),
            None => expected,
        }
    }
}

impl Places {
    /// The last of them.
    pub(super) fn last(&self) -> usize {
        self.text.max(self.url.unwrap_or(0)).max(self.filename.unwrap_or(0))
    }
}

/// A column's number, from 1.
fn number(name: &str) -> Option<usize> {
    name.parse().ok().filter(|n| *n > 0)
}

/// Whether a value is a URL, by its beginning.
pub(super) fn is_url(value: &str) -> bool {
    let value = value.trim().to_lowercase();
    ["http://", "https://", "//"].iter().any(|start| value.starts_with(start))
}

fn is_picture_name(value: &str) -> bool {
    let value = value.trim().to_lowercase();
    let is_ending = |ending: &&str| value.len() > ending.len() && value.ends_with(*ending);
    !is_url(&value) && PICTURE_ENDINGS.iter().any(is_ending)
}

/// What could be given for `--columns`; none where no column is likely to have captions, or no other to say where a picture is.
fn proposal(found: &Mismatch) -> Option<String> {
    let is_row = |name: &String| is_url(name) || is_picture_name(name);
    let is_headless = found.names.iter().any(is_row);
    let [text, url, filename] = match is_headless {
        // The first line is a row.
        true => guessed(&[], &found.names).map(|place| Some((place? + 1).to_string())),
        false => {
            let name = |place: usize| Some(found.names.get(place)?.trim().to_owned());
            guessed(&found.names, &found.sample).map(|place| name(place?))
        }
    };
    let is_sayable = |name: &String| {
        let is_name = !name.is_empty() && !name.contains([',', '=']);
        is_name && (is_headless || number(name).is_none())
    };
    let said = [("text", text.as_ref()), ("url", url.as_ref()), ("filename", filename.as_ref())];
    let said: Vec<String> =
        said.iter().filter_map(|(role, name)| Some(format!("{role}={}", (*name)?))).collect();
    let is_enough = text.is_some() && said.len() > 1;
    (is_enough && [text, url, filename].iter().flatten().all(is_sayable)).then(|| said.join(","))
}

/// The places of text, URL and file name, by the columns' names and the values of a row: a URL stands where one is, or where the name
/// says so; a file name likewise; and a caption where the name says so, or where the longest other text is.
fn guessed(names: &[String], values: &[String]) -> [Option<usize>; 3] {
    let called = |words: &[&str], but: &[Option<usize>]| {
        let is_called = |name: &str| words.iter().any(|word| name.to_lowercase().contains(word));
        (0..names.len()).find(|i| !but.contains(&Some(*i)) && is_called(&names[*i]))
    };
    let url = values.iter().position(|value| is_url(value));
    let filename = values.iter().position(|value| is_picture_name(value));
    let filename = filename.or_else(|| called(&FILE_WORDS, &[url]));
    let url = url.or_else(|| called(&URL_WORDS, &[filename]));
    let is_text = |(i, value): &(usize, &String)| {
        let is_other = ![url, filename].contains(&Some(*i));
        is_other && !value.is_empty() && !is_url(value) && value.parse::<f64>().is_err()
    };
    // The first of several that are as long.
    let others = values.iter().enumerate().filter(is_text).rev();
    let longest = others.max_by_key(|(_, value)| value.chars().count()).map(|(i, _)| i);
    [called(&CAPTION_WORDS, &[url, filename]).or(longest), url, filename]
}

/// As a shell takes it for one word.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "=,._-/".contains(c);
    match text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(columns: &str, names: &str, sample: &str) -> String {
        let columns = Columns::parse(columns).unwrap();
        let names: Vec<String> = names.split(',').map(str::to_owned).collect();
        match columns.find(&names) {
            Some(Places { text, url, filename }) => format!("{text} {url:?} {filename:?}"),
            None => {
                let sample = sample.split(',').map(str::to_owned).collect();
                columns.refusal(&Mismatch { names, sample })
            }
        }
    }

    #[test]
    fn columns_are_found_by_what_is_said_and_by_their_usual_names() {
        for (columns, names, expected) in [
            ("", "text,url,filename", "0 Some(1) Some(2)"),
            ("", "SAMPLE_ID,URL,TEXT,HEIGHT", "2 Some(1) None"),
            ("", "url,caption", "1 Some(0) None"),
            ("", "file_name, Text", "1 None Some(0)"),
            ("", "caption,text,url", "1 Some(2) None"),
            ("text=caption", "caption,text,url", "0 Some(2) None"),
            ("text = Title , url=图片", "图片,title,url", "1 Some(0) None"),
            ("filename=dir", "dir,caption", "1 None Some(0)"),
        ] {
            assert_eq!(found(columns, names, ""), expected, "{columns} {names}");
        }
        let numbered = |columns: &str| Columns::parse(columns).unwrap().numbered();
        assert_eq!(
            numbered("url=1,text=2"),
            Some(Places { text: 1, url: Some(0), filename: None })
        );
        assert_eq!(numbered("text=caption"), None);
    }

    #[test]
    fn a_refusal_says_what_would_do() {
        for (columns, names, sample, expected) in [
            (
                "",
                "标题,图片",
                "红色的裙子,http://a/1.jpg",
                "expected the columns `text` and `url` or `filename`, found `标题,图片`\nhint: --columns text=标题,url=图片",
            ),
            (
                "",
                "https://a/1.jpg,a red dress",
                "",
                "expected the columns `text` and `url` or `filename`, found `https://a/1.jpg,a red dress`\nhint: --columns text=2,url=1",
            ),
            (
                "text=capton",
                "id,alt text,link",
                "7,a dress,//a/1.jpg",
                "expected the columns `capton` and `url` or `filename`, found `id,alt text,link`\nhint: --columns 'text=alt text,url=link'",
            ),
            (
                "",
                "说明,file_name,图片链接",
                "",
                "expected the columns `text` and `url` or `filename`, found `说明,file_name,图片链接`",
            ),
            (
                "",
                "id,说明,名字,地址",
                "10000000000,红裙,a/1.JPG,http://a/1",
                "expected the columns `text` and `url` or `filename`, found `id,说明,名字,地址`\nhint: --columns text=说明,url=地址,filename=名字",
            ),
            (
                "",
                "标题,file_name",
                "",
                "expected the columns `text` and `url` or `filename`, found `标题,file_name`\nhint: --columns text=标题,filename=file_name",
            ),
            (
                "",
                "1.jpg,红裙",
                "",
                "expected the columns `text` and `url` or `filename`, found `1.jpg,红裙`\nhint: --columns text=2,filename=1",
            ),
            // No column has captions.
            (
                "",
                "url,filename",
                "http://a/1,a-very-long-name.jpg",
                "expected the columns `text` and `url` or `filename`, found `url,filename`",
            ),
            (
                "",
                "url,width,filename",
                "http://a/1,600,1",
                "expected the columns `text` and `url` or `filename`, found `url,width,filename`",
            ),
            ("", "a,b", "1,2", "expected the columns `text` and `url` or `filename`, found `a,b`"),
        ] {
            assert_eq!(found(columns, names, sample), expected);
            if let Some((_, flag)) = expected.split_once("--columns ") {
                // What is proposed is taken.
                let given = Columns::parse(flag.trim_matches('\'')).unwrap();
                let names: Vec<&str> = names.split(',').collect();
                assert!(given.numbered().is_some() || given.find(&names).is_some(), "{flag}");
            }
        }
    }

    #[test]
    fn other_words_are_refused() {
        for columns in ["caption", "text=", "picture=url", "text=2,url=link", "text=1", "url=1"] {
            let error = Columns::parse(columns).unwrap_err().to_string();
            assert!(error.starts_with("ingest.columns: expected"), "{error}");
        }
    }
}
