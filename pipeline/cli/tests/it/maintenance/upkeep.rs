//! optimize and vacuum: fewer files, the same rows; and nothing is deleted that somebody reads.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use serde_json::json;
use tuwen_corpus::maintenance::{
    Depth, Repairs, VacuumOptions, foreign_layout, optimize, repair, vacuum,
};
use tuwen_corpus::report::{Outcome, StageReport};
use tuwen_corpus::step::{HOLD, Hold};
use tuwen_corpus::{Author, Change, Committed, Rows, Run};
use tuwen_etl::decode::decode;
use tuwen_etl::fetch::{Origin, fetch};
use tuwen_etl::ingest::ingest;
use tuwen_stream::{ReadPath, Shuffle, Stream, StreamOptions, Versions};

use super::Small;
use crate::cli::{stdout, tuwen};
use crate::corpus::{png, sources};

/// Rows of data files by page of `pixels`, to see that each row has one of its own.
fn rows_a_page(path: &Path) -> Vec<usize> {
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    let metadata = reader.parse_and_finish(&File::open(path).unwrap()).unwrap();
    let mut rows = Vec::new();
    for (group, columns) in metadata.row_groups().iter().zip(metadata.offset_index().unwrap()) {
        let pixels = group
            .columns()
            .iter()
            .position(|column| column.column_path().string() == "pixels")
            .unwrap();
        let pages = columns[pixels].page_locations();
        let firsts = pages.iter().map(|page| page.first_row_index as usize);
        let ends = firsts.clone().skip(1).chain([group.num_rows() as usize]);
        rows.extend(firsts.zip(ends).map(|(first, end)| end - first));
    }
    rows
}

/// The examples in the order in which their images lie, with their pixels.
fn in_order(small: &Small, versions: Option<Versions>, path: ReadPath) -> Vec<(String, Vec<u8>)> {
    let options = StreamOptions {
        shuffle: Shuffle::None,
        versions,
        batch_size: 5,
        verify: true,
        ..StreamOptions::default()
    };
    let stream = Stream::open_by(&small.crawl.settings.corpus, options, path).unwrap();
    let batches = stream.epoch(0, 0).unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        let batch = batch.unwrap();
        let pixel_bytes = batch.pixels.len() / batch.len();
        let pixels = batch.pixels.chunks(pixel_bytes).map(<[u8]>::to_vec);
        rows.extend(batch.example_ids.iter().map(ToString::to_string).zip(pixels));
    }
    rows
}

impl Small {
    async fn pinned(&self) -> Versions {
        let versions = self.versions().await;
        let version = |name: &str| u64::try_from(versions[name]).unwrap();
        Versions { examples: version("examples"), images: version("images"), scores: None }
    }

    async fn n_foreign(&self) -> usize {
        let snapshot = self.crawl.corpus().await.snapshot().await.unwrap();
        foreign_layout(&snapshot, "images").await.unwrap()
    }

    /// Data files in the folder of table `name`.
    fn lying(&self, name: &str) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.folder().join("corpus").join(name)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".parquet")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_are_joined_and_rows_stay_in_their_order() {
    let small = Small::new(40).await;
    let before = small.tables().await;
    let pinned = small.pinned().await;
    let order = in_order(&small, None, ReadPath::Fastest);
    assert_eq!(order.len(), 40);
    assert!(small.files("images").await.len() > 10);

    let report = small.fine(&["optimize"]);
    let images = &report["tables"]["images"];
    assert_eq!((images["files_after"].clone(), images["foreign"].clone()), (json!(1), json!(0)));
    assert_eq!(report["tables"]["originals"]["files_after"], 1);
    assert!(images["checkpoint"].is_u64(), "{report}");
    let log = small.folder().join("corpus/images/_delta_log");
    let checkpoint = format!("{:020}.checkpoint.parquet", images["checkpoint"].as_u64().unwrap());
    assert!(log.join(checkpoint).exists() && log.join("_last_checkpoint").exists());

    assert_eq!(small.tables().await, before);
    for file in small.files("images").await {
        // The row that holds no pixels shares a page.
        let pages = rows_a_page(&file);
        assert!(pages.iter().filter(|rows| **rows > 1).count() <= 1, "{pages:?}");
    }
    for path in [ReadPath::Fastest, ReadPath::Pread, ReadPath::General] {
        assert!(in_order(&small, None, path) == order, "{path:?}");
        assert!(in_order(&small, Some(pinned), path) == order, "the version before, {path:?}");
    }
    assert!(small.findings(&["--full"]).is_empty());
    let again = small.fine(&["optimize"]);
    assert_eq!(again["commits"], 0, "{again}");
    let reports = small.run().await;
    assert!(reports.iter().all(|report| report.commits == 0), "nothing is new: {reports:?}");
}

