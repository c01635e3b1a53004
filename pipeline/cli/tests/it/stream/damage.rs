//! Damaged corpora: files that are gone, cut short, or have a flipped bit. The error says where; `skip` leaves out what is
//! bad, nothing else, and changes nobody's place.

use std::collections::BTreeSet;
use std::path::Path;

use tuwen_stream::{Batch, OnBadImage, Shuffle, Stream, StreamOptions};

use super::fixture::{Expected, Fixture, Layout, examples_of, expected, images_in};
use super::{READ_PATHS, assert_once, assert_same, drain, options, rows_of};

type Rows = Vec<(String, Expected)>;

fn skipping() -> StreamOptions {
    StreamOptions { on_bad_image: OnBadImage::Skip, verify: true, ..options() }
}

/// What came, and the ids of what was skipped, both in order; every batch says where the epoch stands as if nothing were bad.
fn drain_all(stream: &Stream, epoch: u64, from_batch: usize) -> (Rows, Vec<String>) {
    let (mut rows, mut skipped) = (Vec::new(), Vec::new());
    let mut batches = stream.epoch(epoch, from_batch).unwrap();
    for number in from_batch.. {
        let Some(batch) = batches.next() else { break };
        let batch = batch.unwrap();
        assert_eq!(batch.next_position, ((number + 1) * 7).min(stream.len()) as u64);
        rows.extend(rows_of(&batch));
        skipped.extend(batch.skipped.iter().map(|skipped| skipped.example_id.to_string()));
        batches.recycle(batch);
    }
    (rows, skipped)
}

/// `whole` without `bad`, and those of `bad` that are in it.
fn part(whole: &[(String, Expected)], bad: &BTreeSet<String>) -> (Rows, Vec<String>) {
    let (bad, good): (Rows, Rows) = whole.iter().cloned().partition(|(id, _)| bad.contains(id));
    (good, bad.into_iter().map(|(id, _)| id).collect())
}

fn first_error(stream: &Stream) -> String {
    format!("{:#}", stream.epoch(0, 0).unwrap().find_map(Result::err).unwrap())
}

#[test]
fn a_flipped_bit_is_found_on_every_path() {
    let image = 61;
    let bad = examples_of(&BTreeSet::from([image]));
    for layout in [Layout::Direct, Layout::Dictionary] {
        for read_path in READ_PATHS {
            let fixture = Fixture::new(layout);
            let open = |options| Stream::open_by(fixture.location(), options, read_path).unwrap();
            let whole =
                drain(open(StreamOptions { verify: true, ..options() }).epoch(0, 0).unwrap());
            let file = fixture.flip(image);

            let unseen = drain(open(options()).epoch(0, 0).unwrap());
            let wrong = unseen.iter().zip(&whole).filter(|(a, b)| a != b).map(|(a, _)| a.0.clone());
            let wrong: BTreeSet<String> = wrong.collect();
            assert!(!wrong.is_empty() && wrong.is_subset(&bad), "{wrong:?}");

            let error = first_error(&open(StreamOptions { verify: true, ..options() }));
            let first = wrong_first(&whole, &bad);
            for part in [
                format!(
                    "example {first}: table `images` version 2, file {file}, row group 1, row 61: "
                ),
                "expected pixels with the CRC-32 ".to_owned(),
            ] {
                assert!(error.contains(&part), "expected `{part}`, found `{error}`");
            }

            let (rows, skipped) = drain_all(&open(skipping()), 0, 0);
            let (good, left_out) = part(&whole, &bad);
            assert_same(&rows, &good, &format!("{layout:?} by {read_path:?}"));
            assert_eq!(skipped, left_out);
        }
    }
}

/// The first of `bad` in the order of `whole`.
fn wrong_first(whole: &[(String, Expected)], bad: &BTreeSet<String>) -> String {
    whole.iter().find(|(id, _)| bad.contains(id)).unwrap().0.clone()
}

fn cut(path: &Path) {
    let length = path.metadata().unwrap().len();
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length / 2).unwrap();
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_damaged_file_is_named_or_skipped() {
    for (damage, says) in [(cut as fn(&Path), "expected "), (remove, "it is gone")] {
        for read_path in READ_PATHS {
            let fixture = Fixture::new(Layout::Direct);
            let open = |options| Stream::open_by(fixture.location(), options, read_path);
            let (failing, skipping_before) = (open(options()).unwrap(), open(skipping()).unwrap());
            let whole = drain(failing.epoch(0, 0).unwrap());
            let file = fixture.image_files().pop().unwrap();
            let bad = examples_of(&images_in(&file));
            damage(&file);

            let name = file.file_name().unwrap().to_str().unwrap();
            let error = first_error(&failing);
            let place = format!("table `images` version 2, file {name}, row group ");
            assert!(error.starts_with("example ") && error.contains(&place), "{error}");
            assert!(error.contains(says) || read_path == tuwen_stream::ReadPath::Ranges, "{error}");
            let error = format!("{:#}", open(options()).err().unwrap());
            assert!(error.contains(name), "{error}");

            let (good, left_out) = part(&whole, &bad);
            assert!(left_out.len() > 100);
            let skipping_after = open(skipping()).unwrap();
            assert_eq!(skipping_before.unreadable().len(), 0);
            assert!(skipping_after.unreadable()[0].contains(name));
            assert_eq!(skipping_after.state(0, 0), skipping_before.state(0, 0));
            for stream in [skipping_before, skipping_after] {
                assert_eq!(stream.len(), whole.len());
                let (rows, skipped) = drain_all(&stream, 0, 0);
                assert_same(&rows, &good, &format!("{says} by {read_path:?}"));
                assert_eq!(skipped, left_out);
            }
        }
    }
}

