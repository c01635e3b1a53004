//! Pixels of given images, whatever their captions. In: a corpus and image ids. Out: where in the table they lie, and their
//! pixels. Never writes, and never looks at a later version of the table than the one it found them in.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use tokio::runtime::Handle;

use super::id::parse_id;
use super::read::{
    FILE_COLUMNS, FileAccess, ImageFiles, LiveFile, Pick, ScannedFile, Slots, rows_by_id,
    scan_files,
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
}

impl Scan {
    async fn of(location: &str, version: Option<u64>, verify: bool) -> Result<Self> {
        let table = PinnedTable::open(location, "images", version).await?;
        let label = table.label();
        let access = match table.folder() {
            Some(folder) => FileAccess::Mapped(folder.to_owned()),
            None => FileAccess::Store(table.store(), Handle::current()),
        };
        let live = table.files(&FILE_COLUMNS)?;
        let scan = {
            let (label, live) = (label.clone(), live.clone());
            tokio::task::spawn_blocking(move || scan_files(&label, &access, &live, verify))
        };
        let files = scan.await.context("the scan of table `images` panicked")??;
        let files = files.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(Self { label, version: table.version(), live, files })
    }

    fn into_pixels(self, size_px: u32) -> Result<ImagePixels> {
        let pixel_bytes = size_px as usize * size_px as usize * 3;
        let Self { label, version, live, files } = self;
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
        let scan = Scan::of(location, None, verify).await?;
        let rows_by_id = rows_by_id(&scan.files)?;
        let label = &scan.label;
        let (mut rows, mut size_px) = (Vec::with_capacity(image_ids.len()), 0);
        for id in image_ids {
            let Some(&(row, size)) = rows_by_id.get(&parse_id(id)?) else {
                bail!("{label}: expected a decoded image {id}, found none");
            };
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
        let scan = Scan::of(location, Some(version), verify).await?;
        let mut images: Vec<(u128, u32, u32)> =
            rows_by_id(&scan.files)?.into_iter().map(|(id, (row, size))| (id, row, size)).collect();
        images.sort_unstable();
        let mut sizes = BTreeMap::<u32, usize>::new();
        images.iter().for_each(|(_, _, size)| *sizes.entry(*size).or_default() += 1);
        let size_px = sizes.iter().max_by_key(|(_, n)| **n).map_or(0, |(size, _)| *size);
        images.retain(|(_, _, size)| *size == size_px);
        let rows = ImageRows {
            ids: images.iter().map(|(id, _, _)| *id).collect(),
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
