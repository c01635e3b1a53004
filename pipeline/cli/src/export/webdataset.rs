//! A shard as img2dataset makes it: a tar of `KEY.jpg`, `KEY.json`, `KEY.txt`, the same metadata in Parquet, and counts. In: rows with their
//! pictures. Out: three files. Names in a tar are the keys: what was crawled stands in files, never in names.
//!
//! As there: keys (shard, then place in it), `url`, `caption`, `status`, `error_message`, sizes, `sha256`, the counts. Left out: `exif`,
//! times (a shard is the same whenever it is made), rows that failed (they are in the corpus).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::DataType;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tar::{Builder, EntryType, Header};

use super::columns::{SHA256, text};
use super::folder::Folder;
use super::options::Format;
use super::picture::Picture;
use super::shard::{Shard, ShardWriter};

/// Bytes that are handed to the system at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Digits of a row's place at least, as for 10,000 rows a shard.
const LEAST_DIGITS: usize = 4;

/// Writes one shard.
pub(super) struct TarShard {
    tar: Builder<BufWriter<File>>,
    metadata: Option<ArrowWriter<File>>,
    /// Where the tar, its metadata and its counts are written.
    paths: [PathBuf; 3],
    /// What they are called in the end.
    names: [String; 3],
    number: usize,
    n_digits: usize,
    n_rows: usize,
}

impl TarShard {
    /// `shard`, of at most `shard_rows`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(super) fn new(folder: &Folder, shard: &Shard, shard_rows: u64) -> Result<Self> {
        let tar = shard.name(Format::Webdataset);
        let stem = tar.trim_end_matches(".tar");
        let names = [tar.clone(), format!("{stem}.parquet"), format!("{stem}_stats.json")];
        let paths = names.each_ref().map(|name| folder.work(&name.replace('/', "-")));
        let file = File::create(&paths[0]).with_context(|| paths[0].display().to_string())?;
        let n_digits = (shard_rows - 1).to_string().len().max(LEAST_DIGITS);
        let tar = Builder::new(BufWriter::with_capacity(BUFFER_BYTES, file));
        Ok(Self { tar, metadata: None, paths, names, number: shard.number, n_digits, n_rows: 0 })
    }

    /// What is said of some rows, as img2dataset says it.
    fn said(
        &self,
        rows: &RecordBatch,
        pictures: &[Picture],
        keys: &[String],
    ) -> Result<RecordBatch> {
        let of = |name: &str| rows.column_by_name(name).cloned().context("rows lack a column");
        let success = std::iter::repeat_n("success", keys.len());
        let keys = StringArray::from_iter_values(keys);
        let width: Int32Array = pictures.iter().map(|picture| picture.width).collect();
        let height: Int32Array = pictures.iter().map(|picture| picture.height).collect();
        let hashes = pictures.iter().map(|picture| picture.sha256.as_str());
        let columns: [(&str, ArrayRef); 18] = [
            ("url", of("url")?),
            ("caption", of("text")?),
            ("raw_caption", of("raw_text")?),
            ("key", Arc::new(keys)),
            ("status", Arc::new(StringArray::from_iter_values(success))),
            ("error_message", new_null_array(&DataType::Utf8, rows.num_rows())),
            ("width", Arc::new(width)),
            ("height", Arc::new(height)),
            ("original_width", of("width")?),
            ("original_height", of("height")?),
            (SHA256, Arc::new(StringArray::from_iter_values(hashes))),
            ("example_id", of("example_id")?),
            ("image_id", of("image_id")?),
            ("split", of("split")?),
            ("filename", of("filename")?),
            ("source", of("source")?),
            ("source_line", of("source_line")?),
            ("format", of("format")?),
        ];
        let nullable = columns.map(|(name, column)| (name, column, true));
        Ok(RecordBatch::try_from_iter_with_nullable(nullable)?)
    }

    fn add(&mut self, name: &str, file: &[u8]) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_size(file.len() as u64);
        let added = self.tar.append_data(&mut header, name, file);
        added.with_context(|| self.paths[0].display().to_string())
    }
}

impl ShardWriter for TarShard {
    fn write(&mut self, rows: &RecordBatch, pictures: &[Picture]) -> Result<()> {
        let places = self.n_rows..self.n_rows + rows.num_rows();
        let keys =
            places.map(|place| format!("{:05}{place:0width$}", self.number, width = self.n_digits));
        let keys: Vec<String> = keys.collect();
        let said = self.said(rows, pictures, &keys)?;
        let mut json =
            WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
        json.write(&said)?;
        json.finish()?;
        let json = json.into_inner();
        let captions = text(rows, "text")?;
        let lines = json.split(|&byte| byte == b'\n');
        for (row, ((key, picture), line)) in keys.iter().zip(pictures).zip(lines).enumerate() {
            self.add(&format!("{key}.{}", picture.extension), &picture.file)?;
            self.add(&format!("{key}.json"), line)?;
            self.add(&format!("{key}.txt"), captions.value(row).as_bytes())?;
        }
        self.n_rows += rows.num_rows();
        let context = || self.paths[1].display().to_string();
        let metadata = match &mut self.metadata {
            Some(metadata) => metadata,
            none => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_created_by(concat!("tuwen ", env!("CARGO_PKG_VERSION")).to_owned())
                    .build();
                let file = File::create(&self.paths[1]).with_context(context)?;
                none.insert(ArrowWriter::try_new(file, said.schema(), Some(properties))?)
            }
        };
        metadata.write(&said).with_context(context)
    }

    fn finish(self: Box<Self>) -> Result<Vec<(PathBuf, String)>> {
        let Self { tar, metadata, paths, names, n_rows, .. } = *self;
        let ended = tar.into_inner().and_then(|mut file| file.flush());
        ended.with_context(|| paths[0].display().to_string())?;
        if let Some(metadata) = metadata {
            metadata.close().with_context(|| paths[1].display().to_string())?;
        }
        let counts = serde_json::json!({
            "count": n_rows,
            "successes": n_rows,
            "failed_to_download": 0,
            "failed_to_resize": 0,
            "status_dict": {"success": n_rows},
        });
        let counts = serde_json::to_string_pretty(&counts)?;
        std::fs::write(&paths[2], counts).with_context(|| paths[2].display().to_string())?;
        // The tar last: where it is, the others are.
        Ok(paths.into_iter().zip(names).rev().collect())
    }
}
