//! The splits, and what a person may say of them. In: a text. Out: a rule by name, or shares. Never looks at a pair.

use std::fmt;

/// What begins a rule that is an SQL expression.
pub(crate) const SQL: &str = "sql:";

/// The rules that have a name; any other is an SQL expression after `sql:`.
pub(crate) const RULES: [&str; 5] = ["kept", "auto", "source", "filename", "hash"];

/// Most by which shares may miss 1 together.
const ROUNDING: f64 = 1e-9;

/// A split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// What a model is trained on.
    Train,
    /// What is held out to choose settings by.
    Validation,
    /// What is held out to the end. Of an image that several splits have it is this one's.
    Test,
}

impl Split {
    /// All of them; those that are held out last.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Its name in `examples.split`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// The share of each split, 1 together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Of [`Split::Train`].
    pub train: f64,
    /// Of [`Split::Validation`].
    pub validation: f64,
    /// Of [`Split::Test`].
    pub test: f64,
}

impl Default for Shares {
    fn default() -> Self {
        Self { train: 0.98, validation: 0.01, test: 0.01 }
    }
}

impl Shares {
    /// Reads `train=0.98,validation=0.01,test=0.01`; a split that is left out has no share. None if it is something else, or the
    /// shares are not 1 together.
    pub fn parse(text: &str) -> Option<Self> {
        let mut shares = [None; 3];
        for part in text.split(',') {
            let (name, share) = part.split_once('=')?;
            let place = Split::ALL.iter().position(|split| split.name() == name.trim())?;
            let share: f64 = share.trim().parse().ok()?;
            if !(0.0..=1.0).contains(&share) || shares[place].replace(share).is_some() {
                return None;
            }
        }
        let [train, validation, test] = shares.map(|share| share.unwrap_or(0.0));
        let is_whole = (train + validation + test - 1.0).abs() <= ROUNDING;
        is_whole.then_some(Self { train, validation, test })
    }
}

/// As [`Shares::parse`] reads it.
impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "train={},validation={},test={}", self.train, self.validation, self.test)
    }
}

/// Whether a rule may be called `text`.
pub(crate) fn is_rule(text: &str) -> bool {
    let expression = text.strip_prefix(SQL).map(str::trim);
    RULES.contains(&text) || expression.is_some_and(|expression| !expression.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (text, expected) in [
            ("train=0.98,validation=0.01,test=0.01", Some("train=0.98,validation=0.01,test=0.01")),
            (" test = .5 , train=5e-1", Some("train=0.5,validation=0,test=0.5")),
            ("train=1", Some("train=1,validation=0,test=0")),
            ("train=0.7,validation=0.2,test=0.1", Some("train=0.7,validation=0.2,test=0.1")),
            ("train=0.9,test=0.2", None),
            ("train=1.5,test=-0.5", None),
            ("train=0.5,train=0.5", None),
            ("train=nan", None),
            ("dev=1", None),
            ("train", None),
            ("", None),
        ] {
            let found = Shares::parse(text);
            assert_eq!(found.map(|shares| shares.to_string()).as_deref(), expected, "{text}");
        }
        assert_eq!(Shares::parse(&Shares::default().to_string()), Some(Shares::default()));
    }
}
