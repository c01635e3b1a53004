//! `curate.group_near`: near-identical images of train have a group, whatever came first.

use tuwen_corpus::Corpus;
use tuwen_etl::curate::{Gates, curate};
use tuwen_etl::decode::decode;
use tuwen_etl::fetch::{Origin, fetch};
use tuwen_etl::ingest::ingest;

use crate::corpus::{Crawl, sources};

/// A block at `left` on a light ground, of 96 px; `side` px of it if it is resized.
fn picture(left: u32, side: u32) -> image::RgbImage {
    let picture = image::RgbImage::from_fn(96, 96, |x, y| {
        match (left..left + 30).contains(&x) && (20..60).contains(&y) {
            true => image::Rgb([180, 30, (y * 2) as u8]),
            false => image::Rgb([230, 235, 225 + (x / 12) as u8]),
        }
    });
    image::imageops::resize(&picture, side, side, image::imageops::FilterType::Triangle)
}

fn save(folder: &std::path::Path, name: &str, picture: &image::RgbImage) {
    picture.save_with_format(folder.join(name), image::ImageFormat::Png).unwrap();
}

async fn groups(crawl: &Crawl) -> Vec<(String, Option<String>)> {
    let sql = "select p.filename, g.filename from examples e join pairs p on e.example_id = p.pair_id
        left join (select min(p.filename) as filename, near_group from examples e
            join pairs p on e.example_id = p.pair_id where near_group is not null group by near_group) g
            on g.near_group = e.near_group
        order by 1";
    let rows = crawl.query(sql).await;
    let group = |cell: &String| Some(cell.clone()).filter(|cell| cell != "null");
    rows.iter().map(|row| (row[0].clone(), group(&row[1]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn near_identical_images_of_train_have_a_group() {
    let mut crawl = Crawl::new();
    crawl.settings.curate.group_near = true;
    crawl.settings.curate.placeholder_captions = 100;
    let folder = crawl.folder.path().join("pictures");
    std::fs::create_dir(&folder).unwrap();
    save(&folder, "train-a.png", &picture(8, 96));
    save(&folder, "train-b.png", &picture(8, 120));
    save(&folder, "train-c.png", &picture(58, 96));
    let rows = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("图{name}号,,train-{name}.png")).collect()
    };
    let csv = crawl.csv("train.csv", &rows(&["a", "b", "c"]));
    crawl.run(&[csv], Origin::Folder(folder.clone())).await;
    let of = |name: &str, group: Option<&str>| {
        let file = |name: &str| format!("train-{name}.png");
        (file(name), group.map(file))
    };
    assert_eq!(groups(&crawl).await, [of("a", Some("a")), of("b", Some("a")), of("c", None)]);

    // A copy that comes later takes one that was alone along.
    save(&folder, "train-d.png", &picture(58, 130));
    let csv = crawl.csv("train2.csv", &rows(&["d"]));
    crawl.run(&[csv], Origin::Folder(folder.clone())).await;
    let expected = [of("a", Some("a")), of("b", Some("a")), of("c", Some("c")), of("d", Some("c"))];
    assert_eq!(groups(&crawl).await, expected);
    let listed = crawl.query(include_str!("../../../../sql/queries/near_groups.sql")).await;
    assert_eq!(listed.iter().map(|row| row[1].as_str()).collect::<Vec<_>>(), ["2", "2"]);

    // The same from the beginning; and none where nobody asks.
    let fresh = crawl.folder.path().join("fresh").display().to_string();
    let old = std::mem::replace(&mut crawl.settings.corpus, fresh.clone());
    let corpus = Corpus::open_or_create(&fresh).await.unwrap();
    let all = crawl.csv("train.csv", &rows(&["d", "c", "b", "a"]));
    ingest(&corpus, &sources(&[all]), &crawl.stop).await.unwrap();
    let origin = Origin::Folder(folder);
    fetch(&corpus, origin, &crawl.settings.fetch, None, &crawl.stop).await.unwrap();
    decode(&corpus, &crawl.settings.decode, &[], None, &crawl.stop).await.unwrap();
    curate(&corpus, &crawl.settings, Gates::Judge, &crawl.stop).await.unwrap();
    assert_eq!(groups(&crawl).await, expected);
    crawl.settings.corpus = old;
    crawl.settings.curate.group_near = false;
    let corpus = Corpus::open(&crawl.settings.corpus).await.unwrap();
    curate(&corpus, &crawl.settings, Gates::Judge, &crawl.stop).await.unwrap();
    assert!(groups(&crawl).await.iter().all(|(_, group)| group.is_none()));
}
