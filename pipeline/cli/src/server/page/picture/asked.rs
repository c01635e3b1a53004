//! What there is to know of one picture, or of a pair without one. In: an id. Out: the rows of the tables, and the queries that they
//! were asked by.

use std::collections::BTreeMap;

use anyhow::Result;
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use crate::server::page::ask::{MOST_NEAR, Query, Row, query, texts};

/// Pairs and attempts that are shown of one picture; a placeholder has thousands.
pub(super) const MOST_ROWS: i64 = 200;

/// Bits of 64 by which the hashes of near-identical images differ at most.
pub(super) const NEAR_BITS: i64 = 10;

/// All that is known.
#[derive(Default)]
pub(super) struct Known {
    /// Its row of `images`.
    pub(super) image: Option<Row>,
    pub(super) pairs: Vec<Row>,
    pub(super) attempts: Vec<Row>,
    pub(super) captions: Vec<Row>,
    pub(super) scores: Vec<Row>,
    pub(super) near: Vec<Near>,
    /// As somebody may type them.
    pub(super) queries: Vec<String>,
}

/// An image that is nearly the same.
pub(super) struct Near {
    pub(super) image_id: String,
    /// How much it differs, one laid on the other; none if clearly.
    pub(super) difference: Option<f64>,
    /// Bits by which the hashes differ.
    pub(super) bits: String,
}

/// What is known of the image called `image_id`.
///
/// # Errors
/// A table cannot be read.
pub(super) async fn of_picture(ctx: &SessionContext, image_id: &str) -> Result<Known> {
    let image = query!("picture", image_id = image_id);
    let pairs = query!("picture_pairs", image_id = image_id, shown = MOST_ROWS);
    let captions = query!("picture_captions", image_id = image_id);
    let scores = query!("picture_scores", image_id = image_id);
    let queries = [&image, &pairs, &captions, &scores].map(Query::typed);
    let mut known = Known { queries: queries.into(), ..Known::default() };
    let (images, of_pairs, of_captions, of_scores) =
        futures::try_join!(image.rows(ctx), pairs.rows(ctx), captions.rows(ctx), scores.rows(ctx))?;
    known.image = images.into_iter().next();
    (known.pairs, known.captions, known.scores) = (of_pairs, of_captions, of_scores);
    let attempts = attempts(&known.pairs, ScalarValue::from(image_id));
    known.queries.push(attempts.typed());
    let near = near(ctx, image_id, known.image.as_ref());
    let (attempts, (near, of_near)) = futures::try_join!(attempts.rows(ctx), near)?;
    (known.attempts, known.near) = (attempts, near);
    known.queries.extend(of_near);
    Ok(known)
}

/// What is known of a pair that has no picture; none if there is no such pair.
///
/// # Errors
/// A table cannot be read.
pub(super) async fn of_pair(ctx: &SessionContext, example_id: &str) -> Result<Option<Known>> {
    let pair = query!("pair", example_id = example_id);
    let pairs = pair.rows(ctx).await?;
    if pairs.is_empty() {
        return Ok(None);
    }
    let attempts = attempts(&pairs, ScalarValue::Utf8(None));
    let queries = vec![pair.typed(), attempts.typed()];
    let attempts = attempts.rows(ctx).await?;
    Ok(Some(Known { pairs, attempts, queries, ..Known::default() }))
}

/// The attempts at the URLs and files of some pairs.
fn attempts(pairs: &[Row], image_id: ScalarValue) -> Query {
    let urls = pairs.iter().filter_map(|pair| pair.get("url")).map(str::to_owned);
    let files =
        pairs.iter().filter_map(|pair| pair.get("filename")).map(|name| format!("file:{name}"));
    let mut locators: Vec<String> = urls.chain(files).collect();
    locators.sort_unstable();
    locators.dedup();
    query!("attempts", image_id = image_id, locators = texts(&locators), shown = MOST_ROWS)
}

/// Images whose hash is near, and how much they differ.
async fn near(
    ctx: &SessionContext,
    image_id: &str,
    image: Option<&Row>,
) -> Result<(Vec<Near>, Vec<String>)> {
    let dhash = image.and_then(|image| image.get("dhash")?.parse::<i64>().ok());
    let Some(dhash) = dhash else { return Ok(Default::default()) };
    let candidates = query!(
        "near_candidates",
        image_id = image_id,
        dhash = dhash,
        bits = NEAR_BITS,
        shown = MOST_NEAR as i64,
    );
    let found = candidates.rows(ctx).await?;
    if found.is_empty() {
        return Ok((Vec::new(), vec![candidates.typed()]));
    }
    let ids: Vec<String> = found.iter().map(|row| row.text("image_id").to_owned()).collect();
    let differences = query!("near_differences", image_id = image_id, others = texts(&ids));
    let rows = differences.rows(ctx).await?;
    let by_id: BTreeMap<&str, f64> = rows
        .iter()
        .filter_map(|row| Some((row.get("image_id")?, row.get("difference")?.parse().ok()?)))
        .collect();
    let mut near: Vec<Near> = found
        .iter()
        .map(|row| Near {
            image_id: row.text("image_id").to_owned(),
            difference: by_id.get(row.text("image_id")).copied(),
            bits: row.text("bits").to_owned(),
        })
        .collect();
    near.sort_by(|a, b| {
        let key = |near: &Near| near.difference.unwrap_or(f64::INFINITY);
        key(a).total_cmp(&key(b)).then_with(|| a.image_id.cmp(&b.image_id))
    });
    Ok((near, vec![candidates.typed(), differences.typed()]))
}
