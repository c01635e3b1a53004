//! A part of a crawl. In: `K/N` and a locator. Out: whether it is in the part. Hosts are whole in one part, so that whoever fetches it
//! can keep to their limits alone.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF, Volatility, create_udf};
use reqwest::Url;
use serde_json::json;
use tuwen_corpus::registered_domain;

use crate::bound::saying;

/// Part `index` (1, 2, …) of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Of the setting; none if it is empty: all.
    ///
    /// # Errors
    /// It is not `K/N` with 1 <= K <= N.
    pub(crate) fn of(setting: &str) -> Result<Option<Self>> {
        if setting.is_empty() {
            return Ok(None);
        }
        let parsed = setting.split_once('/').and_then(|(index, count)| {
            let shard = Self { index: index.parse().ok()?, count: count.parse().ok()? };
            (1..=shard.count).contains(&shard.index).then_some(shard)
        });
        let parsed = parsed.with_context(|| {
            format!("fetch.shard: expected K/N with K from 1 to N, such as 2/8, found `{setting}`")
        })?;
        Ok(Some(parsed))
    }

    fn contains(self, locator: &str) -> bool {
        let host = Url::parse(locator).ok().as_ref().and_then(registered_domain);
        let hash = crc32fast::hash(host.as_deref().unwrap_or(locator).as_bytes());
        hash % self.count == self.index - 1
    }

    /// Whether `locator` is in it, for SQL.
    pub(super) fn has(self, locator: Expr) -> Expr {
        self.function().call(vec![locator])
    }

    /// `in_shard(varchar) -> boolean`.
    pub(crate) fn function(self) -> ScalarUDF {
        let function = create_udf(
            "in_shard",
            vec![DataType::Utf8],
            DataType::Boolean,
            Volatility::Immutable,
            Arc::new(move |args| {
                let arrays = ColumnarValue::values_to_arrays(args)?;
                let locators = arrays[0].as_string::<i32>().iter();
                let within: BooleanArray =
                    locators.map(|locator| locator.map(|locator| self.contains(locator))).collect();
                Ok(ColumnarValue::Array(Arc::new(within)))
            }),
        );
        saying(function, move || json!({ "shard": format!("{}/{}", self.index, self.count) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_in_one_part() {
        for wrong in ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3"] {
            assert!(Shard::of(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Shard::of("").unwrap(), None);
        let parts: Vec<Shard> = (1..=8).map(|index| Shard { index, count: 8 }).collect();
        let mut used = [false; 8];
        for host in 0..200 {
            let within = |path: &str| {
                let locator = format!("http://img.host{host}.example.com{path}");
                parts.iter().position(|part| part.contains(&locator))
            };
            let part = within("/a.jpg").unwrap();
            assert_eq!(within("/b.jpg"), Some(part));
            used[part] = true;
        }
        // All are of one owner.
        assert_eq!(used.iter().filter(|used| **used).count(), 1);
        let spread = |n: u32| {
            let locator = format!("http://{n}.0.0.1/");
            parts.iter().filter(|part| part.contains(&locator)).count()
        };
        assert!((1..200).all(|n| spread(n) == 1));
    }
}
