//! The stream against small corpora: every example once, in an order that a resume goes on with, with the pixels and tokens
//! that the tables hold, and with errors that say where.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ahead;
mod augment;
mod bucket;
mod codec;
mod damage;
mod fixture;
mod independent;
mod resources;
mod resume;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use arrow::array::{Array, AsArray};
use datafusion::prelude::SessionContext;
use fixture::{
    Expected, Fixture, Layout, PIXEL_BYTES, SIZE_PX, captions, expected, expected_of, properties,
    runtime,
};
use tuwen_stream::{
    Batch, Batches, ImageReferences, OnBadImage, ReadPath, Shuffle, Stream, StreamOptions, Versions,
};

/// Read by many tests, changed by none.
static DIRECT: LazyLock<Fixture> = LazyLock::new(|| Fixture::new(Layout::Direct));

const SHUFFLES: [Shuffle; 4] = [
    Shuffle::Global,
    Shuffle::Window { row_groups: 1 },
    Shuffle::Window { row_groups: 4 },
    Shuffle::None,
];

const READ_PATHS: [ReadPath; 4] =
    [ReadPath::Fastest, ReadPath::Pread, ReadPath::Ranges, ReadPath::General];

/// Padding that is no token.
const PAD: i64 = -7;

fn options() -> StreamOptions {
    StreamOptions { batch_size: 7, seed: 5, pad_id: PAD, ..StreamOptions::default() }
}

fn open(options: StreamOptions) -> Stream {
    Stream::open(DIRECT.location(), options).unwrap()
}

/// Every row of `batch`: id, pixels, tokens.
fn rows_of(batch: &Batch) -> Vec<(String, Expected)> {
    assert_eq!(batch.pixels.len(), batch.len() * PIXEL_BYTES);
    assert_eq!(batch.input_ids.len(), batch.len() * batch.width_tokens);
    assert_eq!(batch.lengths.iter().max().copied().unwrap_or(0) as usize, batch.width_tokens);
    let row = |index: usize| {
        let length = batch.lengths[index] as usize;
        let tokens = &batch.input_ids[index * batch.width_tokens..(index + 1) * batch.width_tokens];
        assert!(tokens[length..].iter().all(|&token| token == PAD));
        let pixels = batch.pixels[index * PIXEL_BYTES..(index + 1) * PIXEL_BYTES].to_vec();
        (
            batch.example_ids[index].to_string(),
            Expected { pixels, tokens: tokens[..length].to_vec() },
        )
    };
    (0..batch.len()).map(row).collect()
}

/// Every row that comes, with buffers going round.
fn drain(mut batches: Batches) -> Vec<(String, Expected)> {
    let mut rows = Vec::new();
    while let Some(batch) = batches.next() {
        let batch = batch.unwrap();
        rows.extend(rows_of(&batch));
        batches.recycle(batch);
    }
    rows
}

/// The same rows in the same order; says of ids what differs, and of pixels only that they do.
fn assert_same(found: &[(String, Expected)], expected: &[(String, Expected)], what: &str) {
    let (n_found, n_expected) = (found.len(), expected.len());
    let place = found.iter().zip(expected).position(|((a, _), (b, _))| a != b);
    assert!(
        n_found == n_expected && place.is_none(),
        "{what}: expected {n_expected} rows, found {n_found}; the first that is another: {place:?}"
    );
    assert!(found == expected, "{what}: the pixels or tokens differ");
}

/// The same rows in any order, each once.
fn assert_once(
    mut found: Vec<(String, Expected)>,
    expected: &BTreeMap<String, Expected>,
    what: &str,
) {
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let expected: Vec<_> = expected.iter().map(|(id, row)| (id.clone(), row.clone())).collect();
    assert_same(&found, &expected, what);
}

/// The rows that all ranks had from `position` on, in the global order.
fn interleave(mut ranks: Vec<Vec<(String, Expected)>>, position: usize) -> Vec<(String, Expected)> {
    let mut rows = Vec::new();
    let world = ranks.len();
    ranks.rotate_left(position % world);
    let mut ranks: Vec<_> = ranks.into_iter().map(Vec::into_iter).collect();
    loop {
        let before = rows.len();
        rows.extend(ranks.iter_mut().filter_map(Iterator::next));
        if rows.len() == before {
            return rows;
        }
    }
}

