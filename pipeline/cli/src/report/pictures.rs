//! Thumbnails of the pictures that are shown. In: their ids. Out: data URIs. Reads the pixels of those pictures alone.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tuwen_etl::sql::thumbnail;
use tuwen_stream::ImagePixels;

use super::{Body, Picture, Section};

/// Adds to each picture whose image is decoded its thumbnail; one whose pixels are damaged stays without. The pictures are looked up
/// once: that reads the light columns of all images.
///
/// # Errors
/// The table `images` cannot be read.
pub(super) async fn add_thumbnails(location: &str, sections: &mut [Section]) -> Result<()> {
    let galleries = sections.iter_mut().filter_map(|section| match &mut section.body {
        Body::Gallery(groups) => Some(groups),
        _ => None,
    });
    let mut pictures: Vec<&mut Picture> =
        galleries.flatten().flat_map(|group| &mut group.pictures).collect();
    let ids = pictures.iter().filter_map(|picture| picture.image_id.clone());
    let mut ids: Vec<String> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(());
    }
    let (pixels, rows) = ImagePixels::find(location, &ids, true).await?;
    let read = tokio::task::spawn_blocking(move || -> Result<Vec<Option<String>>> {
        let (side, mut bytes) = (pixels.size_px(), Vec::new());
        let damaged = pixels.read(&rows, &mut bytes)?;
        let squares = bytes.chunks_exact(side * side * 3).zip(0..);
        let is_damaged = |place: u32| damaged.iter().any(|(bad, _)| *bad == place);
        let thumbnails =
            squares.map(
                |(square, place)| {
                    if is_damaged(place) { None } else { thumbnail(square, side as u32) }
                },
            );
        Ok(thumbnails.collect())
    });
    let thumbnails = read.await.context("reading pixels panicked")??;
    let by_id: BTreeMap<String, Option<String>> = ids.into_iter().zip(thumbnails).collect();
    for picture in &mut pictures {
        let id = picture.image_id.as_ref();
        picture.thumbnail = id.and_then(|id| by_id.get(id)?.clone());
    }
    Ok(())
}
