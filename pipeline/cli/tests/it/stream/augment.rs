//! Flips and crops in the readers: seed, epoch and example decide, and nothing else.

use tuwen_stream::RandomResizedCrop;

use super::*;

fn augmented() -> StreamOptions {
    let random_resized_crop = Some(RandomResizedCrop::default());
    StreamOptions { flip: 0.5, random_resized_crop, ..options() }
}

fn by_id(rows: Vec<(String, Expected)>) -> BTreeMap<String, Expected> {
    rows.into_iter().collect()
}

#[test]
fn an_example_has_the_same_pixels_whoever_reads_it_and_others_in_another_epoch() {
    let stream = open(augmented());
    let whole = drain(stream.epoch(4, 0).unwrap());
    let plain = expected("train", 0, |_, _| true);
    let changed = whole.iter().filter(|(id, row)| row.pixels != plain[id].pixels).count();
    assert!(changed * 10 > whole.len() * 9, "{changed} of {} are changed", whole.len());

    for (world, readers, batch_size) in [(1, 1, 64), (1, 5, 3), (3, 2, 7)] {
        let of_rank = |rank| {
            let options = StreamOptions { rank, world, readers, batch_size, ..augmented() };
            drain(open(options).resume(&stream.state(4, 70)).unwrap())
        };
        let rest = interleave((0..world).map(of_rank).collect(), 70);
        assert_same(&rest, &whole[70..], &format!("{world} ranks, {readers} readers"));
    }
    let in_table_order = open(StreamOptions { shuffle: Shuffle::None, ..augmented() });
    let whole = by_id(whole);
    assert!(by_id(drain(in_table_order.epoch(4, 0).unwrap())) == whole, "the order decides pixels");
    for (epoch, seed) in [(5, 5), (4, 6)] {
        let other = open(StreamOptions { seed, ..augmented() });
        let other = by_id(drain(other.epoch(epoch, 0).unwrap()));
        let same = other.iter().filter(|(id, row)| whole[*id].pixels == row.pixels).count();
        assert!(same * 5 < other.len(), "epoch {epoch}, seed {seed}: {same} pictures are the same");
    }
}

#[test]
fn a_flip_is_the_exact_mirror_and_leaves_captions_alone() {
    let stream = open(StreamOptions { flip: 1.0, ..options() });
    let mut mirrored = expected("train", 0, |_, _| true);
    for row in mirrored.values_mut() {
        let pixel = |x: usize, y: usize| &row.pixels[(y * SIZE_PX + x) * 3..][..3];
        let places = (0..SIZE_PX * SIZE_PX).map(|i| (SIZE_PX - 1 - i % SIZE_PX, i / SIZE_PX));
        row.pixels = places.flat_map(|(x, y)| pixel(x, y).to_vec()).collect();
    }
    assert_once(drain(stream.epoch(0, 0).unwrap()), &mirrored, "mirrored");
}

#[test]
fn bounds_out_of_range_are_named() {
    let crop = |scale, ratio| StreamOptions {
        random_resized_crop: Some(RandomResizedCrop { scale, ratio }),
        ..options()
    };
    for (options, expected) in [
        (StreamOptions { flip: 1.5, ..options() }, "`flip`: expected 0 to 1, found 1.5"),
        (crop([0.0, 1.0], [1.0, 1.0]), "`random_resized_crop.scale`: expected 0 < least"),
        (crop([0.5, 0.4], [1.0, 1.0]), "found [0.5, 0.4]"),
        (crop([0.5, 1.0], [0.0, 1.0]), "`random_resized_crop.ratio`: expected 0 < least"),
    ] {
        let error = format!("{:#}", Stream::open(DIRECT.location(), options).err().unwrap());
        assert!(error.contains(expected), "expected `{expected}`, found `{error}`");
    }
}
