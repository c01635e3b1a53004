//! The square that is stored of an image, as a picture that browsers show. In: an image's id. Out: a JPEG, or with `?as=png` every
//! pixel as it is. A file of another's making is never handed to the browser here: both are encoded from decoded pixels.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use moka::future::Cache;
use serde::Deserialize;
use tuwen_image::encode_stored;
use tuwen_settings::{DecodeSettings, PixelCodec};
use tuwen_stream::{ImagePixels, ImageRows};

use super::fault::Fault;
use crate::server::Served;

/// Quality of a JPEG: what it loses is not seen beside others.
const JPEG_QUALITY: u8 = 90;

/// How long a browser shows a picture without asking whether it is still the same.
const KEEP: &str = "private, max-age=300";

/// The opened table `images`.
pub(super) struct Squares {
    served: Arc<Served>,
    opened: Cache<i64, Arc<(ImagePixels, ImageRows)>>,
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(rename = "as")]
    format: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Jpeg,
    Png,
}

impl Squares {
    pub(super) fn new(served: Arc<Served>) -> Self {
        Self { served, opened: Cache::new(1) }
    }

    /// The table at `version`: where each image lies is looked up once.
    pub(super) async fn open(&self) -> Result<(i64, Arc<(ImagePixels, ImageRows)>), Fault> {
        let session = self.served.session().await?;
        let Some(version) = session.snapshot().version("images") else {
            return Err(Fault::not_found("the corpus has no table `images` yet"));
        };
        let location = session.snapshot().corpus().root().to_string();
        let opened = self.opened.try_get_with(version, async {
            anyhow::Ok(Arc::new(
                ImagePixels::open(&location, u64::try_from(version)?, false).await?,
            ))
        });
        Ok((version, opened.await.map_err(|error| Fault::from(error.as_ref()))?))
    }
}

/// `/pixels/{image_id}`
pub(super) async fn pixels(
    State(squares): State<Arc<Squares>>,
    Path(image_id): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let format = match wanted.format.as_deref() {
        None | Some("jpeg") => Format::Jpeg,
        Some("png") => Format::Png,
        Some(other) => {
            return Err(Fault::bad_request(format!("`as`: expected jpeg or png, found `{other}`")));
        }
    };
    let (version, opened) = squares.open().await?;
    let Some(row) = opened.1.row(&image_id) else {
        return Err(Fault::not_found("there is no decoded image of this id"));
    };
    // The id is a hash of the file; what was made of it may differ from version to version.
    let tag = format!("\"{version}-{image_id}-{}\"", format as u8);
    let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|known| {
        known.to_str().is_ok_and(|known| known.split(',').any(|known| known.trim() == tag))
    });
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag), (CACHE_CONTROL, KEEP.to_owned())])
            .into_response());
    }
    let read = tokio::task::spawn_blocking(move || encoded(&opened.0, row, format));
    let file = read.await.context("reading pixels panicked")??;
    let kind = match format {
        Format::Jpeg => "image/jpeg",
        Format::Png => "image/png",
    };
    let headers = [(CONTENT_TYPE, kind.to_owned()), (ETAG, tag), (CACHE_CONTROL, KEEP.to_owned())];
    Ok((headers, file).into_response())
}

fn encoded(pixels: &ImagePixels, row: u32, format: Format) -> Result<Vec<u8>> {
    let (size, mut square) = (pixels.size_px() as u32, Vec::new());
    if let Some((_, why)) = pixels.read(&[row], &mut square)?.pop() {
        anyhow::bail!("its pixels cannot be read: {why}");
    }
    match format {
        Format::Jpeg => {
            let settings = DecodeSettings {
                size,
                codec: PixelCodec::Jpeg,
                jpeg_quality: JPEG_QUALITY,
                ..DecodeSettings::default()
            };
            Ok(encode_stored(&square, &settings)?.into_owned())
        }
        Format::Png => {
            let mut file = Vec::new();
            PngEncoder::new(&mut file).write_image(&square, size, size, ExtendedColorType::Rgb8)?;
            Ok(file)
        }
    }
}
