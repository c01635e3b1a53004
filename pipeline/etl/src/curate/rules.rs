//! The rules: SQL files, functions and settings. In: a session with pairs, originals and images, all of a corpus or those that a
//! change concerns. Out: its pairs judged, step by step in scratch tables; and what identifies the rules, so that another
//! version of them is seen as a change.

use std::time::Instant;

use anyhow::Result;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{DataFrame, SessionContext};
use serde::Serialize;
use serde_json::Value;
use tuwen_corpus::Scratch;
use tuwen_corpus::id::{hex, id_of};
use tuwen_corpus::query::frame;
use tuwen_settings::{CurateSettings, Split};

use crate::curate::near::{grouped, grouped_of};
use crate::curate::near_rows::NearImages;
use crate::curate::{CaptionTokenizer, SplitRule, caption_rules, caption_udfs, tokenize_udf};

const ANSWERS: &str = include_str!("../../../../sql/answers.sql");
const PAIR_IMAGES: &str = include_str!("../../../../sql/pair_images.sql");
const SHARED_IMAGES: &str = include_str!("../../../../sql/shared_images.sql");
const PLACEHOLDER_IMAGES: &str = include_str!("../../../../sql/placeholder_images.sql");
const CLEAN_CAPTIONS: &str = include_str!("../../../../sql/clean_captions.sql");
const REPEATED_CAPTIONS: &str = include_str!("../../../../sql/repeated_captions.sql");
const HELD_OUT_IMAGES: &str = include_str!("../../../../sql/held_out_images.sql");
const USED_IMAGES: &str = include_str!("../../../../sql/used_images.sql");
const NEAR_SOURCES: &str = include_str!("../../../../sql/near_sources.sql");
const LEAKS: &str = include_str!("../../../../sql/leaks.sql");
const GROUPED_IMAGES: &str = include_str!("../../../../sql/grouped_images.sql");
const EXAMPLES: &str = include_str!("../../../../sql/examples.sql");

/// What `examples` depends on besides the tables.
pub(super) struct Rules<'a> {
    settings: &'a CurateSettings,
    cleaning: tuwen_caption::Rules,
    tokenizer: CaptionTokenizer,
    split: SplitRule,
    split_udf: ScalarUDF,
}

/// The images of the splits that are held out, as others are compared with them.
pub(super) struct HeldOut {
    test: NearImages,
    validation: NearImages,
}

impl HeldOut {
    /// Registers the functions `near_test` and `near_validation`, and those of thumbnails alone.
    pub(super) fn register(&self, ctx: &SessionContext) {
        for (split, index) in [("test", &self.test), ("validation", &self.validation)] {
            ctx.register_udf(index.function(&format!("near_{split}")));
            ctx.register_udf(index.function(&format!("near_{split}_thumb")));
        }
    }
}

/// What identifies the rules; recorded with each run.
#[derive(Serialize)]
struct Identity<'a> {
    settings: &'a CurateSettings,
    tokenizer_id: &'a str,
    sql_id: String,
}

impl<'a> Rules<'a> {
    /// The rules with `split`.
    ///
    /// # Errors
    /// Those of [`SplitRule::udf`], and of caption rules that have no such name.
    pub(super) fn new(
        settings: &'a CurateSettings,
        tokenizer: CaptionTokenizer,
        split: SplitRule,
    ) -> Result<Self> {
        let (cleaning, split_udf) = (caption_rules(settings)?, split.udf()?);
        Ok(Self { settings, cleaning, tokenizer, split, split_udf })
    }

    pub(super) fn identity(&self) -> Value {
        let sql = [
            ANSWERS,
            PAIR_IMAGES,
            SHARED_IMAGES,
            PLACEHOLDER_IMAGES,
            CLEAN_CAPTIONS,
            REPEATED_CAPTIONS,
            USED_IMAGES,
            HELD_OUT_IMAGES,
            NEAR_SOURCES,
            LEAKS,
            GROUPED_IMAGES,
            EXAMPLES,
        ];
        let text = [&sql.concat(), env!("CARGO_PKG_VERSION")].concat();
        // The gates decide whether rows are committed, not what they are.
        let settings =
            CurateSettings { audits: String::new(), min_examples: 0, ..self.settings.clone() };
        let settings = self.split.recorded_in(settings);
        serde_json::json!(Identity {
            settings: &settings,
            tokenizer_id: &self.tokenizer.file_id,
            sql_id: hex(id_of(text.as_bytes())),
        })
    }