#[test]
fn every_example_once_with_its_pixels_and_tokens() {
    let expected = expected("train", 0, |_, _| true);
    assert!(expected.len() > 400);
    for readers in 1..=7 {
        for shuffle in SHUFFLES {
            let batch_size = [1, 7, 64, 1000][readers % 4];
            let stream = open(StreamOptions { readers, shuffle, batch_size, ..options() });
            assert_eq!((stream.len(), stream.size_px()), (expected.len(), SIZE_PX));
            let rows = drain(stream.epoch(readers as u64, 0).unwrap());
            assert_once(rows, &expected, &format!("{readers} readers, {shuffle:?}"));
        }
    }
}

#[test]
fn ranks_share_the_global_order() {
    for shuffle in [Shuffle::Global, Shuffle::Window { row_groups: 4 }] {
        let whole = drain(open(StreamOptions { shuffle, ..options() }).epoch(3, 0).unwrap());
        for world in 1..=8 {
            let of_rank = |rank| {
                let stream = open(StreamOptions { shuffle, rank, world, ..options() });
                let rows = drain(stream.epoch(3, 0).unwrap());
                assert_eq!(stream.batches_per_epoch(), rows.len().div_ceil(7));
                rows
            };
            let rows = interleave((0..world).map(of_rank).collect(), 0);
            assert_same(&rows, &whole, &format!("{world} ranks"));
        }
    }
}

#[test]
fn drop_last_leaves_out_less_than_one_batch_of_every_rank() {
    let whole = drain(open(options()).epoch(0, 0).unwrap());
    for world in [1, 2, 3, 8] {
        let of_rank = |rank| {
            let stream = open(StreamOptions { drop_last: true, rank, world, ..options() });
            let batches: Vec<Batch> = stream.epoch(0, 0).unwrap().map(Result::unwrap).collect();
            assert!(batches.iter().all(|batch| batch.len() == 7));
            assert_eq!(batches.len(), whole.len() / (7 * world));
            assert_eq!(stream.batches_per_epoch(), batches.len());
            batches.iter().flat_map(rows_of).collect()
        };
        let rows = interleave((0..world).map(of_rank).collect(), 0);
        assert_same(&rows, &whole[..rows.len()], &format!("{world} ranks"));
    }
}

#[test]
fn a_resume_goes_on_with_the_uninterrupted_order() {
    for shuffle in SHUFFLES {
        let stream = open(StreamOptions { shuffle, ..options() });
        let whole = drain(stream.epoch(9, 0).unwrap());
        let n_batches = stream.batches_per_epoch();
        for from_batch in [0, 1, 2, 13, n_batches - 1, n_batches] {
            let rows = drain(stream.epoch(9, from_batch).unwrap());
            let rest = &whole[(from_batch * 7).min(whole.len())..];
            assert_same(&rows, rest, &format!("from batch {from_batch}"));
        }
        for (stop, world, readers, batch_size) in
            [(3, 1, 5, 10), (11, 2, 1, 7), (20, 3, 2, 4), (39, 5, 3, 64)]
        {
            let mut before = stream.epoch(9, 0).unwrap();
            let last = before.by_ref().take(stop).last().unwrap().unwrap();
            let state = stream.state(9, last.next_position);
            let state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            let of_rank = |rank| {
                let options =
                    StreamOptions { shuffle, rank, world, readers, batch_size, ..options() };
                drain(open(options).resume(&state).unwrap())
            };
            let after = interleave((0..world).map(of_rank).collect(), stop * 7);
            let what = format!("{shuffle:?}, {world} ranks from batch {stop} on");
            assert_same(&after, &whole[stop * 7..], &what);
        }
    }
}

