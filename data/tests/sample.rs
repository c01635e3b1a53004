//! The sample corpus is what it says: made again to the byte, honest about every row, and no two scenes alike.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::Path;

use serde_json::Value;
use tuwen_sample::corpus::Corpus;
use tuwen_sample::crawl::{Content, CrawlOptions, Row, Split, plan};
use tuwen_sample::draw::{Picture, difference_hash};
use tuwen_sample::scene::SceneOptions;
use tuwen_sample::serve::FileServer;
use tuwen_sample::tokenizer::vocabulary;

/// The options of `data/sample`, as data/README.md has them.
const COMMITTED: CrawlOptions = CrawlOptions {
    scenes: 60,
    seed: 1,
    clean: false,
    scene: SceneOptions { min_px: 64, max_px: 96, two_objects: false },
};

fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let inner = files_of(&path);
            files.extend(inner.into_iter().map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
        } else {
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn the_committed_sample_is_made_again_to_the_byte() {
    let made = tempfile::tempdir().unwrap();
    Corpus::new(&COMMITTED).write(made.path(), "http://127.0.0.1:8765").unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample");
    let (made, committed) = (files_of(made.path()), files_of(&committed));
    assert_eq!(made.keys().collect::<Vec<_>>(), committed.keys().collect::<Vec<_>>());
    for (name, bytes) in &made {
        assert!(*bytes == committed[name], "{name} differs");
    }
    assert!(committed.values().map(Vec::len).sum::<usize>() < 600_000);
}

#[test]
fn a_second_write_draws_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = Corpus::new(&COMMITTED);
    let first = corpus.write(folder.path(), "http://127.0.0.1:1").unwrap();
    let second = corpus.write(folder.path(), "http://127.0.0.1:2").unwrap();
    assert!(first.pictures > 60);
    assert_eq!((second.rows, second.pictures), (first.rows, 0));
    let csv = std::fs::read_to_string(folder.path().join("test.csv")).unwrap();
    assert!(csv.contains("http://127.0.0.1:2/") && !csv.contains("http://127.0.0.1:1/"));
}

#[test]
fn pictures_of_an_earlier_corpus_go_and_other_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("images")).unwrap();
    for name in ["images/train-999.jpg", "images/mine.jpg", "notes.txt"] {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    Corpus::new(&COMMITTED).write(folder.path(), "http://127.0.0.1:1").unwrap();
    let files = files_of(folder.path());
    assert!(!files.contains_key("images/train-999.jpg"));
    assert!(files.contains_key("images/mine.jpg") && files.contains_key("notes.txt"));
}

