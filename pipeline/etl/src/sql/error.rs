//! An error of a query as its writer sees it: the message, the line that it is about with a caret, and what to do.

use std::fmt;

use datafusion::common::DataFusionError;

use crate::sql::nearest::nearest;
use crate::sql::place::Place;

/// An error of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    message: String,
    place: Option<Place>,
    hint: Option<String>,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(place) = &self.place {
            write!(f, "\n{place}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for QueryError {}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        Self::External(Box::new(error))
    }
}

impl QueryError {
    /// An error that is about no place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, hint: None }
    }

    /// What is wrong, without its place and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it is, if it is about a place.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// What to do, if that is known.
    pub fn what_to_do(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the place that it is about.
    #[must_use]
    pub(super) fn at(mut self, place: impl Into<Option<Place>>) -> Self {
        self.place = place.into();
        self
    }

    /// With the name that was meant, if one is near.
    #[must_use]
    pub(super) fn meant<'a>(self, name: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(name, names) {
            Some(meant) => self.hint(format!("did you mean `{meant}`?")),
            None => self,
        }
    }

    pub(super) fn has_hint(&self) -> bool {
        self.hint.is_some()
    }
}

/// `text` as our messages begin.
pub(super) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
