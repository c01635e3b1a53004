//! The rules: SQL files, functions and settings. In: a session with pairs, originals and images, all of a corpus or those that a
//! change concerns. Out: its pairs judged, step by step in scratch tables; and what identifies the rules, so that another
//! version of them is seen as a change.

use anyhow::Result;
use datafusion::prelude::{DataFrame, SessionContext};
use serde::Serialize;
use serde_json::Value;
use tuwen_corpus::Scratch;
use tuwen_corpus::id::{hex, id_of};
use tuwen_corpus::query::frame;
use tuwen_settings::CurateSettings;

use crate::curate::near::collect;
use crate::curate::near_index::NearIndex;
use crate::curate::text_udf::id128_udf;
use crate::curate::{CaptionTokenizer, clean_caption_udf, tokenize_udf};

const ANSWERS: &str = include_str!("../../../../sql/answers.sql");
const PAIR_IMAGES: &str = include_str!("../../../../sql/pair_images.sql");
const CLEAN_CAPTIONS: &str = include_str!("../../../../sql/clean_captions.sql");
const USED_IMAGES: &str = include_str!("../../../../sql/used_images.sql");
const NEAR_SOURCES: &str = include_str!("../../../../sql/near_sources.sql");
const LEAKS: &str = include_str!("../../../../sql/leaks.sql");
const EXAMPLES: &str = include_str!("../../../../sql/examples.sql");

/// What `examples` depends on besides the tables.
pub(super) struct Rules<'a> {
    settings: &'a CurateSettings,
    tokenizer: CaptionTokenizer,
}

/// What identifies the rules; recorded with each run.
#[derive(Serialize)]
struct Identity<'a> {
    settings: &'a CurateSettings,
    tokenizer_id: &'a str,
    sql_id: String,
}

impl<'a> Rules<'a> {
    pub(super) fn new(settings: &'a CurateSettings, tokenizer: CaptionTokenizer) -> Self {
        Self { settings, tokenizer }
    }

    pub(super) fn identity(&self) -> Value {
        let sql =
            [ANSWERS, PAIR_IMAGES, CLEAN_CAPTIONS, USED_IMAGES, NEAR_SOURCES, LEAKS, EXAMPLES];
        let text = [&sql.concat(), env!("CARGO_PKG_VERSION")].concat();
        // The gates decide whether rows are committed, not what they are.
        let settings =
            CurateSettings { audits: String::new(), min_examples: 0, ..self.settings.clone() };
        serde_json::json!(Identity {
            settings: &settings,
            tokenizer_id: &self.tokenizer.file_id,
            sql_id: hex(id_of(text.as_bytes())),
        })
    }

    /// The functions that the rules' SQL uses; `near_test` comes with [`Rules::near_sources`].
    pub(super) fn register(&self, ctx: &SessionContext) {
        ctx.register_udf(clean_caption_udf());
        ctx.register_udf(id128_udf());
        ctx.register_udf(tokenize_udf(self.tokenizer.clone()));
    }

    /// pairs, originals, images -> answers, pair_images.
    pub(super) async fn pair_images(&self, ctx: &SessionContext, scratch: &Scratch) -> Result<u64> {
        hold(ctx, scratch, "answers", ANSWERS).await?;
        hold(ctx, scratch, "pair_images", PAIR_IMAGES).await
    }

    /// pairs, originals, images -> clean_captions.
    pub(super) async fn clean_captions(
        &self,
        ctx: &SessionContext,
        scratch: &Scratch,
    ) -> Result<u64> {
        self.pair_images(ctx, scratch).await?;
        let params = [
            ("min_chars", (self.settings.min_chars as i64).into()),
            ("max_chars", (self.settings.max_chars as i64).into()),
            ("placeholder_captions", (self.settings.placeholder_captions as i64).into()),
        ];
        let captions = frame(ctx, "clean_captions", CLEAN_CAPTIONS, params).await?;
        scratch.hold(ctx, "clean_captions", captions).await
    }

    /// clean_captions -> used_images.
    pub(super) async fn used_images(&self, ctx: &SessionContext, scratch: &Scratch) -> Result<u64> {
        hold(ctx, scratch, "used_images", USED_IMAGES).await
    }

    /// used_images, images -> the index behind the function `near_test`.
    pub(super) async fn near_sources(&self, ctx: &SessionContext) -> Result<NearIndex> {
        self.near_index(frame(ctx, "near_sources", NEAR_SOURCES, []).await?).await
    }

    /// The index of images near to which others are looked for.
    pub(super) async fn near_index(&self, sources: DataFrame) -> Result<NearIndex> {
        collect(self.settings.near_bits as u32, self.settings.near_levels, sources).await
    }

    /// used_images, images, near_test -> leaks.
    pub(super) async fn leaks(&self, ctx: &SessionContext, scratch: &Scratch) -> Result<u64> {
        hold(ctx, scratch, "leaks", LEAKS).await
    }

    /// clean_captions, leaks -> the rows of examples.
    pub(super) async fn examples(&self, ctx: &SessionContext) -> Result<DataFrame> {
        frame(ctx, "examples", EXAMPLES, []).await
    }
}

async fn hold(ctx: &SessionContext, scratch: &Scratch, name: &str, text: &str) -> Result<u64> {
    let rows = frame(ctx, name, text, []).await?;
    scratch.hold(ctx, name, rows).await
}
