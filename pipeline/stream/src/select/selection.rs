//! Which examples a stream is of. In: the tables at their versions, a split, a predicate. Out: per selected example its id, its
//! tokens, and the number of its image's row, in an order that the same selection always has. Never touches pixels.
//!
//! All of it lies in a mapped file without a name ([`Spill`]): first the records, as the parallel query leaves them, then, in
//! the base order, per example an entry of [`ENTRY_BYTES`]: where its record begins, and the number of its image's row over all
//! files. Before that, what is to be joined and sorted lies in [`Buckets`], so that opening takes little memory too.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use deltalake::delta_datafusion::DeltaSessionContext;
use futures::StreamExt;
use memmap2::Mmap;

use super::asked::{asked_examples, names_scores};
use super::buckets::{Buckets, N_BUCKETS, Row, bucket_of_id, bucket_of_row, take_bytes};
use super::image_rows::ImageRows;
use super::record;
use super::spill::Spill;
use super::tables::PinnedTable;
use crate::id::{ExampleId, parse_id};
use crate::options::{Shuffle, StreamOptions};
use crate::random::mix;
use tuwen_image::copy;

/// Bytes of an example's entry: the place of its record, u64, and its row, u32, lowest byte first.
const ENTRY_BYTES: usize = 12;

/// Bytes of records that are put into the file at once.
const SPILL_BYTES: usize = 1 << 20;

/// In place of a row: the image lies in none of the files that could be opened. No table has so many rows.
const NO_ROW: u32 = u32::MAX;

/// The selected examples in their base order: by example id, or by place in the images table where the order follows it.
pub(crate) struct Selection {
    spilled: Mmap,
    /// Where the entries begin.
    entries_at: usize,
    /// Side of the images in pixels; 0 if nothing is selected.
    pub(crate) size_px: u32,
    /// The same for the same selected ids, whatever their order; differs for others.
    pub(crate) fingerprint: u64,
}

/// The examples that the query gave, not yet joined with their images.
pub(crate) struct Found {
    /// Version of `scores`, if the predicate speaks of it.
    pub(crate) scores: Option<u64>,
    spill: Arc<Spill>,
    n: u64,
    /// By image.
    selected: Arc<Buckets<Selected>>,
}

/// What one partition of the query has found.
struct QueryPartition {
    spill: Arc<Spill>,
    n: u64,
    selected: Arc<Buckets<Selected>>,
    /// Records that are not in the file yet.
    records: Vec<u8>,
    /// Those whose records they are.
    pending: Vec<Selected>,
}

/// An example that the query gave.
struct Selected {
    id: u128,
    image_id: u128,
    /// Where the record begins: among `records` of the partition, then in the file.
    place: u64,
}

impl Row for Selected {
    const BYTES: usize = 40;

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(self.image_id.to_le_bytes());
        bytes.extend(self.place.to_le_bytes());
    }

    fn get(mut bytes: &[u8]) -> Self {
        let [id, image_id] = [(); 2].map(|()| u128::from_le_bytes(take_bytes(&mut bytes)));
        Self { id, image_id, place: u64::from_le_bytes(take_bytes(&mut bytes)) }
    }
}

/// An example whose image's row is known.
struct Joined {
    id: u128,
    place: u64,
    row: u32,
}

impl Row for Joined {
    const BYTES: usize = 28;

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(self.place.to_le_bytes());
        bytes.extend(self.row.to_le_bytes());
    }

    fn get(mut bytes: &[u8]) -> Self {
        let id = u128::from_le_bytes(take_bytes(&mut bytes));
        let place = u64::from_le_bytes(take_bytes(&mut bytes));
        Self { id, place, row: u32::from_le_bytes(take_bytes(&mut bytes)) }
    }
}

/// Asks for the examples of `options`' split and predicate, in the corpus at `location`.
pub(crate) async fn find(
    location: &str,
    examples: &PinnedTable,
    images: &PinnedTable,
    options: &StreamOptions,
) -> Result<Found> {
    let overrides = HashMap::from([(
        "datafusion.sql_parser.enable_ident_normalization".to_owned(),
        "true".to_owned(),
    )]);
    let ctx = DeltaSessionContext::new_with_session_overrides(&overrides)?.into_inner();
    examples.register(&ctx).await?;
    let mut scores = None;
    if let Some(predicate) = &options.predicate {
        images.register(&ctx).await?;
        if names_scores(&ctx, &options.split, predicate).await? {
            let table = scores_of(location, options, predicate).await?;
            table.register(&ctx).await?;
            scores = Some(table.version());
        }
    }
    let frame = asked_examples(&ctx, &options.split, options.predicate.as_deref()).await?;
    let label = examples.label();
    let (spill, selected) = (Arc::new(Spill::create()?), Arc::new(Buckets::create()?));
    let tasks: Vec<_> = frame
        .execute_stream_partitioned()
        .await?
        .into_iter()
        .map(|mut batches| {
            let label = label.clone();
            let mut partition = QueryPartition {
                spill: Arc::clone(&spill),
                n: 0,
                selected: Arc::clone(&selected),
                records: Vec::new(),
                pending: Vec::new(),
            };
            tokio::spawn(async move {
                while let Some(batch) = batches.next().await {
                    let batch = batch.with_context(|| format!("{label}: selecting examples"))?;
                    partition.collect(&batch).with_context(|| label.clone())?;
                }
                partition.spill()?;
                Ok::<_, anyhow::Error>(partition.n)
            })
        })
        .collect();
    let mut n = 0;
    for task in tasks {
        n += task.await.context("a part of the selection panicked")??;
    }
    Ok(Found { scores, spill, n, selected })
}

