//! Attempts that are committed together. In: attempts as they end. Out: rows of `originals`.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::DataFrame;
use tuwen_corpus::{Rows, bare_session};
use tuwen_schemas::schema;

use crate::fetch::Attempt;
use crate::fetch::attempt::to_batch;

/// Bytes of files that are put into a chunk's rows at once, and then are not held twice.
const PART_BYTES: u64 = 8 << 20;

/// The attempts of one commit.
#[derive(Default)]
pub(super) struct AttemptsChunk {
    pub(super) n_attempts: usize,
    /// Bytes of their files.
    pub(super) bytes: u64,
    batches: Vec<RecordBatch>,
    /// Those that are in no batch yet, and the bytes of their files.
    part: Vec<Attempt>,
    part_bytes: u64,
}

impl AttemptsChunk {
    pub(super) fn push(&mut self, attempt: Attempt) -> Result<()> {
        self.n_attempts += 1;
        self.bytes += attempt.bytes_len();
        self.part_bytes += attempt.bytes_len();
        self.part.push(attempt);
        if self.part_bytes >= PART_BYTES {
            self.end_part()?;
        }
        Ok(())
    }

    pub(super) async fn rows(mut self) -> Result<DataFrame> {
        self.end_part()?;
        let ctx = bare_session(Rows::Heavy)?;
        let table = MemTable::try_new(schema("originals"), vec![self.batches])?;
        ctx.register_table("attempts", Arc::new(table))?;
        Ok(ctx.table("attempts").await?)
    }

    fn end_part(&mut self) -> Result<()> {
        self.batches.push(to_batch(&self.part)?);
        self.part.clear();
        self.part_bytes = 0;
        Ok(())
    }
}