#[test]
fn epochs_and_seeds_differ_and_repeat() {
    let ids = |seed, epoch| -> Vec<String> {
        let stream = open(StreamOptions { seed, ..options() });
        drain(stream.epoch(epoch, 0).unwrap()).into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(ids(1, 1), ids(1, 1));
    assert_ne!(ids(1, 1), ids(1, 2));
    assert_ne!(ids(1, 1), ids(2, 1));
}

#[test]
fn every_layout_and_every_path_give_the_same_bytes() {
    let expected = expected("train", 0, |_, _| true);
    for layout in [Layout::Direct, Layout::Zstd, Layout::Dictionary] {
        let fixture = Fixture::new(layout);
        for read_path in READ_PATHS {
            for shuffle in [Shuffle::Global, Shuffle::Window { row_groups: 2 }] {
                let options = StreamOptions { shuffle, batch_size: 50, ..options() };
                let stream = Stream::open_by(fixture.location(), options, read_path).unwrap();
                let rows = drain(stream.epoch(0, 0).unwrap());
                assert_once(rows, &expected, &format!("{layout:?} by {read_path:?}"));
            }
        }
    }
}

/// Not the stream's own reading: DataFusion over the Delta table.
#[test]
fn pixels_under_an_id_are_those_that_sql_gives() {
    // The corpus is made before the runtime is begun, since making it begins one.
    let location = DIRECT.location();
    let by_sql = runtime().block_on(async {
        let ctx = SessionContext::new();
        for name in ["examples", "images"] {
            let url = url::Url::from_directory_path(location).unwrap().join(name).unwrap();
            let table = deltalake::open_table(url).await.unwrap();
            table.update_datafusion_session(&ctx.state()).unwrap();
            ctx.register_table(name, table.table_provider().await.unwrap()).unwrap();
        }
        let sql = "select arrow_cast(e.example_id, 'Utf8') as id, arrow_cast(i.pixels, 'Binary') as pixels \
                   from examples e join images i on e.image_id = i.image_id where e.split = 'test'";
        let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
        let mut by_id = BTreeMap::new();
        for batch in batches {
            let (ids, pixels) = (batch.column(0).as_string::<i32>(), batch.column(1).as_binary::<i32>());
            by_id.extend((0..ids.len()).map(|i| (ids.value(i).to_owned(), pixels.value(i).to_vec())));
        }
        by_id
    });
    let stream = open(StreamOptions { split: "test".to_owned(), ..options() });
    let rows = drain(stream.epoch(0, 0).unwrap());
    let streamed: BTreeMap<_, _> = rows.into_iter().map(|(id, row)| (id, row.pixels)).collect();
    assert!(streamed.len() > 40);
    assert!(streamed == by_sql, "SQL gives other pixels, or other ids");
}

#[test]
fn references_are_all_captions_that_the_split_has_of_the_first_images() {
    let captions = captions("train", 0);
    let short = StreamOptions { predicate: Some("n_tokens < 10".to_owned()), ..options() };
    for options in [options(), short] {
        let stream = open(options);
        for (epoch, n_examples, n_images) in [
            (0, 1, 9),
            (0, 50, 30),
            (1, 50, 30),
            (0, 300, 1),
            (1, usize::MAX, usize::MAX),
            (0, 9, 0),
        ] {
            let mut expected: Vec<ImageReferences> = Vec::new();
            let rows = drain(stream.epoch(epoch, 0).unwrap()).into_iter().take(n_examples);
            for ((id, _), position) in rows.zip(0_u64..) {
                let (image_id, _) = captions[&id].clone();
                let known = expected.iter().any(|image| image.image_id == image_id);
                if !known && expected.len() < n_images {
                    let references = captions.values().filter(|(image, _)| *image == image_id);
                    let references = references.map(|(_, text)| text.clone()).collect();
                    expected.push(ImageReferences { position, image_id, references });
                }
            }
            let found = stream.references(epoch, n_examples, n_images).unwrap();
            assert_eq!(found, expected, "epoch {epoch}, {n_examples} examples, {n_images} images");
        }
    }
}

#[test]
fn a_predicate_selects_by_examples_and_images() {
    let wide = expected("train", 0, |width, n_tokens| width >= 120 && n_tokens < 10);
    let predicate = Some("width >= 120 and N_TOKENS < 10 and format = 'png'".to_owned());
    let stream = open(StreamOptions { predicate, ..options() });
    assert_once(drain(stream.epoch(0, 0).unwrap()), &wide, "wide and short");

    let none = open(StreamOptions { predicate: Some("width < 0".to_owned()), ..options() });
    assert!(none.is_empty() && none.size_px() == 0 && none.batches_per_epoch() == 0);
    assert!(none.epoch(0, 0).unwrap().next().is_none());
    assert!(open(StreamOptions { split: "no such split".to_owned(), ..options() }).is_empty());
}

#[test]
fn what_cannot_be_opened_says_why() {
    let missing = tempfile::tempdir().unwrap();
    let nowhere = missing.path().to_str().unwrap();
    let predicate = |sql: &str| StreamOptions { predicate: Some(sql.to_owned()), ..options() };
    let versions = Some(Versions { examples: 99, images: 0, scores: None });
    for (location, options, expected) in [
        (nowhere, options(), "expected a Delta table in `examples`, found none"),
        (DIRECT.location(), predicate("widht > 3"), "predicate `widht > 3`"),
        (DIRECT.location(), predicate("width >"), "predicate `width >`"),
        (DIRECT.location(), predicate("random() < 0.5"), "this one is random"),
        (
            DIRECT.location(),
            StreamOptions { versions, ..options() },
            "opening table `examples` at version 99",
        ),
        (
            DIRECT.location(),
            StreamOptions { rank: 2, world: 2, ..options() },
            "`rank`: expected less than `world`",
        ),
        (
            DIRECT.location(),
            StreamOptions { batch_size: 0, ..options() },
            "`batch_size`: expected at least 1",
        ),
    ] {
        let error = format!("{:#}", Stream::open(location, options).err().unwrap());
        assert!(error.contains(expected), "expected `{expected}`, found `{error}`");
    }
}

#[test]
fn pinned_versions_do_not_see_later_commits() {
    let fixture = Fixture::new(Layout::Direct);
    let before = Stream::open(fixture.location(), options()).unwrap();
    let state = before.state(0, 7);
    let references = before.references(0, 20, 20).unwrap();
    fixture.write_examples(1);
    assert_eq!(before.references(0, 20, 20).unwrap(), references);
    let newest = Stream::open(fixture.location(), options()).unwrap();
    let pinned = StreamOptions { versions: Some(before.versions()), ..options() };
    let pinned = Stream::open(fixture.location(), pinned).unwrap();
    for (stream, generation) in [(&pinned, 0), (&newest, 1)] {
        let rows = drain(stream.epoch(0, 0).unwrap());
        assert_once(rows, &expected("train", generation, |_, _| true), "pinned, then newest");
    }
    let rest = drain(pinned.resume(&state).unwrap());
    assert_same(&rest, &drain(before.epoch(0, 1).unwrap()), "resumed on pinned versions");
    let refused = format!("{:#}", newest.resume(&state).err().unwrap());
    assert!(refused.contains("the state is of another stream"), "{refused}");
}

#[test]
fn a_consumer_may_leave_at_any_time() {
    let stream = open(StreamOptions { readers: 3, prefetch: 1, ..options() });
    for taken in 0..60 {
        let mut batches = stream.epoch(taken, 0).unwrap();
        assert_eq!(
            batches.by_ref().take(taken as usize).map(Result::unwrap).count(),
            taken as usize
        );
    }
}

#[test]
fn a_table_that_keeps_a_column_in_its_paths_is_refused() {
    let fixture = Fixture::new(Layout::Direct);
    let folder = std::path::Path::new(fixture.location()).join("images");
    let source = std::fs::read(fixture.image_files().pop().unwrap()).unwrap();
    let batch = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        bytes::Bytes::from(source),
    );
    let batch = batch.unwrap().build().unwrap().next().unwrap().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    runtime().block_on(async {
        let url = url::Url::from_directory_path(&folder).unwrap();
        let table = deltalake::DeltaTable::try_from_url(url).await.unwrap();
        let write = table.write([batch]).with_partition_columns(["size_px"]);
        write.with_writer_properties(properties(Layout::Direct)).await.unwrap();
    });
    let error = format!("{:#}", Stream::open(fixture.location(), options()).err().unwrap());
    assert!(error.contains("the table is partitioned by it"), "{error}");
}