    /// The functions that the rules' SQL uses; those of [`HeldOut`] come with [`Rules::near_sources`].
    pub(super) fn register(&self, ctx: &SessionContext) {
        for udf in caption_udfs(self.cleaning) {
            ctx.register_udf(udf);
        }
        ctx.register_udf(tokenize_udf(self.tokenizer.clone()));
        ctx.register_udf(self.split_udf.clone());
    }

    /// pairs, originals, images -> answers, pair_images.
    pub(super) async fn pair_images(&self, ctx: &SessionContext, scratch: &Scratch) -> Result<u64> {
        hold(ctx, scratch, "answers", ANSWERS).await?;
        hold(ctx, scratch, "pair_images", PAIR_IMAGES).await
    }

    /// pair_images -> clean_captions, repeated_captions. What is small of it is held, so that joins hash that and let the rest pass.
    pub(super) async fn clean_captions(
        &self,
        ctx: &SessionContext,
        scratch: &Scratch,
    ) -> Result<u64> {
        hold(ctx, scratch, "shared_images", SHARED_IMAGES).await?;
        let most = self.settings.placeholder_captions as i64;
        let params = [("placeholder_captions", most.into())];
        let rows = frame(ctx, "placeholder_images", PLACEHOLDER_IMAGES, params).await?;
        scratch.hold(ctx, "placeholder_images", rows).await?;
        let params = [
            ("min_chars", (self.settings.min_chars as i64).into()),
            ("max_chars", (self.settings.max_chars as i64).into()),
        ];
        let rows = frame(ctx, "clean_captions", CLEAN_CAPTIONS, params).await?;
        let n_rows = scratch.hold(ctx, "clean_captions", rows).await?;
        self.split.check(ctx).await?;
        hold(ctx, scratch, "repeated_captions", REPEATED_CAPTIONS).await?;
        Ok(n_rows)
    }

    /// clean_captions -> the view used_images.
    pub(super) async fn used_images(&self, ctx: &SessionContext) -> Result<()> {
        let rows = frame(ctx, "used_images", USED_IMAGES, []).await?;
        ctx.deregister_table("used_images")?;
        ctx.register_table("used_images", rows.into_view())?;
        Ok(())
    }

    /// used_images, images -> held_out_images, and the indexes behind the functions that look for near ones.
    pub(super) async fn near_sources(
        &self,
        ctx: &SessionContext,
        scratch: &Scratch,
    ) -> Result<HeldOut> {
        hold(ctx, scratch, "held_out_images", HELD_OUT_IMAGES).await?;
        let clock = Instant::now();
        let index = async |split: Split| {
            let params = [("split", split.name().into())];
            let sources = frame(ctx, "near_sources", NEAR_SOURCES, params).await?;
            self.near_images(sources, (ctx, scratch, &format!("near_{}", split.name()))).await
        };
        let held_out = HeldOut {
            test: index(Split::Test).await?,
            validation: index(Split::Validation).await?,
        };
        let seconds = clock.elapsed().as_secs_f64();
        tracing::debug!(step = "near_sources", seconds, "near_sources: {seconds:.2} s");
        Ok(held_out)
    }

    /// Images near to which others are looked for; where they are held, under that name.
    pub(super) async fn near_images(
        &self,
        sources: DataFrame,
        held: (&SessionContext, &Scratch, &str),
    ) -> Result<NearImages> {
        NearImages::of(self.settings.near_difference, sources, held).await
    }

    /// used_images, held_out_images, images -> leaks.
    pub(super) async fn leaks(&self, ctx: &SessionContext, scratch: &Scratch) -> Result<u64> {
        hold(ctx, scratch, "leaks", LEAKS).await
    }

    /// used_images, leaks, images -> near_groups, if they are asked for; else that is empty.
    pub(super) async fn near_groups(&self, ctx: &SessionContext) -> Result<()> {
        let groups = match self.settings.group_near {
            true => {
                let images = frame(ctx, "grouped_images", GROUPED_IMAGES, []).await?;
                grouped(self.settings.near_difference, images).await?
            }
            false => grouped_of(&[], &[])?,
        };
        ctx.deregister_table("near_groups")?;
        ctx.register_batch("near_groups", groups)?;
        Ok(())
    }

    /// Whether a row depends on images that no change of it touches: then all are made anew.
    pub(super) fn depend_on_all(&self) -> bool {
        self.settings.group_near
    }

    /// clean_captions, repeated_captions, leaks, near_groups -> the rows of examples.
    pub(super) async fn examples(&self, ctx: &SessionContext) -> Result<DataFrame> {
        frame(ctx, "examples", EXAMPLES, []).await
    }
}

async fn hold(ctx: &SessionContext, scratch: &Scratch, name: &str, text: &str) -> Result<u64> {
    let rows = frame(ctx, name, text, []).await?;
    scratch.hold(ctx, name, rows).await
}
