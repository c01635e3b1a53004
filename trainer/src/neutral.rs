//! What stands for no picture in particular when captions are scored: a sample of the corpus's pictures, whose mean the model sees. In: a
//! corpus, a model. Out: the sample's pixels, and which it is. The same for a model for good: it is drawn from the version of `images`
//! that the model's first scores were made beside, so that scores of later runs can be compared with them.

use anyhow::{Context, Result};
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use serde_json::{Value, json};
use tuwen_corpus::Corpus;
use tuwen_etl::sql::{Session, default_memory_bytes};
use tuwen_settings::Settings;
use tuwen_stream::ImagePixels;

/// Pictures of a sample; fewer where the corpus has not so many.
const PICTURES: usize = 64;

/// The setting of a score under which its sample stands.
const KEY: &str = "neutral_image";

/// The pictures that a neutral image is the mean of.
pub(crate) struct Sample {
    /// The version of `images` that they were drawn from.
    images_version: i64,
    /// Side of each in pixels.
    pub(crate) size_px: usize,
    /// RGB, row-major, 0 to 255: `[n, size_px, size_px, 3]`.
    pub(crate) pixels: Vec<u8>,
}

impl Sample {
    /// The sample of the model `model_id`: that of its scores, or a new one.
    ///
    /// # Errors
    /// The corpus cannot be read.
    pub(crate) async fn of(corpus: &Corpus, model_id: &str, settings: &Settings) -> Result<Self> {
        let snapshot = corpus.snapshot().await?;
        let newest = snapshot.version("images").context("expected a table images, found none")?;
        let has_scores = snapshot.version("scores").is_some();
        let session = Session::new(snapshot, settings, default_memory_bytes())?;
        let known = if has_scores { known_version(&session, model_id).await? } else { None };
        if let Some(version) = known.filter(|version| *version != newest) {
            match Self::at(corpus, &session, version, settings).await {
                Ok(sample) => return Ok(sample),
                Err(error) => tracing::warn!(
                    "the pictures that this model's scores were made beside cannot be read (images at version {version}: {error:#}): \
                     all is scored anew"
                ),
            }
        }
        Self::at(corpus, &session, newest, settings).await
    }

    /// The first pictures by their id, which is a hash, at a version of `images`.
    async fn at(
        corpus: &Corpus,
        session: &Session,
        images_version: i64,
        settings: &Settings,
    ) -> Result<Self> {
        let query = format!(
            "select image_id from images@v{images_version} where reject_reason is null order by image_id limit {PICTURES}"
        );
        let ids = texts(session, &query, &[]).await?;
        let (pixels, rows) =
            ImagePixels::find(corpus.root().as_str(), &ids, settings.train.verify).await?;
        let read = tokio::task::spawn_blocking(move || -> Result<Self> {
            let (size_px, mut bytes) = (pixels.size_px(), Vec::new());
            // One that is damaged is left out; who scores it says so.
            let damaged = pixels.read(&rows, &mut bytes)?;
            let is_damaged = |place: u32| damaged.iter().any(|(bad, _)| *bad == place);
            let pictures = bytes.chunks_exact(size_px * size_px * 3).zip(0..);
            let pixels = pictures.filter(|(_, place)| !is_damaged(*place));
            let pixels = pixels.flat_map(|(picture, _)| picture).copied().collect();
            Ok(Self { images_version, size_px, pixels })
        });
        read.await.context("reading pixels panicked")?
    }

    /// How the sample is told from others among the settings of a score.
    pub(crate) fn setting(&self) -> (&'static str, Value) {
        (KEY, json!({ "mean_of": PICTURES, "images_version": self.images_version }))
    }

    /// Pictures.
    pub(crate) fn len(&self) -> usize {
        match self.size_px {
            0 => 0,
            side => self.pixels.len() / (side * side * 3),
        }
    }
}

/// The version of `images` that the sample of this model's newest score was drawn from.
async fn known_version(session: &Session, model_id: &str) -> Result<Option<i64>> {
    let query = "select settings from scores where model_id = $model_id order by scored_at desc, settings limit 1";
    let found = texts(session, query, &[&format!("model_id={model_id}")]).await?;
    let settings = found.first().and_then(|text| serde_json::from_str::<Value>(text).ok());
    Ok(settings.and_then(|settings| settings[KEY]["images_version"].as_i64()))
}

/// The first column of a query's rows.
async fn texts(session: &Session, query: &str, params: &[&str]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for batch in session.ask(query, params).await? {
        let column = cast(batch.column(0), &DataType::Utf8)?;
        all.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(all)
}
