//! Decoding what is there once more: pictures that were rejected, after a setting or a decoder became better; and all of them, into a
//! corpus of its own that shares what was fetched.

use tuwen_corpus::{Corpus, maintenance};
use tuwen_etl::curate::{Gates, curate};
use tuwen_etl::decode::decode;
use tuwen_etl::fetch::Origin;
use tuwen_etl::ingest::ingest;
use tuwen_image::RejectReason;
use tuwen_settings::{DecodeSettings, ResizeFilter};

use crate::corpus::{Crawl, sources};

/// A square of `side` pixels.
fn png(side: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(side, side, |x, y| {
        image::Rgb([side as u8, (x * 200 / side) as u8, (y * 200 / side) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A crawl of a folder with pictures of 8, 40, 64 and 90 px and a file that is none.
async fn crawl_of_a_folder() -> Crawl {
    let mut crawl = Crawl::new();
    let folder = crawl.folder.path().join("pictures");
    std::fs::create_dir(&folder).unwrap();
    let sizes = [8, 40, 64, 90];
    for size in sizes {
        std::fs::write(folder.join(format!("train-{size}.png")), png(size)).unwrap();
    }
    std::fs::write(folder.join("train-none.png"), "no picture").unwrap();
    let names = sizes.map(|size| size.to_string()).into_iter().chain(["none".to_owned()]);
    let rows: Vec<String> = names.map(|name| format!("一张{name}的图,,train-{name}.png")).collect();
    let csv = crawl.csv("crawl.csv", &rows);
    crawl.settings.decode.size = 32;
    crawl.settings.decode.max_pixels = 41 * 41;
    crawl.run(&[csv], Origin::Folder(folder)).await;
    crawl
}

const IMAGES: &str = "select image_id, width, reject_reason, md5(pixels), pixels_crc32, dhash, filter, speed, oriented
    from images order by image_id";

#[tokio::test]
async fn what_was_rejected_is_tried_again_when_it_is_asked_for() {
    let mut crawl = crawl_of_a_folder().await;
    let rejected = "select reject_reason, count(*) from images group by 1 order by 1";
    let counts = |crawl: &[Vec<String>]| crawl.concat().join(" ");
    assert_eq!(counts(&crawl.query(rejected).await), "not_an_image 1 too_many_pixels 2 null 2");

    crawl.settings.decode.max_pixels = 1_000_000;
    let corpus = crawl.corpus().await;
    let settings = crawl.settings.decode.clone();
    let again = async |reasons: &[RejectReason]| {
        decode(&corpus, &settings, reasons, None, &crawl.stop).await.unwrap()
    };
    let version = async || crawl.corpus().await.snapshot().await.unwrap().version("images");
    let before = version().await;
    // Nobody asked; and what comes to the same is no commit.
    for reasons in [&[][..], &[RejectReason::NotAnImage]] {
        let report = again(reasons).await;
        assert_eq!((report.rows_out, report.commits), (0, 0), "{reasons:?}");
    }
    assert_eq!(version().await, before);

    let report = again(&[RejectReason::TooManyPixels, RejectReason::Corrupt]).await;
    assert_eq!(
        (report.rows_in, report.rows_out, report.n_rejected(), report.commits),
        (2, 2, 0, 1)
    );
    assert_eq!(counts(&crawl.query(rejected).await), "not_an_image 1 null 4");

    // As if it had been decoded so from the beginning.
    let tried_again = crawl.query(IMAGES).await;
    let fresh = crawl.folder.path().join("fresh").display().to_string();
    let corpus = Corpus::open_or_share(&fresh, &crawl.settings.corpus).await.unwrap();
    decode(&corpus, &settings, &[], None, &crawl.stop).await.unwrap();
    crawl.settings.corpus = fresh;
    assert_eq!(tried_again, crawl.query(IMAGES).await);
}

#[tokio::test]
async fn a_corpus_shares_what_another_has_fetched() {
    let mut crawl = crawl_of_a_folder().await;
    let (base, stop) = (crawl.settings.corpus.clone(), crawl.stop.clone());
    let examples = "select example_id, split, reject_reason from examples order by 1";
    let of_base = crawl.query(examples).await;

    // One corpus holds pictures made in one way.
    let mut settings = crawl.settings.decode.clone();
    settings.filter = ResizeFilter::Lanczos;
    let corpus = crawl.corpus().await;
    let error = decode(&corpus, &settings, &[], None, &stop).await.unwrap_err().to_string();
    let expected =
        "table `images` holds images of filter bilinear, decode.filter is lanczos\nhint: ";
    assert!(error.starts_with(expected) && error.contains("--originals-of"), "{error}");

    // All that differs is said at once.
    let all = DecodeSettings { size: 48, apply_orientation: true, ..settings.clone() };
    let error = decode(&corpus, &all, &[], None, &stop).await.unwrap_err().to_string();
    let size = crawl.settings.decode.size;
    let expected = format!(
        "table `images` holds images of size_px {size} px, decode.size is 48; of filter bilinear, decode.filter is \
         lanczos; of oriented false, decode.apply_orientation is true\n\
         hint: --set decode.size={size} --set decode.filter=bilinear --set decode.apply_orientation=false, or into a \
         corpus of its own that shares what was fetched: tuwen decode --originals-of '{base}' --corpus \
         '{base}-48-lanczos-true' --set decode.size=48 --set decode.filter=lanczos --set decode.apply_orientation=true"
    );
    assert_eq!(error, expected);

    let other = crawl.folder.path().join("other").display().to_string();
    Corpus::open_or_share(&other, &base).await.unwrap();
    // The second time as the first; and the next command knows it.
    Corpus::open_or_share(&other, &base).await.unwrap();
    crawl.settings.corpus = other.clone();
    crawl.settings.decode = settings;
    let corpus = Corpus::open(&other).await.unwrap();
    decode(&corpus, &crawl.settings.decode, &[], None, &stop).await.unwrap();
    curate(&corpus, &crawl.settings, Gates::Judge, &stop).await.unwrap();
    assert_eq!(crawl.query(examples).await, of_base);
    let filters = crawl.query("select distinct filter from images").await.concat();
    assert_eq!(filters, ["lanczos"]);

    // Only the other writes what is shared, and no upkeep touches it from here.
    let csv = crawl.csv("more.csv", &["图,,train-8.png".to_owned()]);
    let error = ingest(&corpus, &sources(&[csv]), &stop).await.unwrap_err().to_string();
    let expected = format!("table `pairs` is shared with corpus {base}, which alone writes it\n");
    assert!(error.starts_with(&expected), "{error}");
    let snapshot = corpus.snapshot().await.unwrap();
    assert!(maintenance::migrations(&snapshot).unwrap().is_empty());
    assert!(!crawl.folder.path().join("other/pairs").exists());

    for (location, base, expected) in [
        (base.as_str(), base.as_str(), "found itself"),
        (base.as_str(), other.as_str(), "found itself"),
    ] {
        let error = Corpus::open_or_share(location, base).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // The other corpus is moved: that is said, and where it lies now can be.
    let moved = crawl.folder.path().join("moved").display().to_string();
    std::fs::rename(&base, &moved).unwrap();
    let error = Corpus::open(&other).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("shares the originals of {base}, where no corpus is")),
        "{error}"
    );
    Corpus::open_or_share(&other, &moved).await.unwrap();
    assert_eq!(crawl.query(examples).await, of_base);
    let base = moved;
    // A folder with both may be moved without a word.
    let together = crawl.folder.path().join("together");
    std::fs::create_dir(&together).unwrap();
    let inside = |location: &str| together.join(location.rsplit('/').next().unwrap());
    let inside = [&base, &other].map(|location| inside(location).display().to_string());
    for (from, to) in [&base, &other].into_iter().zip(&inside) {
        std::fs::rename(from, to).unwrap();
    }
    crawl.settings.corpus = inside[1].clone();
    assert_eq!(crawl.query(examples).await, of_base);
    // So may the other of the two, whose place is known from the root on.
    crawl.settings.corpus = crawl.folder.path().join("elsewhere/other").display().to_string();
    std::fs::create_dir(crawl.folder.path().join("elsewhere")).unwrap();
    std::fs::rename(&inside[1], &crawl.settings.corpus).unwrap();
    Corpus::open_or_share(&crawl.settings.corpus, &inside[0]).await.unwrap();
    std::fs::rename(&crawl.settings.corpus, &other).unwrap();
    crawl.settings.corpus = other.clone();
    assert_eq!(crawl.query(examples).await, of_base);
    let base = inside[0].clone();

    let own = crawl.folder.path().join("own").display().to_string();
    Corpus::open_or_create(&own).await.unwrap();
    let error = Corpus::open_or_share(&own, &base).await.unwrap_err().to_string();
    assert!(error.contains("found one with its own"), "{error}");
}
