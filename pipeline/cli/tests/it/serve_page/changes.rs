//! The pages of a corpus that changes while it is served, or of which a part is lost.

use std::fs;
use std::time::{Duration, Instant};

use super::http::Serving;
use super::{CORPUS, tiles};
use crate::cli::{RUN, folder, tuwen};
use crate::house::files;
use crate::races::copy_folder;

#[test]
fn a_condition_follows_every_table_that_it_reads() {
    let folder = folder();
    let at = folder.path();
    assert_eq!(tuwen(at, &RUN).status.code(), Some(0));
    let serving = Serving::start(at, &[]);
    let n_shown = |more: &str| {
        let path = format!("/?where=(select%20count(*)%20from%20pairs)%20%3E%202{more}");
        let page = serving.get(&path);
        assert_eq!(page.status, 200, "{}", page.text());
        tiles(&page.text()).0.len()
    };
    assert_eq!(n_shown(""), 0);
    // Examples stay as they were.
    fs::write(at.join("more.csv"), "text,url,filename\n红,,train-0.jpg\n").unwrap();
    let fetched = tuwen(at, &["fetch", "more.csv", "--image-dir", "pictures"]);
    assert_eq!(fetched.status.code(), Some(0), "{}", String::from_utf8_lossy(&fetched.stderr));
    let clock = Instant::now();
    while n_shown("%20and%20true") != 2 {
        assert!(clock.elapsed() < Duration::from_secs(120), "the pages are those of before");
        std::thread::yield_now();
    }
    // Who scrolls goes on with what the first page has found.
    let links = tiles(&serving.get("/").text()).0;
    let behind_the_first = format!("&after={}", links[0].split("at=").nth(1).unwrap());
    assert_eq!(n_shown(&behind_the_first), 0);
    assert_eq!(n_shown(""), 2);
    assert_eq!(n_shown(&behind_the_first), 1);
}

#[test]
fn pictures_are_shown_without_captions_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&CORPUS.path().join("corpus"), &folder.path().join("corpus"));
    for file in files(&folder.path().join("corpus/captions")) {
        if file.extension().is_some_and(|extension| extension == "parquet") {
            fs::remove_file(file).unwrap();
        }
    }
    let serving = Serving::start(folder.path(), &[]);
    let page = serving.get("/");
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(!tiles(&page.text()).0.is_empty() && !page.text().contains("模型说"));
}
