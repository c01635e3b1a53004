//! Functions of SQL for a process that has a plan and not the session it was made in. In: a name, and what was bound into the function
//! there (`bound.rs`). Out: the function.

use anyhow::{Context, Result};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use serde::Deserialize;
use tuwen_corpus::report::Progress;
use tuwen_corpus::{Rows, bare_session};
use tuwen_settings::{CurateSettings, DecodeSettings, Settings};

use crate::curate::{CaptionTokenizer, NearRows, SplitRule, TokenizerParts, caption_udfs};
use crate::decode::decode_udf;
use crate::fetch::Shard;
use crate::sql::{picture_udfs, register_functions, token_udfs_of};

pub use crate::bound::bound_into;

/// What is bound into a function.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Names of caption rules.
    Rules(String),
    /// Settings of the decoder.
    Decode(DecodeSettings),
    /// A tokenizer, and how long captions may be.
    Tokenizer(TokenizerParts),
    /// `curate.split` and `curate.split_shares`.
    Split(String, String),
    /// Images that others are compared with.
    Near(NearRows),
    /// `fetch.shard`.
    Shard(String),
    /// Settings of the decoder, of the functions on pictures.
    Pictures(DecodeSettings),
}

impl Bound {
    /// The function called `name` into which this is bound.
    ///
    /// # Errors
    /// There is none, or what is bound is not what it can have.
    pub fn function(self, name: &str) -> Result<ScalarUDF> {
        let functions = match self {
            Self::Rules(rules) => caption_udfs(rules.parse()?).to_vec(),
            Self::Decode(settings) => vec![decode_udf(settings, Progress::hidden())],
            Self::Tokenizer(parts) => token_udfs_of(CaptionTokenizer::of(parts)?).to_vec(),
            Self::Split(split, split_shares) => {
                let settings = CurateSettings { split, split_shares, ..CurateSettings::default() };
                vec![SplitRule::of(&settings, None)?.udf()?]
            }
            Self::Near(rows) => vec![rows.function(name)],
            Self::Shard(setting) => {
                Shard::of(&setting)?.iter().map(|shard| shard.function()).collect()
            }
            Self::Pictures(settings) => picture_udfs(&settings).to_vec(),
        };
        let found = functions.into_iter().find(|function| function.name() == name);
        found.with_context(|| format!("function {name}: expected one of this version of tuwen"))
    }
}

/// A session with all functions of which nothing needs to be said but the name.
///
/// # Errors
/// Never for settings by default.
pub fn named_session() -> Result<SessionContext> {
    let ctx = bare_session(Rows::Light)?;
    register_functions(&ctx, &Settings::default())?;
    Ok(ctx)
}