#[test]
fn a_resume_over_skipped_examples_keeps_every_place() {
    let fixture = Fixture::new(Layout::Direct);
    let whole = drain(Stream::open(fixture.location(), options()).unwrap().epoch(4, 0).unwrap());
    let file = fixture.image_files().pop().unwrap();
    let bad = examples_of(&images_in(&file));
    let state = Stream::open(fixture.location(), options()).unwrap().state(4, 35);
    remove(&file);
    for (world, readers, batch_size) in [(1, 3, 10), (2, 1, 7), (3, 5, 4), (8, 2, 64)] {
        for rank in 0..world {
            let options = StreamOptions { world, rank, readers, batch_size, ..skipping() };
            let stream = Stream::open(fixture.location(), options).unwrap();
            let rows = drain(stream.resume(&state).unwrap());
            let places = (35..whole.len()).filter(|place| place % world == rank);
            let mine: Rows = places.map(|place| whole[place].clone()).collect();
            assert_same(&rows, &part(&mine, &bad).0, &format!("rank {rank} of {world}"));
        }
    }
}

#[test]
fn orders_that_follow_the_table_skip_as_well() {
    for shuffle in [Shuffle::None, Shuffle::Window { row_groups: 2 }] {
        let fixture = Fixture::new(Layout::Direct);
        let file = fixture.image_files().pop().unwrap();
        let bad = examples_of(&images_in(&file));
        let options = StreamOptions { shuffle, ..skipping() };
        let before = Stream::open(fixture.location(), options.clone()).unwrap();
        remove(&file);
        for stream in [before, Stream::open(fixture.location(), options).unwrap()] {
            let (rows, mut skipped) = drain_all(&stream, 0, 0);
            let mut good = expected("train", 0, |_, _| true);
            let mut left_out: Vec<String> =
                good.keys().filter(|id| bad.contains(*id)).cloned().collect();
            good.retain(|id, _| !bad.contains(id));
            assert_once(rows, &good, &format!("{shuffle:?}"));
            skipped.sort();
            left_out.sort();
            assert_eq!(skipped, left_out);
        }
    }
}

#[test]
fn a_batch_of_nothing_but_bad_images_comes_empty_in_its_turn() {
    let fixture = Fixture::new(Layout::Direct);
    fixture.flip(61);
    let bad = examples_of(&BTreeSet::from([61]));
    let options = StreamOptions { batch_size: 1, readers: 3, ..skipping() };
    let stream = Stream::open(fixture.location(), options).unwrap();
    let batches: Vec<Batch> = stream.epoch(0, 0).unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.len(), stream.len());
    for (batch, place) in batches.iter().zip(1_u64..) {
        assert_eq!(batch.next_position, place);
        assert_eq!(batch.is_empty(), !batch.skipped.is_empty());
        assert!(batch.skipped.iter().all(|skipped| bad.contains(&skipped.example_id.to_string())));
    }
    assert!(batches.iter().any(Batch::is_empty));
}

/// A disk that is not there, or a store that does not answer, is no fault of its images.
#[test]
fn a_missing_disk_or_a_silent_store_is_an_error_under_skip_too() {
    let fixture = Fixture::new(Layout::Direct);
    let opened = Stream::open_by(fixture.location(), skipping(), tuwen_stream::ReadPath::Ranges);
    let opened = opened.unwrap();
    let images = Path::new(fixture.location()).join("images");
    let away = Path::new(fixture.location()).join("away");
    std::fs::rename(&images, &away).unwrap();
    // Where a file stands in place of the folder, asking for a file in it is an error that is not "not found".
    std::fs::write(&images, "").unwrap();
    let error = first_error(&opened);
    assert!(error.contains("the store does not answer"), "{error}");

    std::fs::remove_file(&images).unwrap();
    std::fs::rename(&away, &images).unwrap();
    fixture.image_files().iter().for_each(|file| remove(file));
    let error = format!("{:#}", Stream::open(fixture.location(), skipping()).err().unwrap());
    assert!(error.contains("none of its 3 files can be opened"), "{error}");
}

#[test]
fn verify_asks_for_checksums() {
    let fixture = Fixture::without_checksums();
    drop(Stream::open(fixture.location(), options()).unwrap());
    let verify = StreamOptions { verify: true, ..options() };
    let error = format!("{:#}", Stream::open(fixture.location(), verify).err().unwrap());
    assert!(error.contains("expected a CRC-32 in `pixels_crc32`"), "{error}");
}
