//! The crawl. In: a seed and a number of rows. Out: for each row what it says, what its URL answered, and what its picture is; a
//! pure function of the row's number, so that any row can be asked for at any time. Never all rows at once.
//!
//! Of 1,000 rows 981 have a picture of their own, 5 are malformed, 2 repeat the row before word for word, 10 have the picture of
//! another row (8 with its caption too; half of them under its URL, half under their own), and 2 have a placeholder that 40 rows
//! share. 19 are test rows, wherever they stand. Of 1,000 URLs 20 do not answer at first: 18 do the second time, 2 never.
//! Of 100 files one cannot be decoded.

use tuwen_corpus::id::{hex, id_of};

use crate::caption;
use crate::looks::{Look, Looks};
use crate::random::{Of, SplitMix};

/// Rows a placeholder picture has.
const ROWS_A_PLACEHOLDER: u64 = 40;

/// Rows of 1,000 that show a placeholder.
const PLACEHOLDER_ROWS: u64 = 2;

/// The first of the draws, of 1,000, by which a row shows a placeholder.
const PLACEHOLDER: u64 = 17;

/// Hosts of the pictures; names that nobody has (RFC 2606).
const HOSTS: [&str; 8] = [
    "img1.tukubao.example",
    "img2.tukubao.example",
    "pic.zhuangxiu.example",
    "p1.meitu.example",
    "p2.meitu.example",
    "cdn.sucai.example",
    "gimg.sousuo.example",
    "static.shuhua.example",
];

/// The name of the CSV that the rows are said to be from.
const SOURCE: &str = "crawl.csv";

/// When the first URL was asked for, microseconds since 1970: 2024-05-01 00:00 UTC.
const BEGUN_US: i64 = 1_714_521_600_000_000;

/// A crawl.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crawl {
    /// Same seed, same rows.
    pub(crate) seed: u64,
    /// Rows of its CSV.
    pub(crate) n_rows: u64,
    /// What its pictures are like.
    pub(crate) looks: Looks,
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It has a picture, a URL and a caption of its own.
    Own,
    /// A line of the CSV that cannot be understood.
    Malformed,
    /// The row before, word for word.
    Repeated,
    /// The picture of row `of`.
    Shared { of: u64, own_url: bool, own_caption: bool },
    /// A picture that says there is none.
    Placeholder(u64),
}

/// A row of `pairs`.
pub(crate) struct Pair {
    pub(crate) pair_id: String,
    pub(crate) text: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) filename: Option<String>,
    pub(crate) split_hint: &'static str,
    pub(crate) source: &'static str,
    pub(crate) source_line: i64,
    pub(crate) malformed: Option<String>,
}

/// A row of `originals`.
pub(crate) struct Attempt {
    pub(crate) locator: String,
    pub(crate) attempt: i32,
    pub(crate) outcome: &'static str,
    pub(crate) http_status: Option<i32>,
    pub(crate) detail: Option<&'static str>,
    pub(crate) elapsed_ms: i64,
    pub(crate) fetched_us: i64,
    /// The picture file, if it came.
    pub(crate) bytes: Option<[u8; 20]>,
}

/// A row of `images`.
pub(crate) struct Image {
    pub(crate) image_id: String,
    pub(crate) width: i32,
    pub(crate) height: i32,
    /// None if the file cannot be decoded.
    pub(crate) look: Option<Look>,
}

/// Whether, and when, a URL answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    AtOnce,
    SecondTime,
    NotFound,
    Never,
}

impl Crawl {
    fn random(&self, of: Of, n: u64) -> SplitMix {
        SplitMix::new(self.seed, of, n)
    }

    /// Distinct placeholder pictures; their numbers come after those of the rows.
    fn n_placeholders(&self) -> u64 {
        (self.n_rows * PLACEHOLDER_ROWS / 1_000 / ROWS_A_PLACEHOLDER).max(1)
    }

    /// The draw that says what row `i` is; the first rows show one placeholder each, so that every one is somewhere.
    fn chance(&self, i: u64) -> u64 {
        if i < self.n_placeholders() { PLACEHOLDER } else { self.random(Of::Kind, i).below(1_000) }
    }

    fn kind(&self, i: u64) -> Kind {
        let is_own = |i| self.chance(i) >= 19;
        match self.chance(i) {
            0..5 => Kind::Malformed,
            5..7 if i > 0 && is_own(i - 1) => Kind::Repeated,
            chance @ 7..PLACEHOLDER => {
                let mut random = self.random(Of::SharedRow, i);
                let mut of = random.below(self.n_rows);
                while !is_own(of) {
                    of = (of + 1) % self.n_rows;
                }
                Kind::Shared { of, own_url: random.below(2) == 0, own_caption: chance >= 15 }
            }
            PLACEHOLDER..19 => match self.n_placeholders() {
                n if i < n => Kind::Placeholder(i),
                n => Kind::Placeholder(self.random(Of::SharedRow, i).below(n)),
            },
            _ => Kind::Own,
        }
    }

