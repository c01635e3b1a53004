//! Pixels of given images, whatever their captions. In: a corpus and image ids. Out: where in the table they lie, and their
//! pixels. Never writes, and never looks at a later version of the table than the one it found them in.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use tokio::runtime::Handle;

use super::id::parse_id;
use super::read::{
    FILE_COLUMNS, FileAccess, ImageFiles, ImageId, Pick, ScannedFile, Slots, scan_files, starts,
};
use super::select::PinnedTable;
use tuwen_settings::ReadPath;

/// The table `images` at one version, opened for reading the pixels of some of its rows.
pub struct ImagePixels {
    files: ImageFiles,
    version: u64,
    size_px: u32,
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
        let table = PinnedTable::open(location, "images", None).await?;
        let label = table.label();
        let access = match table.folder() {
            Some(folder) => FileAccess::Mapped(folder.to_owned()),
            None => FileAccess::Store(table.store(), Handle::current()),
        };
        let live = table.files(&FILE_COLUMNS)?;
        let mut wanted: BTreeMap<u128, Option<(usize, ImageId)>> = BTreeMap::new();
        for id in image_ids {
            wanted.insert(parse_id(id)?, None);
        }
        let scan = {
            let (label, live) = (label.clone(), live.clone());
            tokio::task::spawn_blocking(move || {
                let wanted = Mutex::new(wanted);
                let take_ids = |file: usize, ids: &[ImageId]| keep(&wanted, file, ids);
                let scanned = scan_files(&label, &access, &live, verify, &take_ids)?;
                let wanted = wanted.into_inner().unwrap_or_else(PoisonError::into_inner);
                Ok::<_, anyhow::Error>((scanned, wanted))
            })
        };
        let (scanned, found) = scan.await.context("the scan of table `images` panicked")??;
        let scanned = scanned.into_iter().collect::<Result<Vec<_>>>()?;
        let starts = starts(&label, scanned.iter().map(ScannedFile::n_rows))?;
        let (mut rows, mut size_px) = (Vec::with_capacity(image_ids.len()), 0);
        for id in image_ids {
            let Some(&Some((file, image))) = found.get(&parse_id(id)?) else {
                bail!("{label}: expected a decoded image {id}, found none");
            };
            let size = image.size_px;
            if size_px != 0 && size != size_px {
                bail!("{label}: expected images of one size, found {size_px} px and {size} px");
            }
            size_px = size;
            rows.push(starts[file] + image.row);
        }
        let pixel_bytes = size_px as usize * size_px as usize * 3;
        let files = ImageFiles::new(label, ReadPath::Fastest, pixel_bytes, live, scanned)?;
        Ok((Self { files, version: table.version(), size_px }, rows))
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

/// Keeps where the wanted ones of a file's images lie. Of two rows with one id the first is kept: they hold the same picture.
fn keep(
    wanted: &Mutex<BTreeMap<u128, Option<(usize, ImageId)>>>,
    file: usize,
    ids: &[ImageId],
) -> Result<()> {
    let mut wanted = wanted.lock().map_err(|_| anyhow!("a scan of another file panicked"))?;
    for image in ids {
        if let Some(place) = wanted.get_mut(&image.id)
            && place.is_none_or(|(other, first)| (file, image.row) < (other, first.row))
        {
            *place = Some((file, *image));
        }
    }
    Ok(())
}
