//! A corpus that grows: examples brought up to date by what a change concerns are those of a rebuild, row for row, whatever came in
//! which order.

use std::path::Path;

use tuwen_etl::curate::{Gates, curate};
use tuwen_etl::decode::decode;
use tuwen_etl::fetch::{Origin, fetch};
use tuwen_etl::ingest::ingest;

use crate::corpus::{Crawl, sources};

const EXAMPLES: &str =
    "select example_id, image_id, split, text, cast(input_ids as varchar), n_tokens, reject_reason
    from examples order by example_id";

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// One of a few scenes, or the same a little brighter: near-identical, but other bytes.
fn picture(scene: u64, brighter: u64) -> Vec<u8> {
    let image = image::RgbImage::from_fn(60, 40, |x, y| {
        let wave = |f: f32| {
            110.0 + 100.0 * ((x as f32 + scene as f32 * 37.0) * f + y as f32 * f * 0.7).sin()
        };
        let level = |f: f32| (wave(f) + brighter as f32) as u8;
        let f = 0.05 + scene as f32 * 0.03;
        image::Rgb([level(f), level(f * 0.6), level(f * 0.3)])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Adds rows, pictures and attempts at random. File names recur, so pairs share images; some files come later or are no pictures.
fn grow(random: &mut Random, folder: &Path) -> Vec<String> {
    let captions = ["红圆", "圆红", "红", "红圆红圆", "红圆600_600", " ", "圆圆"];
    let mut rows = Vec::new();
    for _ in 0..1 + random.below(5) {
        let split = ["test", "val", "train", "train"][random.below(4) as usize];
        let (scene, brighter) = (random.below(4), random.below(3));
        let name = format!("{split}-{scene}-{brighter}.png");
        let path = folder.join(&name);
        if !path.exists() && !random.one_in(3) {
            let bytes =
                if random.one_in(8) { b"no picture".to_vec() } else { picture(scene, brighter) };
            std::fs::write(path, bytes).unwrap();
        }
        let caption = captions[random.below(captions.len() as u64) as usize];
        rows.push(match random.below(12) {
            0 => "kaputt,nur zwei".to_owned(),
            1 => format!("{caption},,"),
            _ => format!("{caption},,{name}"),
        });
    }
    rows
}

async fn examples(crawl: &Crawl) -> Vec<Vec<String>> {
    crawl.query(EXAMPLES).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_change_concerns_is_all_that_a_rebuild_would_change() {
    let (mut n_changes, mut n_leaks) = (0, 0);
    for seed in 0..6 {
        let mut random = Random(seed);
        let mut crawl = Crawl::new();
        crawl.settings.decode.size = 32;
        crawl.settings.curate.placeholder_captions = 3;
        let pictures = crawl.folder.path().join("pictures");
        std::fs::create_dir(&pictures).unwrap();
        let corpus = crawl.corpus().await;
        for round in 0..9 {
            let rows = grow(&mut random, &pictures);
            let csv = crawl.csv(&format!("{round}.csv"), &rows);
            ingest(&corpus, &sources(&[csv]), &crawl.stop).await.unwrap();
            crawl.settings.fetch.retry_failed = random.one_in(2);
            if !random.one_in(5) {
                let origin = Origin::Folder(pictures.clone());
                fetch(&corpus, origin, &crawl.settings.fetch, None, &crawl.stop).await.unwrap();
            }
            if !random.one_in(4) {
                decode(&corpus, &crawl.settings.decode, &[], None, &crawl.stop).await.unwrap();
            }
            if random.one_in(4) {
                continue;
            }
            let report = curate(&corpus, &crawl.settings, Gates::Judge, &crawl.stop).await.unwrap();
            n_changes += u64::from(round > 0 && report.commits > 0 && report.known > 0);
            n_leaks += report.rejected.get("leak").copied().unwrap_or(0);
            let changed = examples(&crawl).await;
            // Another rule that judges no row otherwise: everything is made anew.
            crawl.settings.curate.max_chars += 1;
            curate(&corpus, &crawl.settings, Gates::Judge, &crawl.stop).await.unwrap();
            assert_eq!(changed, examples(&crawl).await, "seed {seed}, round {round}");
        }
    }
    assert!(
        n_changes > 10 && n_leaks > 5,
        "the test must reach what it is about: {n_changes}, {n_leaks}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_writes_what_it_changes() {
    let mut random = Random(7);
    let mut crawl = Crawl::new();
    crawl.settings.decode.size = 32;
    let pictures = crawl.folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    let all: Vec<String> = (0..40).flat_map(|_| grow(&mut random, &pictures)).collect();
    let first = crawl.csv("first.csv", &all);
    crawl.run(&[first], Origin::Folder(pictures.clone())).await;
    let before = crawl.corpus().await.snapshot().await.unwrap().file_paths("examples").unwrap();

    // A caption for a picture of its own concerns one row.
    std::fs::write(pictures.join("train-new.png"), crate::corpus::png(77)).unwrap();
    let second = crawl.csv("second.csv", &["红圆圆,,train-new.png".to_owned()]);
    let reports = crawl.run(&[second], Origin::Folder(pictures)).await;
    assert_eq!((reports[3].rows_in, reports[3].rows_out), (1, 1));
    let after = crawl.corpus().await.snapshot().await.unwrap().file_paths("examples").unwrap();
    assert!(before.is_subset(&after), "no file that was there is written again");
    assert_eq!(after.len(), before.len() + 1);
}
