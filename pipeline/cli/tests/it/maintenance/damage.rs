//! verify finds, and repair mends: rows that are there twice, bytes that changed, files that are gone.

use datafusion::prelude::{DataFrame, cast, col, lit};
use datafusion::scalar::ScalarValue;
use serde_json::json;
use tuwen_corpus::report::StageReport;
use tuwen_corpus::{Change, Rows, Run};

use super::Small;
use crate::cli::{stdout, tuwen};

/// Changes the middle byte of `bytes` where they stand in one of `files`.
fn flip(files: &[std::path::PathBuf], bytes: &[u8]) {
    let found = files.iter().find_map(|path| {
        let file = std::fs::read(path).unwrap();
        let start = file.windows(bytes.len()).position(|window| window == bytes)?;
        Some((path, file, start))
    });
    let (path, mut file, start) = found.unwrap();
    file[start + bytes.len() / 2] ^= 0x10;
    std::fs::write(path, file).unwrap();
}

/// `rows` of originals as attempts that failed.
fn failed(rows: DataFrame, outcome: &str) -> DataFrame {
    let rows = rows.with_column("outcome", lit(outcome)).unwrap();
    let rows = rows.with_column("image_id", lit(ScalarValue::Utf8(None))).unwrap();
    rows.with_column("bytes", lit(ScalarValue::Binary(None))).unwrap()
}