#[test]
fn the_manifest_tells_the_line_of_every_row() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample");
    let manifest = std::fs::read_to_string(folder.join("manifest.jsonl")).unwrap();
    let mut fates = BTreeSet::new();
    for line in manifest.lines() {
        let truth: Value = serde_json::from_str(line).unwrap();
        let csv = std::fs::read(folder.join(truth["source"].as_str().unwrap())).unwrap();
        let number = truth["line"].as_u64().unwrap() as usize;
        let row = csv.split(|b| *b == b'\n').nth(number - 1).unwrap();
        let row = String::from_utf8_lossy(row);
        let (case, file) = (truth["case"].as_str().unwrap(), truth["file"].as_str().unwrap());
        match case {
            "too_few_fields" | "no_filename" => assert!(row.contains(file), "{row}"),
            "no_url_no_filename" => assert!(row.trim_end().ends_with(",,"), "{row}"),
            "line_break" => assert!(row.starts_with('"'), "{row}"),
            _ => assert!(row.trim_end().ends_with(&format!(",{file}")), "{row}"),
        }
        fates.insert(truth["fate"].as_str().unwrap().to_owned());
    }
    let expected = [
        "rejected:duplicate_caption",
        "rejected:empty_caption",
        "rejected:fetch_failed",
        "rejected:image_rejected",
        "rejected:leak",
        "rejected:long_caption",
        "rejected:malformed_line",
        "rejected:no_locator",
        "rejected:not_fetched",
        "rejected:placeholder_image",
        "rejected:short_caption",
        "test",
        "train",
    ];
    assert_eq!(fates.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn mishaps_are_a_twelfth_and_a_tenth_is_held_out() {
    let options = CrawlOptions { scenes: 3000, ..COMMITTED };
    let rows = plan(&options);
    let share = |n: usize| n as f64 / rows.len() as f64;
    let hostile = share(rows.iter().filter(|row| row.case != "scene").count());
    let test = share(rows.iter().filter(|row| row.split.name() == "test").count());
    assert!((0.07..0.09).contains(&hostile), "{hostile}");
    assert!((0.08..0.11).contains(&test), "{test}");
    assert_eq!(plan(&CrawlOptions { clean: true, ..options }).len(), 3000);
}

#[test]
fn no_two_scenes_of_different_splits_look_alike_but_the_leaks() {
    let rows = plan(&CrawlOptions { scenes: 600, ..COMMITTED });
    let hash = |row: &Row| {
        let decodes = matches!(row.content, Content::Scene { .. } | Content::Smaller { .. });
        let bytes =
            (decodes && row.breakage.is_none()).then(|| row.content.bytes().unwrap().unwrap());
        bytes.map(|bytes| {
            let image = image::load_from_memory(&bytes).unwrap().into_rgb8();
            let (width_px, height_px) = image.dimensions();
            difference_hash(&Picture { width_px, height_px, rgb: image.into_raw() })
        })
    };
    let hashes: Vec<_> = rows.iter().map(hash).collect();
    let mut alike = BTreeSet::new();
    for (train, a) in rows.iter().zip(&hashes).filter(|(row, _)| row.split == Split::Train) {
        for (test, b) in rows.iter().zip(&hashes).filter(|(row, _)| row.split == Split::Test) {
            if let (Some(a), Some(b)) = (a, b)
                && (a ^ b).count_ones() <= 3
            {
                assert!(train.case.starts_with("leak_") && test.case == "scene", "{}", train.case);
                alike.insert(train.case);
            }
        }
    }
    assert_eq!(alike.into_iter().collect::<Vec<_>>(), ["leak_same_bytes", "leak_smaller_copy"]);
}

#[test]
fn every_character_of_a_caption_is_a_token() {
    let vocabulary: BTreeSet<String> = vocabulary().into_iter().collect();
    for two_objects in [false, true] {
        let scene = SceneOptions { two_objects, ..COMMITTED.scene };
        for row in plan(&CrawlOptions { scenes: 500, clean: true, scene, ..COMMITTED }) {
            for character in row.clean_text.chars() {
                assert!(vocabulary.contains(&character.to_string()), "{character}");
            }
        }
    }
}

#[test]
fn the_server_answers_a_burst_of_connections_that_stay_open() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.jpg"), "picture").unwrap();
    let server = FileServer::start(folder.path(), 0).unwrap();
    let address = server.base_url().replace("http://", "");
    let connect = |_| std::net::TcpStream::connect(&address).unwrap();
    let mut streams: Vec<_> = (0..100).map(connect).collect();
    for round in 0..3 {
        for stream in &mut streams {
            write!(stream, "GET /a.jpg?{round} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        }
        for stream in &mut streams {
            let mut answer = Vec::new();
            while !answer.ends_with(b"picture") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                answer.extend(byte);
            }
        }
    }
    drop(server);
    assert!(std::net::TcpStream::connect(&address).is_err());
}

#[test]
fn the_server_gives_files_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("images")).unwrap();
    std::fs::write(folder.path().join("secret"), "no").unwrap();
    std::fs::write(folder.path().join("images/a.jpg"), "picture").unwrap();
    let server = FileServer::start(&folder.path().join("images"), 0).unwrap();
    let address = server.base_url().replace("http://", "");
    for (path, expected) in [
        ("/a.jpg", "200 OK"),
        ("/a.jpg?size=f9999,10000&q=a80", "200 OK"),
        ("/b.jpg", "404 Not Found"),
        ("/", "404 Not Found"),
        ("/../secret", "404 Not Found"),
        ("/..%2fsecret", "404 Not Found"),
    ] {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{path}: {answer}");
        assert_eq!(answer.ends_with("picture"), expected == "200 OK");
    }
}