/// The table `scores` that `predicate` speaks of.
async fn scores_of(
    location: &str,
    options: &StreamOptions,
    predicate: &str,
) -> Result<PinnedTable> {
    let version = options.versions.and_then(|versions| versions.scores);
    match PinnedTable::open_if_there(location, "scores", version).await? {
        Some(table) if !table.files(&[])?.is_empty() => Ok(table),
        _ => bail!(
            "predicate `{predicate}`: it speaks of scores, and the corpus has none\n\
             hint: `tuwen score` makes them"
        ),
    }
}

impl QueryPartition {
    /// Puts the records into the file.
    fn spill(&mut self) -> Result<()> {
        let start = self.spill.append(&self.records)?;
        self.records.clear();
        self.n += self.pending.len() as u64;
        self.selected.add(self.pending.drain(..).map(|selected| {
            let place = start + selected.place;
            (bucket_of_id(selected.image_id), Selected { place, ..selected })
        }))
    }

    fn collect(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .with_context(|| format!("the selection has no column `{name}`"))
        };
        let ids = cast(column("example_id")?, &DataType::Utf8View)?;
        let image_ids = cast(column("image_id")?, &DataType::Utf8View)?;
        let (ids, image_ids) = (ids.as_string_view(), image_ids.as_string_view());
        let tokens = column("input_ids")?;
        let tokens = Tokens::new(tokens)?;
        for index in 0..batch.num_rows() {
            let id = parse_id(ids.value(index)).context("column `example_id`")?;
            let example = ExampleId(id);
            ensure!(
                image_ids.is_valid(index) && tokens.is_valid(index),
                "example {example}: expected an image_id and input_ids in an example of a split, found null"
            );
            let image_id = parse_id(image_ids.value(index))
                .with_context(|| format!("example {example}, column `image_id`"))?;
            self.pending.push(Selected { id, image_id, place: self.records.len() as u64 });
            record::write(&mut self.records, id, tokens.of(index))
                .with_context(|| format!("example {example}, column `input_ids`"))?;
            if self.records.len() >= SPILL_BYTES {
                self.spill()?;
            }
        }
        Ok(())
    }
}

/// A list column of token ids, whatever the widths of its offsets and items.
struct Tokens {
    lists: ArrayRef,
    bounds: Vec<usize>,
    items: ArrayRef,
}

impl Tokens {
    fn new(lists: &ArrayRef) -> Result<Self> {
        fn bounds<O: OffsetSizeTrait>(lists: &ArrayRef) -> (Vec<usize>, &ArrayRef) {
            let lists = lists.as_list::<O>();
            (lists.offsets().iter().map(|offset| offset.as_usize()).collect(), lists.values())
        }
        let (bounds, items) = match lists.data_type() {
            DataType::List(_) => bounds::<i32>(lists),
            DataType::LargeList(_) => bounds::<i64>(lists),
            other => bail!("column `input_ids` is {other}, schemas/examples.sql says array<int>"),
        };
        ensure!(
            items.null_count() == 0,
            "column `input_ids`: expected token ids, found null among them"
        );
        let items = cast(items, &DataType::Int64)?;
        Ok(Self { lists: Arc::clone(lists), bounds, items })
    }

    fn is_valid(&self, index: usize) -> bool {
        self.lists.is_valid(index)
    }

    fn of(&self, index: usize) -> &[i64] {
        &self.items.as_primitive::<Int64Type>().values()[self.bounds[index]..self.bounds[index + 1]]
    }
}