#[test]
fn it_opens_and_drops_inside_an_async_runtime() {
    runtime().block_on(async {
        let stream = open(options());
        assert_eq!(drain(stream.epoch(0, 0).unwrap()).len(), stream.len());
    });
}

#[test]
fn grouped_by_length_every_example_comes_once_with_little_padding() {
    let expected = expected("train", 0, |_, _| true);
    let padding = |stream: &Stream| -> usize {
        let batches = stream.epoch(1, 0).unwrap().map(Result::unwrap);
        batches.map(|b| b.input_ids.iter().filter(|&&id| id == PAD).count()).sum()
    };
    let grouped = StreamOptions { group_by_length: true, ..options() };
    let stream = open(grouped.clone());
    let whole = drain(stream.epoch(1, 0).unwrap());
    assert_once(whole.clone(), &expected, "grouped");
    assert!(padding(&stream) * 3 < padding(&open(options())), "{}", padding(&stream));

    let resumed = stream.resume(&stream.state(1, 70)).unwrap();
    assert_same(&drain(resumed), &whole[70..], "resumed");
    let ranks = (0..2).map(|rank| {
        let options = StreamOptions { rank, world: 2, batch_size: 4, ..grouped.clone() };
        drain(open(options).epoch(1, 0).unwrap())
    });
    assert_once(ranks.flatten().collect(), &expected, "grouped, two ranks");
    let other = open(StreamOptions { batch_size: 8, ..grouped });
    assert!(other.resume(&stream.state(1, 70)).err().unwrap().to_string().contains("hint"));
}