/// What happens just before the first commit of an optimize.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    AnotherOptimize,
    NewImages,
    Repair,
}

impl Meanwhile {
    async fn happens(self, small: &Small) {
        let (corpus, stop) = (small.crawl.corpus().await, &small.crawl.stop);
        match self {
            Self::AnotherOptimize => drop(optimize(&corpus, stop).await.unwrap()),
            Self::NewImages => {
                let decoded =
                    decode(&corpus, &small.crawl.settings.decode, &[], None, stop).await.unwrap();
                assert_eq!(decoded.rows_out, 5);
            }
            Self::Repair => {
                let repairs =
                    Repairs { drop_orphaned_images: false, depth: Depth::Pages, dry_run: false };
                assert!(repair(&corpus, repairs, stop).await.unwrap().commits > 0);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_stay_once_whoever_commits_meanwhile() {
    for meanwhile in [Meanwhile::AnotherOptimize, Meanwhile::NewImages, Meanwhile::Repair] {
        let small = Arc::new(Small::new(24).await);
        if matches!(meanwhile, Meanwhile::Repair) {
            small.commit("originals", None, |rows| rows).await;
        } else {
            for i in 60..65 {
                std::fs::write(small.pictures.join(format!("train-{i}.png")), png(3 * i)).unwrap();
            }
            let new: Vec<String> = (60..65).map(|i| format!("新{i},,train-{i}.png")).collect();
            let csv = small.crawl.csv("new.csv", &new);
            let corpus = small.crawl.corpus().await;
            ingest(&corpus, &sources(&[csv]), &small.crawl.stop).await.unwrap();
            let origin = Origin::Folder(small.pictures.clone());
            fetch(&corpus, origin, &small.crawl.settings.fetch, None, &small.crawl.stop)
                .await
                .unwrap();
        }
        let once = Arc::new(AtomicBool::new(false));
        let (held, is_done) = (Arc::clone(&small), Arc::clone(&once));
        let hold: Hold = Arc::new(move |point| {
            if point != "commit" || is_done.swap(true, Ordering::Relaxed) {
                return Box::pin(std::future::ready(()));
            }
            let small = Arc::clone(&held);
            Box::pin(async move {
                // On a thread of its own, which nobody holds.
                let runtime = tokio::runtime::Handle::current();
                let work = move || runtime.block_on(meanwhile.happens(&small));
                tokio::task::spawn_blocking(work).await.unwrap();
            })
        });
        let corpus = small.crawl.corpus().await;
        let report = HOLD.scope(hold, optimize(&corpus, &small.crawl.stop)).await.unwrap();
        assert!(once.load(Ordering::Relaxed), "{report:?}");
        assert!(small.findings(&["--full"]).is_empty(), "{meanwhile:?}");
        small.run().await;
        assert!(small.findings(&["--full"]).is_empty(), "{meanwhile:?}");
        let n = if matches!(meanwhile, Meanwhile::Repair) { "25" } else { "30" };
        let counted = small.crawl.query("select count(*), count(distinct image_id) from images");
        assert_eq!(counted.await, [[n, n]], "{meanwhile:?}");
        let seqs = small.crawl.query("select count(*) - count(distinct seq) from originals").await;
        assert_eq!(seqs, [["0"]], "{meanwhile:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_did_not_see_an_optimize_is_refused() {
    let small = Small::new(24).await;
    let mut stale = small.crawl.corpus().await.snapshot().await.unwrap();
    let removes = stale.removes("images", None).unwrap();
    small.fine(&["optimize"]);
    // Files that the optimize has taken away as well, and rows put beside those that it wrote.
    for (removes, only_rearranged) in [(removes, true), (Vec::new(), false)] {
        let ctx = stale.session(Rows::Heavy).await.unwrap();
        let rows = ctx.table("images").await.unwrap();
        let adds = stale.write_files("images", rows, 0).await.unwrap().adds;
        let change = Change { adds, removes, only_rearranged };
        let author = Author { stage: "test", run_id: String::new() };
        let committed = stale.commit("images", change, &author).await.unwrap();
        assert_eq!(committed, Committed::Conflict);
    }
}

/// Spark's tables may have random folders.
#[tokio::test(flavor = "multi_thread")]
async fn examples_in_a_folder_of_another_program_are_replaced() {
    let mut small = Small::new(3).await;
    let mut snapshot = small.crawl.corpus().await.snapshot().await.unwrap();
    let run = Run::start("optimize", &snapshot);
    let ctx = snapshot.session(Rows::Light).await.unwrap();
    let rows = ctx.table("examples").await.unwrap();
    let mut adds = snapshot.write_files("examples", rows, 0).await.unwrap().adds;
    let folder = small.folder().join("corpus/examples");
    std::fs::create_dir(folder.join("k4")).unwrap();
    for add in &mut adds {
        let path = format!("k4/{}", add.path);
        std::fs::rename(folder.join(&add.path), folder.join(&path)).unwrap();
        add.path = path;
    }
    let removes = snapshot.removes("examples", None).unwrap();
    let change = Change { adds, removes, only_rearranged: true };
    snapshot.commit("examples", change, run.author()).await.unwrap();
    let report = StageReport { commits: 1, ..StageReport::new("optimize") };
    run.finish(&mut snapshot, report, &json!({})).await.unwrap();

    // A picture that was not there comes, so a row of that file is another.
    std::fs::write(small.pictures.join("train-91.png"), png(77)).unwrap();
    small.crawl.settings.fetch.retry_failed = true;
    let reports = small.run().await;
    assert!(reports[3].known > 0 && reports[3].commits == 1, "{:?}", reports[3]);
    let counted = small.crawl.query("select count(*), count(distinct example_id) from examples");
    assert_eq!(counted.await, [["5", "5"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_other_programs_are_told_and_rewritten() {
    let small = Small::new(12).await;
    let before = small.tables().await;
    let order = in_order(&small, None, ReadPath::General);
    assert_eq!(small.n_foreign().await, 0);
    let snapshot = small.crawl.corpus().await.snapshot().await.unwrap();
    snapshot.delta("images").clone().optimize().await.unwrap();
    assert_eq!(small.n_foreign().await, 1);
    let report = small.fine(&["verify"]);
    assert!(report["notes"].to_string().contains("1 files are not in tuwen's layout"), "{report}");

    let text = stdout(&tuwen(small.folder(), &["optimize"]));
    assert!(text.contains("1 files were not in tuwen's layout; they are now"), "{text}");
    assert_eq!(small.n_foreign().await, 0);
    assert_eq!(small.tables().await, before);
    let mut found = in_order(&small, None, ReadPath::Fastest);
    let mut order = order;
    found.sort();
    order.sort();
    assert!(found == order, "another program may change the order, but nothing else");
}

/// Makes `path` as old as `days`.
fn age(path: &Path, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_nobody_reads_is_deleted() {
    let small = Small::new(40).await;
    let pinned = small.pinned().await;
    let order = in_order(&small, None, ReadPath::Fastest);
    let checkpoint = small.folder().join("model/checkpoint-7");
    std::fs::create_dir_all(&checkpoint).unwrap();
    let state = json!({ "step": 7, "stream": { "versions": pinned, "epoch": 0 } });
    std::fs::write(checkpoint.join("trainer_state.json"), state.to_string()).unwrap();
    let old = small.lying("images");
    small.fine(&["optimize"]);

    // What a killed run left: two files that no version has, and one that it was writing.
    let snapshot = small.crawl.corpus().await.snapshot().await.unwrap();
    let ctx = snapshot.session(Rows::Heavy).await.unwrap();
    let mut orphans = Vec::new();
    for days in [40, 20] {
        let rows = ctx.table("images").await.unwrap();
        let add = snapshot.write_files("images", rows, 0).await.unwrap().adds.remove(0);
        let path = small.folder().join("corpus/images").join(&add.path);
        age(&path, days);
        orphans.push(add.path);
    }
    let staged = small.folder().join("corpus/images/part-00000-x.parquet#1");
    std::fs::write(&staged, "half of it").unwrap();
    age(&staged, 40);
    // They are listed, with the command; nothing is wrong.
    let report = small.fine(&["verify"]);
    let notes = report["notes"].to_string();
    assert!(notes.contains("files"), "{notes}");
    let listed = &report["orphans"][0];
    assert_eq!(
        (report["orphans"].as_array().unwrap().len(), &listed["table"]),
        (1, &json!("images"))
    );
    let files = listed["files"].as_array().unwrap();
    assert!(files.len() == 2 && files.contains(&json!(orphans[0])), "{listed}");
    let text = stdout(&tuwen(small.folder(), &["verify"]));
    let expected = format!("that no version of the last 30 days has\n  {}\n", orphans[0]);
    assert!(text.contains(&expected) && text.contains("\nhint: tuwen vacuum\n"), "{text}");

    let lying = small.lying("images");
    let planned = small.fine(&["vacuum", "--dry-run"]);
    assert_eq!(small.lying("images"), lying, "a dry run deletes nothing");
    assert_eq!(planned["tables"]["images"]["files"], 2);
    let done = small.fine(&["vacuum"]);
    assert_eq!(done["tables"]["images"]["files"], 2);
    let left = small.lying("images");
    assert!(!left.contains(&orphans[0]) && left.contains(&orphans[1]) && !staged.exists());
    assert!(old.is_subset(&left), "files of a version of yesterday");

    for (args, code, expected) in [
        (&["vacuum", "--older-than", "6d"][..], 2, "expected at least 7d, found 6d"),
        (&["vacuum", "--pinned-by", "pictures"], 1, "found no trainer_state.json"),
    ] {
        let output = tuwen(small.folder(), args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && stderr.contains(expected), "{stderr}");
        assert!(stderr.contains("\nhint: "), "{stderr}");
    }
    let wrong = tuwen(small.folder(), &["vacuum", "--older-than", "soon"]);
    assert_eq!(wrong.status.code(), Some(2));

    let all = ["vacuum", "--older-than", "0s", "--force"];
    let done = small.fine(&[&all[..], &["--pinned-by", "model"]].concat());
    assert_eq!(done["tables"]["images"]["pinned"], json!([pinned.images]));
    assert!(in_order(&small, Some(pinned), ReadPath::Fastest) == order, "the pinned version");
    assert!(!small.lying("images").contains(&orphans[1]));
    small.fine(&all);
    assert_eq!(small.lying("images").len(), 1);
    assert!(in_order(&small, None, ReadPath::Fastest) == order, "the newest version");
    assert!(small.findings(&["--full"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_that_is_stopped_deletes_nothing_more() {
    let small = Small::new(3).await;
    let file = small.files("images").await.remove(0);
    let orphan = file.with_file_name("part-00000-orphan.parquet");
    std::fs::copy(&file, &orphan).unwrap();
    let corpus = small.crawl.corpus().await;
    small.crawl.stop.cancel();
    let options = VacuumOptions { older_than: Duration::ZERO, pins: Vec::new(), dry_run: false };
    let report = vacuum(&corpus, &options, &small.crawl.stop).await.unwrap();
    assert_eq!((report.outcome, report.deleted), (Outcome::Interrupted, 0));
    assert!(orphan.exists());
}

/// The checkpoint after a commit is no part of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_stands_though_the_checkpoint_after_it_fails() {
    let small = Small::new(3).await;
    let log = small.folder().join("corpus/images/_delta_log");
    // A file cannot take the place of a folder.
    let in_the_way = log.join(format!("{:020}.checkpoint.parquet", 19));
    std::fs::create_dir_all(in_the_way.join("folder")).unwrap();
    for version in small.versions().await["images"] + 1..=20 {
        small.commit("images", None, |rows| rows.limit(0, Some(1)).unwrap()).await;
        assert_eq!(small.versions().await["images"], version);
    }
}

/// What is deleted by then is deleted, and the run says how it ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_that_fails_half_way_is_recorded() {
    let small = Small::new(3).await;
    // What a killed run left.
    let file = small.files("images").await.remove(0);
    let orphan = file.with_file_name("part-00000-orphan.parquet");
    std::fs::copy(&file, &orphan).unwrap();
    // A folder of a half-written file's name is none, and cannot be deleted as one.
    let stuck = small.folder().join("corpus/runs/part-00000-x.parquet#1");
    std::fs::create_dir(&stuck).unwrap();
    let output = tuwen(small.folder(), &["vacuum", "--older-than", "0s", "--force"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("part-00000-x.parquet#1"), "{said}");
    assert!(!orphan.exists(), "{said}");
    let row = "select outcome, rows_in > rows_out and rows_out > 0, error like 'deleting %' from runs where stage = 'vacuum'";
    assert_eq!(small.crawl.query(row).await, [["failed", "true", "true"]]);
    std::fs::remove_dir(&stuck).unwrap();
    std::fs::copy(&file, &orphan).unwrap();
    small.fine(&["vacuum", "--older-than", "0s", "--force"]);
    let row = "select outcome from runs where stage = 'vacuum' order by run_id";
    assert_eq!(small.crawl.query(row).await, [["failed"], ["ok"]]);
}
