//! The stream over a bucket, against the same tables in a folder: every order, ranks, a resume, and a file that goes.

use std::path::Path;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, ObjectStoreExt};

use super::fixture::{examples_of, images_in};
use super::*;
use crate::s3::{Server, inside};

#[test]
fn a_bucket_is_streamed_as_a_folder_is() {
    if inside() {
        return compare();
    }
    let Some(server) = Server::start() else { return };
    server.run("stream::bucket::a_bucket_is_streamed_as_a_folder_is");
}

fn compare() {
    let bucket = AmazonS3Builder::from_env().with_bucket_name("bucket").build().unwrap();
    let bucket: Arc<dyn ObjectStore> = Arc::new(bucket);
    for layout in [Layout::Direct, Layout::Jpeg, Layout::Zstd] {
        let fixture = Fixture::new(layout);
        let name = format!("{layout:?}").to_lowercase();
        upload(&*bucket, &name, Path::new(fixture.location()));
        let location = format!("s3://bucket/{name}");
        for shuffle in SHUFFLES {
            let options =
                |rank, world, readers| StreamOptions { shuffle, rank, world, readers, ..options() };
            let read = |location: &str, options| {
                let stream = Stream::open(location, options).unwrap();
                drain(stream.resume(&stream.state(1, 28)).unwrap())
            };
            let whole = read(fixture.location(), options(0, 1, 1));
            let ranks = (0..2).map(|rank| read(&location, options(rank, 2, 3))).collect();
            assert_same(&interleave(ranks, 28), &whole, &format!("{layout:?}, {shuffle:?}"));
        }
    }
    lose_a_file(&*bucket);
}

/// A file that goes while the stream is open: an error that names it, or its examples are left out.
fn lose_a_file(bucket: &dyn ObjectStore) {
    let fixture = Fixture::new(Layout::Direct);
    upload(bucket, "loses", Path::new(fixture.location()));
    let shuffle = Shuffle::Window { row_groups: 2 };
    let open = |on_bad_image| {
        Stream::open("s3://bucket/loses", StreamOptions { shuffle, on_bad_image, ..options() })
    };
    let (failing, skipping) = (open(OnBadImage::Fail).unwrap(), open(OnBadImage::Skip).unwrap());
    let file = fixture.image_files().pop().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    runtime().block_on(bucket.delete(&format!("loses/images/{name}").into())).unwrap();

    let error = failing.epoch(0, 0).unwrap().find_map(Result::err).unwrap();
    let place = format!("table `images` version 2, file {name}, row group ");
    assert!(format!("{error:#}").contains(&place), "{error:#}");
    let lost = examples_of(&images_in(&file));
    let mut good = expected("train", 0, |_, _| true);
    good.retain(|id, _| !lost.contains(id));
    assert!(good.len() < skipping.len());
    assert_once(drain(skipping.epoch(0, 0).unwrap()), &good, "without the lost file");
}

/// Puts the tables of `corpus` into the bucket below `name`.
fn upload(bucket: &dyn ObjectStore, name: &str, corpus: &Path) {
    let mut folders = vec![corpus.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let below = path.strip_prefix(corpus).unwrap().to_str().unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let key = format!("{name}/{below}").into();
            runtime().block_on(bucket.put(&key, bytes.into())).unwrap();
        }
    }
}
