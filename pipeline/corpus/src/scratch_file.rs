//! The files of a scratch table. In: rows, and the folder. Out: a Parquet file, on a disk or in a store. Never registers them.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::TryStreamExt;
use object_store::buffered::BufWriter;
use object_store::path::Path as StorePath;
use parquet::arrow::{ArrowWriter, AsyncArrowWriter};
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde::{Deserialize, Serialize};
use url::{Position, Url};
use uuid::Uuid;

use crate::location::local_folder;

/// Rows a row group: what a reader decodes at once, and the unit by which cores share a file.
const ROW_GROUP_ROWS: usize = 64 << 10;

/// The folder of one scratch table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScratchFolder {
    pub(crate) url: String,
}

/// What one part of a plan has written of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) file: String,
    pub(crate) n_rows: u64,
}

impl ScratchFolder {
    /// Makes the folder, where folders are made.
    pub(crate) fn make(&self) -> Result<()> {
        let Some(path) = local_folder(&Url::parse(&self.url)?) else { return Ok(()) };
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())
    }

    /// Writes `rows` to a file of its own.
    ///
    /// # Errors
    /// They cannot be computed, or the disk or the store fails.
    pub(crate) async fn write(
        &self,
        rows: SendableRecordBatchStream,
        context: &TaskContext,
    ) -> Result<Part> {
        // No two tries of a part have one name.
        let file = format!("{}.parquet", Uuid::new_v4());
        let url = Url::parse(&self.url)?.join(&file)?;
        let n_rows = match local_folder(&url) {
            Some(path) => write_file(rows, &path).await,
            None => {
                let store = context
                    .runtime_env()
                    .object_store(ObjectStoreUrl::parse(&url[..Position::BeforePath])?)?;
                let path = StorePath::from_url_path(url.path())?;
                write_rows(rows, BufWriter::new(store, path)).await
            }
        };
        Ok(Part { file, n_rows: n_rows? })
    }
}

/// Scratch is read once or twice, by its own readers.
fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build()
}

async fn write_file(mut rows: SendableRecordBatchStream, path: &Path) -> Result<u64> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties()))?;
    let mut n_rows = 0;
    while let Some(batch) = rows.try_next().await? {
        n_rows += batch.num_rows() as u64;
        writer.write(&batch).with_context(|| path.display().to_string())?;
    }
    writer.close().with_context(|| path.display().to_string())?;
    Ok(n_rows)
}

async fn write_rows(mut rows: SendableRecordBatchStream, to: BufWriter) -> Result<u64> {
    let mut writer = AsyncArrowWriter::try_new(to, rows.schema(), Some(properties()))?;
    let mut n_rows = 0;
    let written = async {
        while let Some(batch) = rows.try_next().await? {
            n_rows += batch.num_rows() as u64;
            writer.write(&batch).await?;
        }
        anyhow::Ok(())
    };
    if let Err(error) = written.await {
        // The error at hand says more than one of cleaning up.
        let _ = writer.into_inner().abort().await;
        return Err(error);
    }
    writer.close().await?;
    Ok(n_rows)
}
