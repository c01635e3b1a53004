//! Paths with characters that URLs, globs, shells or Delta's kernel take for something else, for every argument.

use std::path::Path;

use crate::cli::{stdout, tuwen};
use crate::corpus::{png, tokenizer};

const NAMES: [&str; 12] = [
    "data[1]", "a%20b", "100%", "a|b", "a b", "图 文", "a\\b", "a:b", "a#b?c", "a*{b}", "~'\"",
    "a\tb",
];

/// Nights after each other, each with files of its own in the log: a store that lists them out of order would be seen.
const NIGHTS: u8 = 3;

#[test]
fn paths_of_any_name_are_taken_as_they_are() {
    let folder = tempfile::TempDir::new().unwrap();
    for name in NAMES {
        let at = folder.path().join(name);
        std::fs::create_dir_all(at.join("audits")).unwrap();
        std::fs::write(at.join("audits/none.sql"), "select 1 where false").unwrap();
        std::fs::write(at.join("tuwen.toml"), "max_rejected_percent = 99\n").unwrap();
        tokenizer(&at);
        let below = |file: &str| format!("{name}/{file}");
        let corpus = below("corpus");
        for night in 0..NIGHTS {
            add_night(&at, night);
            let (csv, audits) = (below("crawl.csv"), format!("curate.audits={name}/audits"));
            let (pictures, tokenizer) = (below("pictures"), below("tokenizer.json"));
            let config = below("tuwen.toml");
            #[rustfmt::skip]
            let args = ["run", &csv, "--corpus", &corpus, "--image-dir", &pictures, "--tokenizer", &tokenizer,
                        "--config", &config, "--set", &audits];
            succeed(folder.path(), &args);
        }
        let count = "select count(*) as n from examples where split is not null";
        let counted =
            succeed(folder.path(), &["sql", count, "--format", "csv", "--corpus", &corpus]);
        assert_eq!(counted, format!("n\n{}\n", u32::from(NIGHTS) * 2), "{name}");
        for format in ["webdataset", "huggingface", "parquet"] {
            let out = below(format);
            let args = ["export", "--format", format, "-o", &out, "--corpus", &corpus];
            succeed(folder.path(), &args);
            assert!(
                at.join(format).join("README.md").is_file(),
                "{name}: the export lies elsewhere"
            );
        }
        for command in [
            &["verify", "--full"][..],
            &["optimize"],
            &["vacuum", "--older-than", "0s", "--force"],
            &["repair"],
            &["migrate"],
            &["verify", "--full"],
            &["history"],
            &["bench", "stream", "--readers", "1", "--seconds", "0.01"],
        ] {
            succeed(folder.path(), &[command, &["--corpus", &corpus]].concat());
        }
        assert!(at.join("corpus/images/_delta_log").is_dir(), "{name}: the corpus lies elsewhere");
    }
    // Nothing was made under a name that was decoded, or cut at a slash that was none.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), NAMES.len());
}

/// Adds two pictures and a longer CSV.
fn add_night(at: &Path, night: u8) {
    std::fs::create_dir_all(at.join("pictures")).unwrap();
    let mut csv = "text,url,filename\n".to_owned();
    for split in ["train", "test"] {
        let level = night * 60 + 10 + if split == "test" { 30 } else { 0 };
        std::fs::write(at.join(format!("pictures/{split}-{night}.jpg")), png(level)).unwrap();
        for before in 0..=night {
            let caption = "红圆".repeat(usize::from(before) + 1);
            let caption = if split == "test" { format!("{caption}红") } else { caption };
            csv += &format!("{caption},,{split}-{before}.jpg\n");
        }
    }
    std::fs::write(at.join("crawl.csv"), csv).unwrap();
}

fn succeed(folder: &Path, args: &[&str]) -> String {
    let output = tuwen(folder, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
    stdout(&output)
}