    fn split_hint(&self, i: u64) -> &'static str {
        if self.random(Of::Split, i).below(1_000) < 19 { "test" } else { "train" }
    }

    fn caption(&self, i: u64) -> String {
        caption::crawled(&mut self.random(Of::Caption, i))
    }

    /// 100 to 180 characters.
    fn url(&self, i: u64) -> String {
        let mut random = self.random(Of::Url, i);
        let n_chars = 100 + random.below(81) as usize;
        let host = random.pick(&HOSTS);
        let [folder, width, height] =
            [random.next(), 400 + random.below(800), 400 + random.below(800)];
        let mut url = format!("https://{host}/{folder:016x}/{i}.jpg?w={width}&h={height}&sign=");
        while url.len() < n_chars {
            url.push_str(&format!("{:016x}", random.next()));
        }
        url.truncate(n_chars);
        url
    }

    /// Row `i` of the CSV.
    pub(crate) fn pair(&self, i: u64) -> Pair {
        let kind = self.kind(i);
        if kind == Kind::Malformed {
            let wrong = format!("expected 3 fields, found 2: {},{}", self.caption(i), self.url(i));
            return self.row(i, [None, None, None], Some(wrong), 0);
        }
        let (caption_of, url_of, name_of, nth) = match kind {
            Kind::Repeated => (i - 1, i - 1, i - 1, 1),
            Kind::Shared { of, own_url, own_caption } => {
                (if own_caption { i } else { of }, if own_url { i } else { of }, i, 0)
            }
            _ => (i, i, i, 0),
        };
        let filename = format!("{}-{name_of}.jpg", self.split_hint(name_of));
        let fields = [Some(self.caption(caption_of)), Some(self.url(url_of)), Some(filename)];
        self.row(i, fields, None, nth)
    }

    /// The identity is made as `pipeline/etl/src/ingest` makes it; `nth` counts repetitions of the row.
    fn row(
        &self,
        i: u64,
        fields: [Option<String>; 3],
        malformed: Option<String>,
        nth: u32,
    ) -> Pair {
        let [text, url, filename] = fields;
        let content = [&text, &url, &filename, &malformed];
        let content = content.map(|field| field.as_deref().unwrap_or_default()).join("\x1f");
        let is_train = filename.as_deref().is_some_and(|name| name.contains("train"));
        Pair {
            pair_id: hex(id_of(format!("{content}\x1f{nth}").as_bytes())),
            text,
            url,
            filename,
            split_hint: if is_train { "train" } else { "test" },
            source: SOURCE,
            source_line: i as i64 + 2,
            malformed,
        }
    }

    /// The picture that row `i` has under a URL that no row before it names; none if there is no such URL.
    fn picture_at_own_url(&self, i: u64) -> Option<u64> {
        match self.kind(i) {
            Kind::Own => Some(i),
            Kind::Shared { of, own_url: true, .. } => Some(of),
            Kind::Placeholder(number) => Some(self.n_rows + number),
            Kind::Malformed | Kind::Repeated | Kind::Shared { .. } => None,
        }
    }

    /// A picture that is lost is so under all its URLs, so that `images` has what some URL brought, and nothing else.
    fn answer(&self, i: u64, picture: u64) -> Answer {
        match self.random(Of::Answer, picture).below(1_000) {
            0 if picture < self.n_rows => Answer::NotFound,
            1 if picture < self.n_rows => Answer::Never,
            _ if self.random(Of::FirstAnswer, i).below(1_000) < 18 => Answer::SecondTime,
            _ => Answer::AtOnce,
        }
    }

    /// Attempt `number` (1 or 2) to get the URL that row `i` is the first to name, if it was made.
    pub(crate) fn attempt(&self, i: u64, number: i32) -> Option<Attempt> {
        let picture = self.picture_at_own_url(i)?;
        let (outcome, http_status, detail) = match (self.answer(i, picture), number) {
            (Answer::AtOnce, 1) | (Answer::SecondTime, 2) => ("ok", Some(200), None),
            (Answer::NotFound, 1) => ("http_status", Some(404), Some("404 Not Found")),
            (Answer::SecondTime, 1) | (Answer::Never, _) => {
                ("timeout", None, Some("operation timed out"))
            }
            (Answer::AtOnce | Answer::NotFound, _) | (Answer::SecondTime, _) => return None,
        };
        let elapsed_ms = if outcome == "timeout" { 20_000 } else { 20 + (picture % 997) as i64 };
        let asked_before = (number as u64 - 1) * self.n_rows + i;
        Some(Attempt {
            locator: self.url(i),
            attempt: number,
            outcome,
            http_status,
            detail,
            elapsed_ms,
            fetched_us: BEGUN_US + 1_000 * asked_before as i64,
            bytes: (outcome == "ok").then(|| self.bytes(picture)),
        })
    }

    /// The attempts in the order of the log: first all URLs once, then those again that did not answer.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = Attempt> {
        let asked = move |number| (0..self.n_rows).filter_map(move |i| self.attempt(i, number));
        [1, 2].into_iter().flat_map(asked)
    }

    /// The file of `picture`: the first bytes of a JPEG, and what tells it from others.
    fn bytes(&self, picture: u64) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&[0xff, 0xd8, 0xff, 0xe0]);
        bytes[4..12].copy_from_slice(&self.seed.to_le_bytes());
        bytes[12..].copy_from_slice(&picture.to_le_bytes());
        bytes
    }

    /// The distinct pictures that some URL brought.
    pub(crate) fn images(&self) -> impl Iterator<Item = Image> {
        let is_here = |i: &u64| {
            self.kind(*i) == Kind::Own
                && !matches!(self.answer(*i, *i), Answer::NotFound | Answer::Never)
        };
        let placeholders = self.n_rows..self.n_rows + self.n_placeholders();
        (0..self.n_rows).filter(is_here).chain(placeholders).map(|picture| self.image(picture))
    }

    fn image(&self, picture: u64) -> Image {
        let mut random = self.random(Of::Decode, picture);
        let is_broken = picture < self.n_rows && random.below(100) == 0;
        Image {
            image_id: hex(id_of(&self.bytes(picture))),
            width: 400 + random.below(800) as i32,
            height: 400 + random.below(800) as i32,
            look: (!is_broken).then(|| self.looks.of(picture, self.n_rows, self.seed)),
        }
    }
}
