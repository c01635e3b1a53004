//! JPEG in `images.pixels`: the stream gives what libjpeg-turbo makes of it, by every path, beside raw rows, and names the row
//! that is damaged.

use tuwen_corpus::Corpus;
use tuwen_etl::decode::decode;
use tuwen_etl::fetch::Origin;
use tuwen_settings::PixelCodec;

use super::*;
use crate::corpus::{Crawl, png};

#[test]
fn jpeg_and_mixed_rows_give_the_pixels_of_libjpeg_turbo_by_every_path() {
    for layout in [Layout::Jpeg, Layout::JpegZstd, Layout::Mixed] {
        let expected = expected_of(layout, "train", 0, |_, _| true);
        let fixture = Fixture::new(layout);
        for read_path in [ReadPath::Fastest, ReadPath::Ranges, ReadPath::General] {
            for (readers, shuffle) in
                [(1, Shuffle::Global), (3, Shuffle::Global), (2, Shuffle::Window { row_groups: 2 })]
            {
                let options = StreamOptions { shuffle, readers, batch_size: 50, ..options() };
                let stream = Stream::open_by(fixture.location(), options, read_path).unwrap();
                let rows = drain(stream.epoch(0, 0).unwrap());
                assert_once(rows, &expected, &format!("{layout:?} by {read_path:?}"));
            }
        }
    }
}

#[test]
fn a_resume_over_jpegs_goes_on_with_the_uninterrupted_order() {
    let fixture = Fixture::new(Layout::Jpeg);
    let stream = Stream::open(fixture.location(), options()).unwrap();
    let whole = drain(stream.epoch(2, 0).unwrap());
    for (world, readers) in [(1, 3), (3, 2)] {
        let of_rank = |rank| {
            let options = StreamOptions { rank, world, readers, ..options() };
            let stream = Stream::open(fixture.location(), options).unwrap();
            drain(stream.resume(&stream.state(2, 35)).unwrap())
        };
        let rest = interleave((0..world).map(of_rank).collect(), 35);
        assert_same(&rest, &whole[35..], &format!("{world} ranks"));
    }
}

#[test]
fn a_damaged_jpeg_is_named_with_its_row() {
    for read_path in [ReadPath::Fastest, ReadPath::Ranges, ReadPath::General] {
        let fixture = Fixture::new(Layout::Jpeg);
        let file = fixture.image_files().pop().unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        let starts = bytes.windows(4).position(|four| four == [0xff, 0xd8, 0xff, 0xe0]).unwrap();
        bytes[starts..starts + 4].fill(0);
        std::fs::write(&file, bytes).unwrap();
        let options = StreamOptions { shuffle: Shuffle::None, ..options() };
        let stream = Stream::open_by(fixture.location(), options, read_path).unwrap();
        let error = stream.epoch(0, 0).unwrap().find_map(Result::err).unwrap();
        let error = format!("{error:#}");
        let name = file.file_name().unwrap().to_str().unwrap();
        for part in ["table `images` version 2", name, "row group 0, row 0: ", "JPEG"] {
            assert!(error.contains(part), "{part} by {read_path:?}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corpus_says_its_codec_and_keeps_it() {
    let mut crawl = Crawl::new();
    crawl.settings.decode.codec = PixelCodec::Jpeg;
    let pictures = crawl.folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    std::fs::write(pictures.join("train-0.png"), png(40)).unwrap();
    std::fs::write(pictures.join("train-1.png"), "no picture").unwrap();
    let rows = ["红圆,,train-0.png".to_owned(), "圆红,,train-1.png".to_owned()];
    let csv = crawl.csv("crawl.csv", &rows);
    crawl.run(&[csv], Origin::Folder(pictures)).await;
    let sql = "select codec, substr(encode(pixels, 'hex'), 1, 6), length(encode(pixels, 'hex')) < 40000 \
               from images order by codec nulls last";
    let expected = [["jpeg", "ffd8ff", "true"], ["null", "null", "null"]];
    assert_eq!(crawl.query(sql).await, expected);

    let batch = {
        let stream = Stream::open(&crawl.settings.corpus, StreamOptions::default()).unwrap();
        stream.epoch(0, 0).unwrap().next().unwrap().unwrap()
    };
    let raw = tuwen_image::decode_image(&png(40), &crawl.settings.decode).unwrap().pixels;
    let mean = raw.iter().zip(&batch.pixels).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>()
        / raw.len() as f64;
    assert!(raw.len() == batch.pixels.len() && mean < 2.0, "{mean} levels on average");

    crawl.settings.decode.jpeg_quality = 50;
    let corpus = Corpus::open(&crawl.settings.corpus).await.unwrap();
    let error = decode(&corpus, &crawl.settings.decode, &[], None, &crawl.stop)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(
            "table `images` holds images of jpeg_quality 90, decode.jpeg_quality is 50\nhint: "
        ),
        "{error}"
    );

    crawl.settings.decode.codec = PixelCodec::Raw;
    let corpus = Corpus::open(&crawl.settings.corpus).await.unwrap();
    let error = decode(&corpus, &crawl.settings.decode, &[], None, &crawl.stop)
        .await
        .unwrap_err()
        .to_string();
    let here = &crawl.settings.corpus;
    let expected = format!(
        "table `images` holds images of codec jpeg, decode.codec is raw\n\
         hint: --set decode.codec=jpeg, or into a corpus of its own that shares what was fetched: \
         tuwen decode --originals-of '{here}' --corpus '{here}-raw' --set decode.codec=raw"
    );
    assert_eq!(error, expected);
}
