//! Pixels of given images, whatever their captions. In: a corpus and image ids. Out: where in the table they lie, and their
//! pixels. Never writes, and never looks at a later version of the table than the one it found them in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use tokio::runtime::Handle;

use super::id::parse_id;
use super::read::{
    FILE_COLUMNS, FileAccess, ImageFiles, ImageId, LiveFile, Pick, ScannedFile, Slots, scan_files,
    starts,
};
use super::select::PinnedTable;
use tuwen_settings::ReadPath;

/// The table `images` at one version, opened for reading the pixels of some of its rows.
pub struct ImagePixels {
    files: ImageFiles,
    version: u64,
    size_px: u32,
}

/// Where the decoded images of a table lie: 20 bytes an image.
pub struct ImageRows {
    /// Ascending.
    ids: Vec<u128>,
    rows: Vec<u32>,
}

impl ImageRows {
    /// The row of the image called `image_id`, counted over all files; none if there is no such image, or that is no id.
    pub fn row(&self, image_id: &str) -> Option<u32> {
        let place = self.ids.binary_search(&parse_id(image_id).ok()?).ok()?;
        Some(self.rows[place])
    }
}

/// The light columns of a table's files.
struct Scan {
    label: String,
    version: u64,
    live: Vec<LiveFile>,
    files: Vec<ScannedFile>,
    /// The decoded images that are wanted, ascending by id.
    images: Vec<Found>,
}

/// A decoded image: its id, its row counted over all files, and its size.
type Found = (u128, u32, u32);

impl Scan {
    /// Scans `version`, or the newest, for the images of `wanted`, or all.
    async fn of(
        location: &str,
        version: Option<u64>,
        wanted: Option<BTreeSet<u128>>,
        verify: bool,
    ) -> Result<Self> {
        let table = PinnedTable::open(location, "images", version).await?;
        let label = table.label();
        let access = match table.folder() {
            Some(folder) => FileAccess::Mapped(folder.to_owned()),
            None => FileAccess::Store(table.store(), Handle::current()),
        };
        let live = table.files(&FILE_COLUMNS)?;
        let scan = {
            let (label, live) = (label.clone(), live.clone());
            tokio::task::spawn_blocking(move || {
                let found = Mutex::new(Vec::new());
                let take_ids = |file: usize, ids: &[ImageId]| {
                    let is_wanted = |id: &u128| wanted.as_ref().is_none_or(|all| all.contains(id));
                    let ids = ids.iter().filter(|image| is_wanted(&image.id));
                    let mut found = found.lock().map_err(|_| anyhow!("another scan panicked"))?;
                    found.extend(ids.map(|image| (file, *image)));
                    Ok(())
                };
                let files = scan_files(&label, &access, &live, verify, &take_ids)?;
                let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
                Ok::<_, anyhow::Error>((files, found))
            })
        };
        let (files, found) = scan.await.context("the scan of table `images` panicked")??;
        let files = files.into_iter().collect::<Result<Vec<_>>>()?;
        let starts = starts(&label, files.iter().map(ScannedFile::n_rows))?;
        let of_table =
            |(file, image): (usize, ImageId)| (image.id, starts[file] + image.row, image.size_px);
        let mut images: Vec<Found> = found.into_iter().map(of_table).collect();
        images.sort_unstable();
        // The first of two rows with one id stays: they hold the same picture.
        images.dedup_by_key(|(id, ..)| *id);
        Ok(Self { label, version: table.version(), live, files, images })
    }

    fn into_pixels(self, size_px: u32) -> Result<ImagePixels> {
        let pixel_bytes = size_px as usize * size_px as usize * 3;
        let Self { label, version, live, files, .. } = self;
        let files = ImageFiles::new(label, ReadPath::Fastest, pixel_bytes, live, files)?;
        Ok(ImagePixels { files, version, size_px })
    }
}

impl ImagePixels {
    /// Opens the newest version of `images` in the corpus at `location`, and gives the row of each of `image_ids`, counted
    /// over all files. Reads the light columns of all rows. With `verify` pixels are compared with their CRC-32 when they are read.
    ///
    /// # Errors
    /// The table cannot be read; an id that it has no decoded image of; images of several sizes.
    pub async fn find(
        location: &str,
        image_ids: &[String],
        verify: bool,
    ) -> Result<(Self, Vec<u32>)> {
        let ids: Vec<u128> = image_ids.iter().map(|id| parse_id(id)).collect::<Result<_>>()?;
        let scan = Scan::of(location, None, Some(ids.iter().copied().collect()), verify).await?;
        let label = &scan.label;
        let (mut rows, mut size_px) = (Vec::with_capacity(ids.len()), 0);
        for (id, text) in ids.iter().zip(image_ids) {
            let Ok(place) = scan.images.binary_search_by_key(id, |(id, ..)| *id) else {
                bail!("{label}: expected a decoded image {text}, found none");
            };
            let (_, row, size) = scan.images[place];
            if size_px != 0 && size != size_px {
                bail!("{label}: expected images of one size, found {size_px} px and {size} px");
            }
            size_px = size;
            rows.push(row);
        }
        Ok((scan.into_pixels(size_px)?, rows))
    }

    /// Opens `images` in the corpus at `location` at `version`, and says where each decoded image lies. Of a table with images of
    /// several sizes only those of the size that most have are there. Reads the light columns of all rows; `verify` as above.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn open(location: &str, version: u64, verify: bool) -> Result<(Self, ImageRows)> {
        let mut scan = Scan::of(location, Some(version), None, verify).await?;
        let mut images = std::mem::take(&mut scan.images);
        let mut sizes = BTreeMap::<u32, usize>::new();
        images.iter().for_each(|(.., size)| *sizes.entry(*size).or_default() += 1);
        let size_px = sizes.iter().max_by_key(|(_, n)| **n).map_or(0, |(size, _)| *size);
        images.retain(|(.., size)| *size == size_px);
        let rows = ImageRows {
            ids: images.iter().map(|(id, ..)| *id).collect(),
            rows: images.iter().map(|(_, row, _)| *row).collect(),
        };
        Ok((scan.into_pixels(size_px)?, rows))
    }

    /// The version of the table.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Side of the images in pixels; 0 if none was asked for.
    pub fn size_px(&self) -> usize {
        self.size_px as usize
    }

    /// Puts the pixels of `rows` `[b]` into `out`: `[b, size_px, size_px, 3]`, RGB, row-major. Blocks; must not be called in
    /// an async task. Gives the places in `rows` of those that cannot be read, and why; their pixels hold anything.
    ///
    /// # Errors
    /// A store does not answer.
    pub fn read(&self, rows: &[u32], out: &mut Vec<u8>) -> Result<Vec<(u32, String)>> {
        let picks = rows.iter().zip(0_u32..);
        let mut picks: Vec<Pick> = picks.map(|(&row, slot)| self.files.pick(row, slot)).collect();
        let pixel_bytes = self.size_px() * self.size_px() * 3;
        out.resize(rows.len() * pixel_bytes, 0);
        let bad = self.files.fill(&mut picks, &mut Slots::new(out, pixel_bytes), true)?;
        Ok(bad.into_iter().map(|bad| (bad.slot, bad.why)).collect())
    }
}