impl Found {
    /// Joins the examples with the rows of their images, of which each file's begin at `starts`, and puts them into the base order of
    /// `shuffle`. With `missing` an example may be without a row: files of the table could not be opened. Those come last in an order
    /// that follows the table.
    pub(crate) fn join(
        self,
        images: &ImageRows,
        starts: &[u32],
        label: &str,
        shuffle: Shuffle,
        missing: bool,
    ) -> Result<Selection> {
        let (mut size_px, mut fingerprint) = (0, mix(self.n));
        let by_id = Buckets::create()?;
        for bucket in 0..N_BUCKETS {
            let images = images.take(bucket, starts)?;
            let selected = self.selected.take(bucket)?;
            let mut joined = Vec::with_capacity(selected.len());
            for Selected { id, image_id, place } in selected {
                let (row, size) = match images.binary_search_by_key(&image_id, |image| image.id) {
                    Ok(found) => (images[found].row, images[found].size_px),
                    Err(_) if missing => (NO_ROW, size_px),
                    Err(_) => bail!(
                        "example {}: {label} has no decoded image {}",
                        ExampleId(id),
                        ExampleId(image_id)
                    ),
                };
                if size_px != 0 && size != size_px {
                    bail!(
                        "example {}: expected images of one size, found {size_px} px and {size} px\n\
                         hint: select one, with the predicate `size_px = {size_px}`",
                        ExampleId(id)
                    );
                }
                size_px = size;
                fingerprint ^= mix(id as u64 ^ mix((id >> 64) as u64));
                joined.push((bucket_of_id(id), Joined { id, place, row }));
            }
            by_id.add(joined)?;
        }
        drop(self.selected);
        let spill = Arc::into_inner(self.spill).context("a part of the selection goes on")?;
        let entries_at = spill.append(&[])? as usize;
        if shuffle == Shuffle::Global {
            in_order_of_ids(&by_id, |joined| append(&spill, &joined))?;
        } else {
            let n_rows = starts.last().copied().unwrap_or(0);
            let by_row = Buckets::create()?;
            in_order_of_ids(&by_id, |joined| {
                by_row.add(joined.into_iter().map(|one| (bucket_of_row(one.row, n_rows), one)))
            })?;
            drop(by_id);
            let mut places = 0;
            for bucket in 0..N_BUCKETS {
                let mut joined = by_row.take(bucket)?;
                joined.sort_unstable_by_key(|one| (one.row, one.id));
                places = joined.iter().fold(places, |hash, one| mix(hash ^ u64::from(one.row)));
                append(&spill, &joined)?;
            }
            // The order follows the table: with a file less it is another one.
            fingerprint ^= places;
        }
        Ok(Selection { spilled: spill.map()?, entries_at, size_px, fingerprint })
    }
}

/// Hands out the examples bucket by bucket, ascending by id.
fn in_order_of_ids(
    by_id: &Buckets<Joined>,
    mut hand_out: impl FnMut(Vec<Joined>) -> Result<()>,
) -> Result<()> {
    for bucket in 0..N_BUCKETS {
        let mut joined = by_id.take(bucket)?;
        joined.sort_unstable_by_key(|one| one.id);
        if let Some(twice) = joined.windows(2).find(|pair| pair[0].id == pair[1].id) {
            bail!("example {}: expected each id once, found it twice", ExampleId(twice[0].id));
        }
        hand_out(joined)?;
    }
    Ok(())
}

/// Appends the entries of `joined`.
fn append(spill: &Spill, joined: &[Joined]) -> Result<()> {
    let entry = |one: &Joined| one.place.to_le_bytes().into_iter().chain(one.row.to_le_bytes());
    spill.append(&joined.iter().flat_map(entry).collect::<Vec<u8>>())?;
    Ok(())
}

impl Selection {
    /// The number of selected examples.
    pub(crate) fn len(&self) -> usize {
        (self.spilled.len() - self.entries_at) / ENTRY_BYTES
    }

    /// The number of the image's row of example `index`, counted over all files; none if its file could not be opened.
    pub(crate) fn row(&self, index: usize) -> Option<u32> {
        Some(self.entry(index).1).filter(|&row| row != NO_ROW)
    }

    /// Brings near what is known of `examples`, of all at once: they lie anywhere, and one after the other each would be waited
    /// for twice.
    pub(crate) fn prefetch(&self, examples: &[usize]) {
        for index in examples {
            copy::prefetch(&self.spilled[self.entries_at + index * ENTRY_BYTES]);
        }
        for &index in examples {
            copy::prefetch(&self.record(index)[0]);
        }
    }

    /// The id of example `index`; appends its tokens to `tokens`.
    pub(crate) fn read(&self, index: usize, tokens: &mut Vec<i64>) -> ExampleId {
        ExampleId(record::read(self.record(index), tokens))
    }

    /// The number of tokens of example `index`.
    pub(crate) fn n_tokens(&self, index: usize) -> u64 {
        record::n_tokens(self.record(index))
    }

    /// The bytes that begin with the record of example `index`.
    fn record(&self, index: usize) -> &[u8] {
        &self.spilled[self.entry(index).0..]
    }

    /// The place of the record of example `index`, and its row.
    fn entry(&self, index: usize) -> (usize, u32) {
        let entry = &self.spilled[self.entries_at + index * ENTRY_BYTES..];
        let (place, rest) = entry.split_first_chunk().expect("an entry begins with a place");
        let (row, _) = rest.split_first_chunk().expect("a row follows the place");
        (u64::from_le_bytes(*place) as usize, u32::from_le_bytes(*row))
    }

    /// Where the examples of each row group begin, and at last their number, when they stand in the order of the images table;
    /// row groups without a selected example are left out, and examples without a row make one at the end.
    pub(crate) fn group_starts(&self, groups_of_table: &[u32]) -> Vec<u32> {
        let first_from = |start: u32| {
            let (mut low, mut high) = (0, self.len());
            while low < high {
                let middle = usize::midpoint(low, high);
                if self.entry(middle).1 < start {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            low as u32
        };
        let starts = groups_of_table.iter().map(|&start| first_from(start));
        let mut starts: Vec<u32> = starts.chain([self.len() as u32]).collect();
        starts.dedup();
        starts
    }
}
