//! What a value may be. In: a TOML value. Out: whether it may, and the words for it. Never knows a
//! setting.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Bound, Range, RangeBounds, RangeInclusive};

use toml::Value;

use crate::split::{RULES, SQL, Shares, is_rule};

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// `true` or `false`.
    Bool,
    /// Any text, the empty one too.
    Text,
    /// Any text but the empty one.
    FilledText,
    /// Text that can be the value of an HTTP header: not empty, and on one line.
    HeaderText,
    /// As [`Allowed::HeaderText`], or empty.
    Line,
    /// `ADDRESS:PORT`, or nothing.
    Socket,
    /// `ADDRESS` or `ADDRESS:PORT`, or nothing.
    Server,
    /// `K/N`, part K of N, or nothing.
    Shard,
    /// `cpu`, `cuda`, `cuda:N` or `auto`.
    Device,
    /// The name of a rule for splits, or `sql:` and an expression.
    SplitRule,
    /// The shares of splits, or nothing.
    Shares,
    /// One word of a closed list.
    OneOf(&'static [&'static str]),
    /// A whole number in a range, both ends included.
    Whole {
        /// The smallest.
        least: i64,
        /// The largest.
        most: i64,
    },
    /// A finite number in a range.
    Number {
        /// Where it begins.
        least: Bound<f64>,
        /// Where it ends.
        most: Bound<f64>,
    },
    /// Two numbers above 0, the first not above the second, which is at most `most`.
    Interval {
        /// The largest; infinity: any finite number.
        most: f64,
    },
}

/// A whole number of that range.
pub(crate) const fn whole(range: RangeInclusive<i64>) -> Allowed {
    Allowed::Whole { least: *range.start(), most: *range.end() }
}

/// A number of that range.
pub(crate) const fn number(range: RangeInclusive<f64>) -> Allowed {
    Allowed::Number { least: Bound::Included(*range.start()), most: Bound::Included(*range.end()) }
}

/// A number of that range, its end left out.
pub(crate) const fn number_below(range: Range<f64>) -> Allowed {
    Allowed::Number { least: Bound::Included(range.start), most: Bound::Excluded(range.end) }
}

/// A finite number from `least` on.
pub(crate) const fn at_least(least: f64) -> Allowed {
    number_below(least..f64::INFINITY)
}

/// A finite number above `limit`.
pub(crate) const fn above(limit: f64) -> Allowed {
    Allowed::Number { least: Bound::Excluded(limit), most: Bound::Excluded(f64::INFINITY) }
}

impl Allowed {
    /// Whether the setting is a text, which is taken as it is typed.
    pub(crate) fn is_text(&self) -> bool {
        matches!(
            self,
            Self::Text
                | Self::FilledText
                | Self::HeaderText
                | Self::Line
                | Self::Socket
                | Self::Server
                | Self::Shard
                | Self::Device
                | Self::SplitRule
                | Self::Shares
        )
    }

