//! The rows of a table by what stands in some of its columns. In: a snapshot, a table, columns. Out: the rows that have a value in one
//! of them, by reading the pages that they stand in. What is kept is a hash a row and column, 9 bytes; files are read once, and those that a
//! later version has too are taken over.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use futures::{StreamExt, TryStreamExt, stream};
use tuwen_corpus::{RowFile, Snapshot};
use tuwen_schemas::table;

use super::gallery::key_of;

/// Files that are read at once.
const FILES_AT_ONCE: usize = 4;

/// Rows that are read at most for one page: a placeholder has thousands of pairs.
const MOST_ROWS: usize = 1000;

/// A table at one version.
pub(super) struct Places {
    name: &'static str,
    parts: Vec<Arc<Part>>,
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    part: usize,
    row: u32,
}

struct Part {
    file: RowFile,
    /// For each column a key of each row.
    keys: Vec<Vec<u64>>,
    /// For each column whether a row has a value.
    is_there: Vec<Vec<bool>>,
}

impl Places {
    /// Reads `columns` of table `name`, but for the files that `before` has of it; none has a row if it is not there.
    pub(super) async fn open(
        snapshot: &Snapshot,
        name: &'static str,
        columns: &'static [&'static str],
        before: Option<&Self>,
    ) -> Result<Self> {
        let known = before.map_or(&[][..], |before| &before.parts);
        let parts = snapshot.plain_files(name)?.into_iter().map(|listed| {
            let known =
                known.iter().find(|part| part.file.listed().path == listed.path).map(Arc::clone);
            let snapshot = snapshot.clone();
            async move {
                if let Some(part) = known {
                    return Ok(part);
                }
                let file = snapshot.open_file(name, listed).await?;
                let read = tokio::spawn(async move { Part::read(file, columns).await });
                read.await.context("a file was not read")?.map(Arc::new)
            }
        });
        let parts: Vec<Arc<Part>> =
            stream::iter(parts).buffered(FILES_AT_ONCE).try_collect::<Vec<_>>().await?;
        Ok(Self { name, parts })
    }

    /// Where the rows are for which `is_wanted` says yes of the keys of their columns.
    pub(super) fn find(&self, is_wanted: impl Fn(usize, u64) -> bool) -> Vec<Place> {
        let rows = self.all().filter(|place| {
            let mut keys = self.parts[place.part].keys.iter().enumerate();
            keys.any(|(column, keys)| is_wanted(column, keys[place.row as usize]))
        });
        rows.take(MOST_ROWS).collect()
    }

    /// Where the `most` rows are whose number in `column` differs from `number` by the fewest bits, `bits` at most, but for `others`.
    pub(super) fn nearest(
        &self,
        column: usize,
        number: u64,
        bits: u32,
        most: usize,
        others: &[Place],
    ) -> Vec<Place> {
        let mut near: Vec<(u32, Place)> = self
            .all()
            .filter(|place| self.parts[place.part].is_there[column][place.row as usize])
            .map(|place| ((self.key(place, column) ^ number).count_ones(), place))
            .filter(|(differing, place)| *differing <= bits && !others.contains(place))
            .collect();
        near.sort_unstable();
        near.truncate(most);
        near.into_iter().map(|(_, place)| place).collect()
    }

    /// The key of a row in `column`; of a number itself.
    pub(super) fn key(&self, place: Place, column: usize) -> u64 {
        self.parts[place.part].keys[column][place.row as usize]
    }

    fn all(&self) -> impl Iterator<Item = Place> + '_ {
        let parts = self.parts.iter().enumerate();
        parts.flat_map(|(part, of)| (0..of.file.n_rows()).map(move |row| Place { part, row }))
    }

    /// `shown` of the rows at `places`.
    pub(super) async fn read(&self, shown: &[&str], mut places: Vec<Place>) -> Result<RecordBatch> {
        let fields: Vec<Field> = shown.iter().map(|column| self.field(column)).collect();
        let schema = Arc::new(Schema::new(fields));
        places.sort_unstable();
        let mut reads = Vec::new();
        for of_part in places.chunk_by(|a, b| a.part == b.part) {
            let rows: Vec<u32> = of_part.iter().map(|place| place.row).collect();
            let file = &self.parts[of_part[0].part].file;
            reads.push(async move { file.read(shown, Some(&rows)).await });
        }
        let read: Vec<Vec<RecordBatch>> =
            stream::iter(reads).buffered(FILES_AT_ONCE).try_collect().await?;
        let mut batches = Vec::new();
        for batch in read.into_iter().flatten() {
            // A file may be older than a column, and another tool may have written other types.
            let columns =
                schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
                    Some(column) => Ok(cast(column, field.data_type())?),
                    None => Ok(new_null_array(field.data_type(), batch.num_rows())),
                });
            let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
            batches.push(RecordBatch::try_new(Arc::clone(&schema), columns)?);
        }
        Ok(concat_batches(&schema, &batches)?)
    }

    /// As [`Self::find`], and `shown` of them.
    pub(super) async fn rows(
        &self,
        shown: &[&str],
        is_wanted: impl Fn(usize, u64) -> bool,
    ) -> Result<RecordBatch> {
        let places = self.find(is_wanted);
        self.read(shown, places).await
    }

    /// A column as the contract has it, which may be null here.
    fn field(&self, column: &str) -> Field {
        let fields = table(self.name).schema.fields();
        let (_, field) = fields.find(column).expect("a column of the contract");
        Field::new(column, field.data_type().clone(), true)
    }
}

impl Part {
    async fn read(file: RowFile, columns: &[&str]) -> Result<Self> {
        let mut keys = vec![Vec::with_capacity(file.n_rows() as usize); columns.len()];
        let mut is_there = vec![Vec::with_capacity(file.n_rows() as usize); columns.len()];
        for batch in file.read(columns, None).await? {
            for ((name, keys), is_there) in columns.iter().zip(&mut keys).zip(&mut is_there) {
                let column = batch.column_by_name(name);
                let column = column.with_context(|| format!("there is no column `{name}`"))?;
                keys.extend(keys_of(column)?);
                is_there.extend((0..column.len()).map(|row| column.is_valid(row)));
            }
        }
        Ok(Self { file, keys, is_there })
    }
}

/// Of numbers themselves, of texts their hashes; of what is null, nothing that a value has but by chance.
fn keys_of(column: &ArrayRef) -> Result<Vec<u64>> {
    if column.data_type().is_integer() {
        let numbers = cast(column, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        return Ok(numbers.iter().map(|n| n.map_or(0, i64::cast_unsigned)).collect());
    }
    let texts = cast(column, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    Ok(texts.iter().map(|text| text.map_or(0, key_of)).collect())
}

/// The keys of a column of texts.
pub(super) fn keys_in(batch: &RecordBatch, column: &str) -> HashSet<u64> {
    let texts = batch.column_by_name(column).map(|column| column.as_string::<i32>());
    texts.into_iter().flatten().flatten().map(key_of).collect()
}
