//! Caption cleaning. In: a caption as crawled. Out: what a person would have written. Cleaning twice is cleaning once. The rules stand
//! here, in the order in which they are applied; how each works is in the file of its name. `tests/captions.tsv` has the answers.

mod blanks;
mod cut;
mod entities;
mod files;
mod invisible;
mod nfkc;
mod sizes;
mod tags;
mod urls;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

/// What is taken out of a caption, or written otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// HTML tags, comments, scripts and styles go; one that breaks the line leaves a blank:
    /// `<b>红色</b>连衣裙<br>长款` -> `红色连衣裙 长款`.
    Tags,
    /// HTML's character references are decoded as browsers do it: `A&ampB&nbsp;&#128;5` -> `A&B €5`.
    Entities,
    /// Control, zero-width, bidirectional and private-use characters go, but not those inside an emoji: `好\u{200b}看` -> `好看`.
    Invisible,
    /// Addresses of pages and of mail go, and brackets that held nothing else: `来自www.nipic.com` -> `来自`.
    Urls,
    /// Unicode's NFKC, where it keeps the meaning: `ＡＢＣ，１００㎡` -> `ABC,100m2`.
    Nfkc,
    /// The picture's own size at the end goes: `书法作品640x464.jpg` -> `书法作品`.
    Sizes,
    /// The ending of a picture's file name goes: `书法作品.jpg` -> `书法作品`.
    Files,
    /// White space becomes single blanks, none at the ends.
    Blanks,
}

impl Rule {
    /// All of them, in the order in which they are applied. Tags come before what could make or unmake one; what is invisible goes
    /// before addresses are looked for; those come before NFKC, which makes Chinese punctuation, where they end, into theirs.
    pub const ALL: [Self; 8] = [
        Self::Tags,
        Self::Entities,
        Self::Invisible,
        Self::Urls,
        Self::Nfkc,
        Self::Sizes,
        Self::Files,
        Self::Blanks,
    ];

    /// As it is written in settings and in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tags => "tags",
            Self::Entities => "entities",
            Self::Invisible => "invisible",
            Self::Urls => "urls",
            Self::Nfkc => "nfkc",
            Self::Sizes => "sizes",
            Self::Files => "files",
            Self::Blanks => "blanks",
        }
    }

    /// `text` with this rule applied once; none if that changes nothing. Time grows with the text's length, whatever it is.
    fn apply(self, text: &str) -> Option<String> {
        match self {
            Self::Tags => tags::without_tags(text),
            Self::Entities => entities::decoded(text),
            Self::Invisible => invisible::without_invisible(text),
            Self::Urls => urls::without_urls(text),
            Self::Nfkc => nfkc::normalized(text),
            Self::Sizes => sizes::without_size(text).map(str::to_owned),
            Self::Files => files::without_ending(text).map(str::to_owned),
            Self::Blanks => blanks::folded(text),
        }
    }
}

/// Which rules are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules(u8);

impl Rules {
    /// Every rule.
    pub const ALL: Self = Self(u8::MAX);
    /// No rule: captions stay as they were crawled.
    pub const NONE: Self = Self(0);

    /// These and `rule`.
    #[must_use]
    pub const fn with(self, rule: Rule) -> Self {
        Self(self.0 | 1 << rule as u8)
    }

    /// These but `rule`.
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !(1 << rule as u8))
    }

    /// Whether `rule` is on.
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & 1 << rule as u8 != 0
    }

    /// Those that are on, in the order in which they are applied.
    pub fn iter(self) -> impl Iterator<Item = Rule> {
        Rule::ALL.into_iter().filter(move |rule| self.has(*rule))
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::ALL
    }
}

/// The names, with commas between them.
impl fmt::Display for Rules {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Rule::name).collect();
        out.write_str(&names.join(","))
    }
}

/// Names with commas between them, in any order; nothing is no rule.
impl FromStr for Rules {
    type Err = anyhow::Error;

    fn from_str(names: &str) -> Result<Self> {
        let mut rules = Self::NONE;
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Some(rule) = Rule::ALL.into_iter().find(|rule| rule.name() == name) else {
                bail!(
                    "expected names of caption rules ({}) with commas between them, found `{name}`",
                    Self::ALL
                );
            };
            rules = rules.with(rule);
        }
        Ok(rules)
    }
}

/// Rounds after which a caption that still changes was made to wear out the cleaner: nobody escapes a text so often.
const MAX_ROUNDS: usize = 16;

/// `caption` as a person would have written it, by `rules`. Cleaned again it stays the same, whatever it was and whatever the rules.
/// Nothing is left of a caption that is still not clean after sixteen rounds.
pub fn clean_caption(caption: &str, rules: Rules) -> String {
    clean(caption, rules, |_| ())
}

/// Those of `rules` that change something in `caption` when it is cleaned, in the order in which they are applied.
pub fn changed_by(caption: &str, rules: Rules) -> Vec<Rule> {
    let mut changing = Rules::NONE;
    clean(caption, rules, |rule| changing = changing.with(rule));
    changing.iter().collect()
}

/// A rule may bring to light what an earlier one is for (an escaped tag), so they are applied until none has anything to do.
fn clean(caption: &str, rules: Rules, mut changes: impl FnMut(Rule)) -> String {
    let mut text = Cow::Borrowed(caption);
    for _ in 0..MAX_ROUNDS {
        let mut is_clean = true;
        for rule in rules.iter() {
            if let Some(next) = rule.apply(&text) {
                is_clean = false;
                changes(rule);
                text = Cow::Owned(next);
            }
        }
        if is_clean {
            return text.into_owned();
        }
    }
    String::new()
}

#[cfg(test)]
mod tests;
