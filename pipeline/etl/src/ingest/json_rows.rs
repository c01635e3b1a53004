//! Rows of JSON lines. In: the bytes of a file in UTF-8, an object a line. Out: one row an object, and of each line that is none what
//! is wrong. Never stops at a bad line.

use serde_json::{Map, Value};

use crate::ingest::columns::{Columns, Mismatch};
use crate::ingest::row::{Fields, MOST_ROW_BYTES, Row, malformed};

/// Objects whose keys are the columns of the file.
const OBJECTS_ASKED: usize = 100;

/// How a text of JSON lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// An object a line, or what is taken for that.
    Lines,
    List,
    ObjectOverLines,
}

/// How the JSON that `text` begins with lies.
pub(super) fn layout_of(text: &[u8]) -> Layout {
    let first_line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    if text.starts_with(b"[") {
        return Layout::List;
    }
    let is_over_lines = object(first_line.trim_ascii()).is_err() && {
        let mut objects = serde_json::Deserializer::from_slice(text).into_iter();
        objects.next().is_some_and(|first: Result<Map<String, Value>, _>| first.is_ok())
    };
    if is_over_lines { Layout::ObjectOverLines } else { Layout::Lines }
}

/// The objects of one file, in order.
pub(super) struct JsonRows<B> {
    bytes: B,
    at: usize,
    line: u64,
    /// The keys of text, URL and file name in most objects.
    keys: [Option<String>; 3],
    columns: Columns,
}

impl<B: AsRef<[u8]>> JsonRows<B> {
    /// Looks into the first objects of a file whose content is `bytes`.
    ///
    /// # Errors
    /// The columns are not there.
    pub(super) fn new(bytes: B, columns: &Columns) -> Result<Self, Mismatch> {
        let columns = columns.clone();
        let mut rows = Self { bytes, at: 0, line: 1, keys: [const { None }; 3], columns };
        if rows.bytes.as_ref().starts_with(b"\xef\xbb\xbf") {
            rows.at = 3;
        }
        let begin = rows.at;
        let mut names: Vec<String> = Vec::new();
        let mut sample = Vec::new();
        for _ in 0..OBJECTS_ASKED {
            let bytes = rows.bytes.as_ref();
            let Some((_, line)) = next_line(bytes, &mut rows.at, &mut rows.line) else { break };
            let Ok(object) = object(line) else { continue };
            for (name, value) in object {
                if !names.contains(&name) {
                    names.push(name);
                    sample.push(value.as_str().unwrap_or_default().to_owned());
                }
            }
        }
        (rows.at, rows.line) = (begin, 1);
        let Some(keys) = keys_of(&rows.columns, &names) else {
            return Err(Mismatch { names, sample });
        };
        rows.keys = keys;
        Ok(rows)
    }
}

/// The keys of text, URL and file name among `names`.
fn keys_of(columns: &Columns, names: &[String]) -> Option<[Option<String>; 3]> {
    let places = columns.find(names)?;
    let places = [Some(places.text), places.url, places.filename];
    Some(places.map(|place| place.map(|place| names[place].clone())))
}

impl<B: AsRef<[u8]>> Iterator for JsonRows<B> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let (number, line) = next_line(self.bytes.as_ref(), &mut self.at, &mut self.line)?;
        let fields = object(line).and_then(|mut object| {
            // One that calls them otherwise than most.
            let lacks =
                |key: &Option<String>| key.as_ref().is_some_and(|key| !object.contains_key(key));
            let own = self
                .keys
                .iter()
                .any(lacks)
                .then(|| keys_of(&self.columns, &object.keys().cloned().collect::<Vec<_>>()));
            let own = own.flatten();
            let [text_key, url_key, filename_key] = own.as_ref().unwrap_or(&self.keys);
            let mut field = |key: &Option<String>| match key {
                Some(key) => text(key, object.remove(key)),
                None => Ok(None),
            };
            Ok(Fields::new(field(text_key)?, field(url_key)?, field(filename_key)?))
        });
        Some(Row { line: number, fields: fields.map_err(|wrong| malformed(wrong, line)) })
    }
}

