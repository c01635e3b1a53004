//! Which rows a reader wants to see. In: the parameters of a page. Out: a filter; the same as parameters again, for links.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::rows::Fate;
use crate::server::page::fault::Fault;

/// Most characters of a text that is looked for, and of a condition.
const MOST_TEXT: usize = 500;
const MOST_CONDITION: usize = 8000;

/// The split that stands for none.
pub(in crate::server::page) const REJECTED: &str = "rejected";

/// What a page of the gallery, or of a picture, may be asked for.
#[derive(Debug, Default, Deserialize)]
pub(in crate::server::page) struct Asked {
    split: Option<String>,
    reason: Option<String>,
    q: Option<String>,
    #[serde(rename = "where")]
    condition: Option<String>,
    /// Behind which place the page begins, as [`Place`] has it.
    pub(super) after: Option<String>,
    /// Where in the gallery a picture is.
    pub(in crate::server::page) at: Option<String>,
    /// Without what stands around it.
    pub(super) part: Option<String>,
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::server::page) struct Filter {
    /// A split, or [`REJECTED`].
    pub(super) split: Option<String>,
    pub(super) reason: Option<String>,
    /// What the caption has in it.
    pub(super) text: Option<String>,
    /// What SQL says of the row.
    pub(super) condition: Option<String>,
}

impl Filter {
    /// Whether all rows are to be asked, by SQL.
    pub(super) fn asks_all_rows(&self) -> bool {
        self.text.is_some() || self.condition.is_some()
    }

    /// # Errors
    /// Too long a text.
    pub(in crate::server::page) fn of(asked: &Asked) -> Result<Self, Fault> {
        let given = |value: &Option<String>| {
            value.as_deref().map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let filter = Self {
            split: given(&asked.split),
            reason: given(&asked.reason),
            text: given(&asked.q),
            condition: given(&asked.condition),
        };
        for (name, value, most) in
            [("q", &filter.text, MOST_TEXT), ("where", &filter.condition, MOST_CONDITION)]
        {
            let n = value.as_ref().map_or(0, |value| value.chars().count());
            if n > most {
                let said = format!("`{name}`: expected at most {most} characters, found {n}");
                return Err(Fault::bad_request(said));
            }
        }
        Ok(filter)
    }

    /// Whether rows of `fate` are wanted.
    pub(super) fn wants(&self, fate: &Fate) -> bool {
        let split = match self.split.as_deref() {
            None => true,
            Some(REJECTED) => fate.split.is_none(),
            split => fate.split.as_deref() == split,
        };
        split && (self.reason.is_none() || self.reason == fate.reason)
    }

    /// Whether nothing is filtered.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `split=train&q=…`, and `more` behind.
    pub(in crate::server::page) fn query(&self, more: &[(&str, &str)]) -> String {
        let own = [
            ("split", self.split.as_deref()),
            ("reason", self.reason.as_deref()),
            ("q", self.text.as_deref()),
            ("where", self.condition.as_deref()),
        ];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let pairs = own.chain(more.iter().copied());
        let pairs: Vec<String> =
            pairs.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        pairs.join("&")
    }
}

/// As it may stand in a path or a query.
pub(in crate::server::page) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A place in the gallery: a row of one version of `examples`, written `VERSION-ROW`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::page) struct Place {
    pub(in crate::server::page) version: i64,
    pub(in crate::server::page) row: u32,
}

impl Place {
    /// # Errors
    /// That is no place.
    pub(in crate::server::page) fn of(text: &str) -> Result<Self, Fault> {
        let parsed = text.split_once('-').and_then(|(version, row)| {
            let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            (is_number(version) && is_number(row))
                .then(|| Some(Self { version: version.parse().ok()?, row: row.parse().ok()? }))?
        });
        parsed.ok_or_else(|| {
            Fault::bad_request(format!("expected a place such as 3-48, found `{text}`"))
        })
    }

    pub(in crate::server::page) fn text(self) -> String {
        format!("{}-{}", self.version, self.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let place = Place { version: 12, row: 4_000_000_000 };
        assert_eq!(Place::of(&place.text()).unwrap(), place);
        for text in
            ["", "-", "1", "1-", "-1", "a-b", "1-4294967296", "1--1", "+1-1", "1-2-3", "１-２"]
        {
            assert!(Place::of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_filter_in_a_link_is_the_same_filter() {
        let asked = Asked {
            q: Some(" <b>&\"红=圆 ".to_owned()),
            condition: Some("n_tokens > 3 and text <> '%'".to_owned()),
            reason: Some(String::new()),
            ..Asked::default()
        };
        let filter = Filter::of(&asked).unwrap();
        let query = filter.query(&[("after", "1-2")]);
        assert!(
            query.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%&=".contains(&byte)),
            "{query}"
        );
        let uri = format!("/?{query}").parse().unwrap();
        let axum::extract::Query(again) =
            axum::extract::Query::<Asked>::try_from_uri(&uri).unwrap();
        assert_eq!(again.after.as_deref(), Some("1-2"));
        assert_eq!(Filter::of(&again).unwrap(), filter);
    }
}