    /// Whether it may be `value`.
    pub(crate) fn admits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Bool, Value::Boolean(_)) | (Self::Text, Value::String(_)) => true,
            (Self::FilledText, Value::String(text)) => !text.is_empty(),
            (Self::HeaderText, Value::String(text)) => {
                !text.is_empty() && !text.chars().any(char::is_control)
            }
            (Self::Line, Value::String(text)) => !text.chars().any(char::is_control),
            (Self::Socket, Value::String(text)) => text.is_empty() || is_socket(text),
            (Self::Server, Value::String(text)) => {
                text.is_empty() || is_socket(text) || text.parse::<IpAddr>().is_ok()
            }
            (Self::Shard, Value::String(text)) => text.is_empty() || is_shard(text),
            (Self::Device, Value::String(text)) => is_device(text),
            (Self::SplitRule, Value::String(text)) => is_rule(text),
            (Self::Shares, Value::String(text)) => text.is_empty() || Shares::parse(text).is_some(),
            (Self::OneOf(words), Value::String(text)) => words.contains(&text.as_str()),
            // transformers' `early_stopping` is a bool or a word.
            (Self::OneOf(words), Value::Boolean(bool)) => {
                words.contains(&bool.to_string().as_str())
            }
            (Self::Whole { least, most }, Value::Integer(number)) => {
                (least..=most).contains(&number)
            }
            (Self::Number { least, most }, value) => {
                number_of(value).is_some_and(|number| (*least, *most).contains(&number))
            }
            (Self::Interval { most }, Value::Array(pair)) => match pair.as_slice() {
                [low, high] => is_interval(number_of(low), number_of(high), *most),
                _ => false,
            },
            _ => false,
        }
    }

    /// What is expected instead of `found`, which it may not be: the kind of value too, where that
    /// is wrong.
    pub(crate) fn expected(&self, found: &Value) -> String {
        match (self, found) {
            (Self::Whole { .. }, Value::Integer(_)) => self.to_string(),
            (Self::Number { .. }, Value::Integer(_) | Value::Float(_)) => self.to_string(),
            (Self::Whole { .. }, _) => format!("a whole number, {self}"),
            (Self::Number { .. }, _) => format!("a number, {self}"),
            _ => self.to_string(),
        }
    }
}

fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

fn is_socket(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok()
}

fn is_shard(text: &str) -> bool {
    let part = text.split_once('/');
    let part = part.and_then(|(k, n)| Some((k.parse::<u32>().ok()?, n.parse::<u32>().ok()?)));
    part.is_some_and(|(k, n)| (1..=n).contains(&k))
}

fn is_device(text: &str) -> bool {
    let index = text.strip_prefix("cuda:");
    matches!(text, "cpu" | "cuda" | "auto")
        || index.is_some_and(|index| index.parse::<u16>().is_ok())
}

fn is_interval(low: Option<f64>, high: Option<f64>, most: f64) -> bool {
    let (Some(low), Some(high)) = (low, high) else { return false };
    0.0 < low && low <= high && high <= most && high.is_finite()
}

/// The words after "expected".
impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Text => f.write_str("a text"),
            Self::FilledText => f.write_str("a text that is not empty"),
            Self::HeaderText => f.write_str("a text of one line"),
            Self::Line => f.write_str("a text of one line, or nothing"),
            Self::Socket => f.write_str("ADDRESS:PORT, or nothing"),
            Self::Server => f.write_str("ADDRESS or ADDRESS:PORT, or nothing"),
            Self::Shard => f.write_str("K/N with K from 1 to N, or nothing"),
            Self::Device => f.write_str("cpu, cuda, cuda:N or auto"),
            Self::SplitRule => write!(f, "one of {}, or {SQL} EXPRESSION", RULES.join(", ")),
            Self::Shares => write!(f, "shares that are 1 together, such as {}", Shares::default()),
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::Whole { least, most } => write!(f, "{least} to {most}"),
            Self::Number { least, most } => match (least, most) {
                (Bound::Included(least), Bound::Included(most)) => write!(f, "{least} to {most}"),
                (Bound::Excluded(limit), _) => write!(f, "a number above {limit}"),
                (Bound::Included(least), Bound::Excluded(most)) if most.is_finite() => {
                    write!(f, "at least {least} and below {most}")
                }
                (Bound::Included(least), _) => write!(f, "at least {least}"),
                (Bound::Unbounded, _) => f.write_str("a number"),
            },
            Self::Interval { most } if most.is_finite() => {
                write!(f, "[least, most] with 0 < least <= most <= {most}")
            }
            Self::Interval { .. } => f.write_str("[least, most] with 0 < least <= most"),
        }
    }
}

/// The words after "found".
pub(crate) fn found(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "nothing".to_owned(),
        Value::String(text) => format!("`{}`", one_line(text)),
        Value::Table(_) => "a table".to_owned(),
        value => one_line(&value.to_string()),
    }
}

/// A text without its control characters, which would break a message in two.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}