/// The next line from `at` on that is not blank, and its number; `number` is that of the line at `at`.
fn next_line<'b>(bytes: &'b [u8], at: &mut usize, number: &mut u64) -> Option<(u64, &'b [u8])> {
    loop {
        let rest = bytes.get(*at..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let this = *number;
        *at += length + 1;
        *number += 1;
        let line = rest[..length].trim_ascii();
        if !line.is_empty() {
            return Some((this, line));
        }
    }
}

fn object(line: &[u8]) -> Result<Map<String, Value>, String> {
    if line.len() > MOST_ROW_BYTES {
        return Err("longer than 16 MiB".to_owned());
    }
    let object = serde_json::from_slice(line);
    // Python's json writes numbers that JSON does not have.
    let object = object.or_else(|_| serde_json::from_slice(&without_nan(line)));
    object.map_err(|_| "not a JSON object".to_owned())
}

/// `line` with `null` for each `NaN`, `Infinity` and `-Infinity` that stands outside of texts.
fn without_nan(line: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(line.len());
    let (mut rest, mut is_text) = (line, false);
    while let [first, after @ ..] = rest {
        let word = [&b"NaN"[..], b"Infinity", b"-Infinity"];
        let word = word.into_iter().find(|word| !is_text && rest.starts_with(word));
        if let Some(word) = word {
            clean.extend(b"null");
            rest = &rest[word.len()..];
            continue;
        }
        clean.push(*first);
        rest = after;
        match (first, after) {
            (b'"', _) => is_text = !is_text,
            (b'\\', [escaped, after @ ..]) if is_text => {
                clean.push(*escaped);
                rest = after;
            }
            _ => {}
        }
    }
    clean
}

/// The text that a value is; a number as it is written.
fn text(key: &str, value: Option<Value>) -> Result<Option<String>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => {
            let kind = match other {
                Value::Bool(_) => "true or false",
                Value::Array(_) => "a list",
                _ => "an object",
            };
            Err(format!("`{key}`: expected a text, found {kind}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str, columns: &str) -> Vec<(u64, String)> {
        let rows = JsonRows::new(json, &Columns::parse(columns).unwrap()).unwrap();
        rows.map(|row| match row.fields {
            Ok(f) => (row.line, format!("{}|{:?}|{:?}", f.text, f.url, f.filename)),
            Err(wrong) => (row.line, format!("! {wrong}")),
        })
        .collect()
    }

    #[test]
    fn an_object_is_a_row_and_a_bad_line_too() {
        let deep = "[".repeat(5000);
        let json = format!(
            "\u{feff}{{\"url\":\"http://a/1\",\"TEXT\":\"红\\u0041\\n\",\"width\":3}}\r\n\n\
             {{\"TEXT\":null,\"url\":\" \"}}\n\
             {{\"url\":\"u\",\"TEXT\":1.5,\"file_name\":\"f\"}}\n\
             {{\"url\":\"u\"\n\
             [1]\n\
             {{\"url\":[\"u\"],\"TEXT\":\"t\"}}\n\
             {{\"TEXT\":\"\\ud800\"}}\n\
             {deep}\n\
             {{}}"
        );
        let rows = shown(&json, "");
        let expected = [
            (1, "红A\n|Some(\"http://a/1\")|None"),
            (3, "|None|None"),
            (4, "1.5|Some(\"u\")|Some(\"f\")"),
            (5, "! not a JSON object: {\"url\":\"u\""),
            (6, "! not a JSON object: [1]"),
            (7, "! `url`: expected a text, found a list: {\"url\":[\"u\"],\"TEXT\":\"t\"}"),
            (8, "! not a JSON object: {\"TEXT\":\"\\ud800\"}"),
            (9, &format!("! not a JSON object: {}", &deep[..500])),
            (10, "|None|None"),
        ];
        assert_eq!(rows, expected.map(|(line, text)| (line, text.to_owned())));
        let json = "{\"text\":\"一\",\"url\":\"u\"}\n{\"caption\":\"二\",\"image_url\":\"v\"}\n\
            {\"Text\":\"三\",\"URL\":\"w\"}\n{\"url\":\"x\"}\n";
        let expected = [
            "一|Some(\"u\")|None",
            "二|Some(\"v\")|None",
            "三|Some(\"w\")|None",
            "|Some(\"x\")|None",
        ];
        let found: Vec<String> = shown(json, "").into_iter().map(|(_, row)| row).collect();
        assert_eq!(found, expected);
        assert_eq!(
            shown("{\"a\":\"t\",\"b\":\"u\"}", "text=a,url=B"),
            [(1, "t|Some(\"u\")|None".to_owned())]
        );
    }

    #[test]
    fn numbers_as_python_writes_them() {
        let json = "{\"text\":\"NaN \\\"Infinity\",\"url\":\"u\",\"a\":NaN,\"b\":[-Infinity,Infinity]}\n\
            {\"text\":NaN,\"url\":\"v\"}\n{\"text\":Nan,\"url\":\"w\"}\n";
        let expected = [
            (1, "NaN \"Infinity|Some(\"u\")|None"),
            (2, "|Some(\"v\")|None"),
            (3, "! not a JSON object: {\"text\":Nan,\"url\":\"w\"}"),
        ];
        assert_eq!(shown(json, ""), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn an_object_over_several_lines_is_none_a_line() {
        for (text, expected) in [
            ("{\"text\":\"红\"}\n{\"text\":\n", Layout::Lines),
            ("{\n  \"text\": \"红\"\n}\n{\n}", Layout::ObjectOverLines),
            ("{}", Layout::Lines),
            ("{\"text\":", Layout::Lines),
            ("[{\"text\":\"红\"}]", Layout::List),
            ("", Layout::Lines),
        ] {
            assert_eq!(layout_of(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn objects_without_the_columns_are_refused() {
        let json = "{\"id\":7,\"link\":\"http://a/1\",\"alt\":\"红\"}\n";
        let found = JsonRows::new(json, &Columns::default()).err().unwrap();
        let refusal = Columns::default().refusal(&found);
        assert!(
            refusal.ends_with("found `id,link,alt`\nhint: --columns text=alt,url=link"),
            "{refusal}"
        );
    }
}