impl Small {
    /// A value of a row as bytes.
    async fn bytes(&self, column: &str, table: &str, image_id: &str) -> Vec<u8> {
        let sql = format!(
            "select encode({column}, 'hex') from {table} where image_id = '{image_id}' limit 1"
        );
        let hex = self.crawl.query(&sql).await[0][0].clone();
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    /// Ids of decoded images.
    async fn decoded(&self) -> Vec<String> {
        let sql = "select image_id from images where reject_reason is null order by 1";
        self.crawl.query(sql).await.into_iter().map(|row| row[0].clone()).collect()
    }

    /// After a repair: nothing is wrong, and the next run brings back what was there.
    async fn is_mended(&self, before: &[Vec<Vec<String>>]) {
        assert!(self.findings(&["--full"]).is_empty());
        self.run().await;
        assert!(self.findings(&["--full"]).is_empty());
        let after = self.tables().await;
        for i in [0, 2, 3] {
            assert_eq!(after[i], before[i], "{}", super::TABLES[i]);
        }
        let known = |rows: &Vec<Vec<String>>| -> Vec<Vec<String>> {
            rows.iter().map(|row| row[1..7].to_vec()).collect()
        };
        assert_eq!(known(&after[1]), known(&before[1]), "originals, but for numbers and times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_rows_with_one_key_the_oldest_stays() {
    let small = Small::new(12).await;
    let before = small.tables().await;
    for name in ["pairs", "originals", "images", "examples"] {
        small.commit(name, None, |rows| rows).await;
    }
    assert_eq!(
        small.findings(&[]),
        [
            "duplicate_keys examples 14",
            "duplicate_keys images 13",
            "duplicate_keys originals 14",
            "duplicate_keys pairs 14",
            "duplicate_numbers originals 14",
            "failed_audit one_row_an_image 13",
        ]
    );
    let versions = small.versions().await;
    let planned = small.fine(&["repair", "--dry-run"]);
    assert_eq!(small.versions().await, versions, "a dry run writes nothing");
    let done = small.fine(&["repair"]);
    for table in ["pairs", "originals", "images", "examples"] {
        assert_eq!(planned["tables"][table], done["tables"][table]);
    }
    let images = &done["tables"]["images"];
    assert_eq!(
        (images["rows_before"].clone(), images["rows_after"].clone()),
        (json!(26), json!(13))
    );
    assert_eq!(images["dropped"], json!({ "duplicate_key": 13 }));
    assert_eq!(small.tables().await, before, "rows that stay are as they were");
    small.is_mended(&before).await;
    let run = small
        .crawl
        .query("select stage, rows_in, rows_out, outcome from runs where stage = 'repair'");
    assert_eq!(run.await, [["repair", "110", "55", "ok"]]);
    let again = small.fine(&["repair"]);
    assert_eq!(again["commits"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_two_attempts_have_are_given_anew() {
    let small = Small::new(3).await;
    let before = small.tables().await;
    let again = cast(col("attempt") + lit(1), arrow::datatypes::DataType::Int32);
    small.commit("originals", None, |rows| rows.with_column("attempt", again).unwrap()).await;
    assert_eq!(small.findings(&[]), ["duplicate_numbers originals 5"]);
    let done = small.fine(&["repair"]);
    assert_eq!(done["tables"]["originals"]["renumbered"], 5);
    assert!(small.findings(&[]).is_empty());
    let numbers = "select min(seq), max(seq), count(distinct seq) from originals where attempt = ";
    assert_eq!(small.crawl.query(&format!("{numbers}1")).await, [["0", "4", "5"]]);
    assert_eq!(small.crawl.query(&format!("{numbers}2")).await, [["5", "9", "5"]]);
    let old: Vec<_> = small.tables().await[1].iter().filter(|row| row[6] == "1").cloned().collect();
    assert_eq!(old, before[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_attempt_at_a_locator_stays_the_last() {
    let small = Small::new(3).await;
    // Earlier attempts, which failed, come into the log late and with numbers that others have.
    let earlier = cast(col("attempt") - lit(1), arrow::datatypes::DataType::Int32);
    small
        .commit("originals", None, |rows| {
            let rows = rows.filter(col("outcome").eq(lit("ok"))).unwrap();
            let rows = rows.with_column("attempt", earlier).unwrap();
            failed(rows, "unreadable")
        })
        .await;
    assert!(!small.findings(&[]).is_empty());
    small.fine(&["repair"]);
    assert!(small.findings(&[]).is_empty());
    let last =
        "select count(*) from originals good join originals failed on good.locator = failed.locator
                where good.outcome = 'ok' and failed.attempt = 0 and good.seq > failed.seq";
    let all = "select count(*) from originals where outcome = 'ok'";
    assert_eq!(small.crawl.query(last).await, small.crawl.query(all).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_attempts_a_good_one_stays_rather_than_an_older_failed_one() {
    let small = Small::new(3).await;
    let before = small.tables().await;
    small
        .commit("originals", Some(1), |rows| {
            failed(rows.filter(col("outcome").eq(lit("ok"))).unwrap(), "unreadable")
        })
        .await;
    small.fine(&["repair"]);
    assert_eq!(small.tables().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_images_a_decoded_row_stays_rather_than_an_older_rejected_one() {
    let small = Small::new(3).await;
    let before = small.tables().await;
    let null = |data_type: ScalarValue| lit(data_type);
    small
        .commit("images", Some(1), |rows| {
            let rejected = rows.filter(col("reject_reason").is_null()).unwrap();
            let rejected = rejected.with_column("reject_reason", lit("truncated")).unwrap();
            let rejected = rejected.with_column("codec", null(ScalarValue::Utf8(None))).unwrap();
            let rejected = rejected.with_column("pixels", null(ScalarValue::Binary(None))).unwrap();
            rejected.with_column("pixels_crc32", null(ScalarValue::Int64(None))).unwrap()
        })
        .await;
    small.fine(&["repair"]);
    assert_eq!(small.tables().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_changed_are_found_by_full_and_got_again() {
    let small = Small::new(12).await;
    let before = small.tables().await;
    let ids = small.decoded().await;
    flip(&small.files("images").await, &small.bytes("pixels", "images", &ids[4]).await);
    assert!(small.findings(&[]).is_empty(), "footers say nothing of pixels");
    assert_eq!(small.findings(&["--full"]), ["damaged_pixels images 1"]);
    let done = small.fine(&["repair"]);
    assert_eq!(done["tables"]["images"]["dropped"], json!({ "damaged_pixels": 1 }));
    let others: Vec<_> = before[2].iter().filter(|row| row[0] != ids[4]).cloned().collect();
    assert_eq!(small.tables().await[2], others);
    small.is_mended(&before).await;

    flip(&small.files("originals").await, &small.bytes("bytes", "originals", &ids[7]).await);
    assert_eq!(small.findings(&["--full"]), ["damaged_bytes originals 1"]);
    let done = small.fine(&["repair"]);
    assert_eq!(done["tables"]["originals"]["dropped"], json!({ "damaged_bytes": 1 }));
    assert_eq!(done["tables"]["images"]["dropped"], json!({}), "its pixels are whole");
    small.is_mended(&before).await;

    // The picture is nowhere any more: the image stays until somebody wants it to go.
    std::fs::remove_file(&small.files("originals").await[0]).unwrap();
    let pictures = std::fs::read_dir(&small.pictures).unwrap();
    pictures.for_each(|picture| std::fs::remove_file(picture.unwrap().path()).unwrap());
    small.fine(&["repair"]);
    small.run().await;
    assert!(small.findings(&["--full"]).is_empty());
    assert_eq!(small.tables().await[2], before[2]);
    let text = stdout(&tuwen(small.folder(), &["verify"]));
    assert!(text.contains("no picture file in originals any more"), "{text}");
    let done = small.fine(&["repair", "--drop-orphaned-images"]);
    let n_dropped = done["tables"]["images"]["dropped"]["no_original"].as_u64().unwrap();
    assert!(n_dropped > 0, "{done}");
    small.run().await;
    assert!(small.findings(&["--full"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_gone_or_cut_short_are_got_again() {
    let small = Small::new(12).await;
    let before = small.tables().await;
    let images = small.files("images").await;
    std::fs::remove_file(&images[1]).unwrap();
    let cut = std::fs::read(&images[2]).unwrap();
    std::fs::write(&images[2], &cut[..cut.len() / 2]).unwrap();
    std::fs::write(&images[3], "nothing of it is left".repeat(400)).unwrap();
    let originals = small.files("originals").await;
    std::fs::remove_file(&originals[0]).unwrap();
    let found = small.findings(&[]);
    assert_eq!(
        found,
        [
            "missing_file images 1",
            "missing_file originals 1",
            "unreadable images 2",
            "wrong_size images 2",
        ]
    );
    let text = stdout(&tuwen(small.folder(), &["verify"]));
    assert!(text.contains("\nhint: tuwen repair\n"), "{text}");
    let planned = small.fine(&["repair", "--dry-run", "--quick"]);
    let done = small.fine(&["repair", "--quick"]);
    assert_eq!(planned["tables"], done["tables"]);
    let dropped = &done["tables"]["images"]["dropped"];
    assert_eq!(
        (dropped["missing_file"].clone(), dropped["unreadable"].clone()),
        (json!(3), json!(6))
    );
    small.is_mended(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_was_killed_is_completed() {
    let small = Small::new(3).await;
    let snapshot = small.crawl.corpus().await.snapshot().await.unwrap();
    let off = [("delta.appendOnly".to_owned(), "false".to_owned())].into();
    let originals = snapshot.delta("originals").clone();
    originals.set_tbl_properties().with_properties(off).await.unwrap();
    assert_eq!(small.findings(&[]), ["append_only originals 1"]);
    small.fine(&["repair"]);
    assert!(small.findings(&[]).is_empty());
    let snapshot = small.crawl.corpus().await.snapshot().await.unwrap();
    let metadata = snapshot.delta("originals").snapshot().unwrap().metadata();
    assert_eq!(metadata.configuration()["delta.appendOnly"], "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_that_an_audit_refuses_are_made_anew() {
    let small = Small::new(3).await;
    let before = small.tables().await;
    // Rows that curate would not write, under a version that is said to have been rearranged only.
    let mut snapshot = small.crawl.corpus().await.snapshot().await.unwrap();
    let run = Run::start("optimize", &snapshot);
    let ctx = snapshot.session(Rows::Light).await.unwrap();
    let rows = ctx.table("examples").await.unwrap();
    let rows = rows.with_column("split", lit("holdout")).unwrap();
    let adds = snapshot.write_files("examples", rows, 0).await.unwrap().adds;
    let removes = snapshot.removes("examples", None).unwrap();
    let change = Change { adds, removes, only_rearranged: true };
    snapshot.commit("examples", change, run.author()).await.unwrap();
    let report = StageReport { commits: 1, ..StageReport::new("optimize") };
    run.finish(&mut snapshot, report, &json!({})).await.unwrap();

    let found = small.findings(&[]);
    assert!(found.contains(&"failed_audit split_or_reason 5".to_owned()), "{found:?}");
    let done = small.fine(&["repair"]);
    assert_eq!(done["tables"]["examples"]["outdated"], true);
    small.is_mended(&before).await;
}
