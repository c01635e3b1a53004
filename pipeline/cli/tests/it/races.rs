//! Two runs at once: held and led through the orders of reads and commits that matter, and as two processes. The tables are then
//! those of one run, row for row.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use futures::future::join;
use tokio::sync::{Mutex, Notify};
use tuwen_corpus::step::{HOLD, Hold};
use tuwen_corpus::{Asked, Lease, Rows};
use tuwen_etl::curate::{Gates, curate};
use tuwen_etl::decode::decode;
use tuwen_etl::fetch::{Origin, fetch};
use tuwen_etl::ingest::ingest;

use crate::cli::tuwen;
use crate::corpus::{Crawl, png, sources};

/// What must be equal, whoever was first. Only the times, and the numbers of the attempts, follow the order of the runs.
const TABLES: [&str; 5] = [
    "select * from pairs order by pair_id",
    "select locator, attempt, image_id, md5(bytes), outcome, detail from originals order by locator, attempt",
    "select image_id, width, dhash, md5(pixels), reject_reason from images order by image_id",
    "select example_id, image_id, split, text, cast(input_ids as varchar), reject_reason from examples order by example_id",
    "select count(*), count(distinct seq), min(seq), max(seq) from originals",
];

/// Whose turn it is: a run waits at each point until the schedule's next letter is its own. When a run has ended, or the schedule
/// has, nobody waits.
struct Schedule {
    turns: Mutex<VecDeque<char>>,
    moved: Notify,
}

impl Schedule {
    fn new(turns: &str) -> Arc<Self> {
        Arc::new(Self { turns: Mutex::new(turns.chars().collect()), moved: Notify::new() })
    }

    fn hold(self: &Arc<Self>, run: char) -> Hold {
        let schedule = Arc::clone(self);
        Arc::new(move |_point| {
            let schedule = Arc::clone(&schedule);
            async move { schedule.wait_for(run).await }.boxed()
        })
    }

    async fn wait_for(&self, run: char) {
        loop {
            let moved = self.moved.notified();
            {
                let mut turns = self.turns.lock().await;
                match turns.front() {
                    Some(turn) if *turn != run => {}
                    _ => {
                        turns.pop_front();
                        self.moved.notify_waiters();
                        return;
                    }
                }
            }
            moved.await;
        }
    }

    /// Takes the turns of a run that has ended.
    async fn ended(&self, run: char) {
        self.turns.lock().await.retain(|turn| *turn != run);
        self.moved.notify_waiters();
    }
}

/// All orders of `a` and `b`, each `n` times.
fn interleavings(n: usize) -> Vec<String> {
    let mut all = Vec::new();
    for bits in 0..1_u32 << (2 * n) {
        if bits.count_ones() as usize == n {
            all.push((0..2 * n).map(|i| if bits >> i & 1 == 1 { 'a' } else { 'b' }).collect());
        }
    }
    all
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum StageName {
    Ingest,
    Fetch,
    Decode,
    Curate,
}

const STAGES: [StageName; 4] =
    [StageName::Ingest, StageName::Fetch, StageName::Decode, StageName::Curate];

/// A crawl of several chunks a stage.
fn crawl() -> (Crawl, Vec<PathBuf>) {
    let mut crawl = Crawl::new();
    let pictures = crawl.folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    let mut csvs = Vec::new();
    for part in 0..2_u8 {
        let mut rows = Vec::new();
        for i in 0..3_u8 {
            let (split, level) = (if i == 2 { "test" } else { "train" }, 20 + 40 * (3 * part + i));
            let name = format!("{split}-{part}{i}.png");
            std::fs::write(pictures.join(&name), png(level)).unwrap();
            rows.push(format!("红圆{part}{i},,{name}"));
        }
        csvs.push(crawl.csv(&format!("part{part}.csv"), &rows));
    }
    crawl.settings.fetch.chunk_bytes = 1_000;
    crawl.settings.decode.chunk_images = 2;
    crawl.settings.decode.size = 16;
    (crawl, csvs)
}

async fn run_stage(crawl: &Crawl, csvs: &[PathBuf], stage: StageName) {
    let corpus = crawl.corpus().await;
    let origin = Origin::Folder(crawl.folder.path().join("pictures"));
    let (settings, stop) = (&crawl.settings, &crawl.stop);
    let report = match stage {
        StageName::Ingest => ingest(&corpus, &sources(csvs), stop).await,
        StageName::Fetch => fetch(&corpus, origin, &settings.fetch, None, stop).await,
        StageName::Decode => decode(&corpus, &settings.decode, &[], None, stop).await,
        StageName::Curate => curate(&corpus, settings, Gates::Judge, stop).await,
    };
    report.unwrap();
}

/// Two runs of `stages`, led by `turns`.
async fn race(crawl: &Crawl, csvs: &[PathBuf], stages: &[StageName], turns: &str) {
    let schedule = Schedule::new(turns);
    let run = |name: char| {
        let schedule = &schedule;
        HOLD.scope(schedule.hold(name), async move {
            for stage in stages {
                run_stage(crawl, csvs, *stage).await;
            }
            schedule.ended(name).await;
        })
    };
    join(run('a'), run('b')).await;
}

async fn tables(crawl: &Crawl) -> Vec<Vec<Vec<String>>> {
    let mut tables = Vec::new();
    for sql in TABLES {
        tables.push(crawl.query(sql).await);
    }
    tables
}

fn assert_same(found: &[Vec<Vec<String>>], expected: &[Vec<Vec<String>>], case: &str) {
    for ((found, expected), sql) in found.iter().zip(expected).zip(TABLES) {
        let lines = |rows: &[Vec<String>]| -> Vec<String> {
            rows.iter().map(|row| row.join(" ")).collect()
        };
        let (found, expected) = (lines(found), lines(expected));
        let surplus: Vec<_> = found.iter().filter(|row| !expected.contains(row)).collect();
        let missing: Vec<_> = expected.iter().filter(|row| !found.contains(row)).collect();
        assert!(
            found == expected,
            "{case}: {sql}\nsurplus {surplus:#?}\nmissing {missing:#?}\n{} rows for {}",
            found.len(),
            expected.len()
        );
    }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_two_runs_of_a_stage_leaves_the_tables_of_one() {
    let (mut crawl, csvs) = crawl();
    let folder = crawl.folder.path().to_owned();
    crawl.settings.corpus = folder.join("alone").display().to_string();
    for stage in STAGES {
        run_stage(&crawl, &csvs, stage).await;
    }
    let expected = tables(&crawl).await;
    assert_eq!(expected[4], [["6", "6", "0", "5"]], "attempts are numbered without a gap");

    let base = folder.join("base");
    crawl.settings.corpus = base.display().to_string();
    crawl.corpus().await;
    for (i, stage) in STAGES.into_iter().enumerate() {
        for turns in interleavings(3) {
            let raced = folder.join(format!("raced-{i}-{turns}"));
            copy_folder(&base, &raced);
            crawl.settings.corpus = raced.display().to_string();
            race(&crawl, &csvs, &[stage], &turns).await;
            for rest in &STAGES[i + 1..] {
                run_stage(&crawl, &csvs, *rest).await;
            }
            assert_same(&tables(&crawl).await, &expected, &format!("{stage:?} {turns}"));
            std::fs::remove_dir_all(&raced).unwrap();
        }
        crawl.settings.corpus = base.display().to_string();
        run_stage(&crawl, &csvs, stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_runs_in_random_orders_leave_the_tables_of_one() {
    let (mut crawl, csvs) = crawl();
    let folder = crawl.folder.path().to_owned();
    crawl.settings.corpus = folder.join("alone").display().to_string();
    for stage in STAGES {
        run_stage(&crawl, &csvs, stage).await;
    }
    let expected = tables(&crawl).await;
    let mut random = 1_u64;
    for trial in 0..8 {
        let turns: String = (0..40)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if random >> 60 & 1 == 1 { 'a' } else { 'b' }
            })
            .collect();
        crawl.settings.corpus = folder.join(format!("trial-{trial}")).display().to_string();
        crawl.corpus().await;
        race(&crawl, &csvs, &STAGES, &turns).await;
        assert_same(&tables(&crawl).await, &expected, &turns);
    }
}

/// Trials of two real processes; more with `TUWEN_TEST_TRIALS`.
fn n_trials() -> usize {
    std::env::var("TUWEN_TEST_TRIALS").ok().and_then(|n| n.parse().ok()).unwrap_or(3)
}

fn spawn(folder: &Path, csvs: &[&str], corpus: &str, more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tuwen"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TUWEN_")) {
        command.env_remove(name);
    }
    let fixed = [
        "--image-dir",
        "pictures",
        "--tokenizer",
        "tokenizer.json",
        "--corpus",
        corpus,
        "--set",
        "decode.size=16",
        "--set",
        "decode.chunk_images=2",
        "--set",
        "fetch.chunk_bytes=1000",
    ];
    command.current_dir(folder).arg("run").args(csvs).args(fixed).args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_at_once_break_nothing_lease_or_not() {
    let (mut crawl, csvs) = crawl();
    let folder = crawl.folder.path().to_owned();
    crawl.settings.corpus = folder.join("alone").display().to_string();
    for stage in STAGES {
        run_stage(&crawl, &csvs, stage).await;
    }
    let expected = tables(&crawl).await;
    let both = ["part0.csv", "part1.csv"];
    for trial in 0..n_trials() {
        // Without the lease, on the same CSVs and on different ones; with it, the second waits.
        for (way, a, b, more) in [
            ("same", &both[..], &both[..], "--ignore-lease"),
            ("different", &both[..1], &both[1..], "--ignore-lease"),
            ("waiting", &both[..1], &both[1..], "--wait"),
        ] {
            let corpus = format!("{way}-{trial}");
            crawl.settings.corpus = folder.join(&corpus).display().to_string();
            let runs = [spawn(&folder, a, &corpus, &[more]), spawn(&folder, b, &corpus, &[more])];
            for run in runs {
                let output = run.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(0), "{way}: {said}");
            }
            // What one of them read before the other had committed it is the next run's.
            let rest = spawn(&folder, &both, &corpus, &[]).wait_with_output().unwrap();
            assert_eq!(rest.status.code(), Some(0), "{}", String::from_utf8_lossy(&rest.stderr));
            assert_same(&tables(&crawl).await, &expected, &format!("{way}, trial {trial}"));
        }
    }
}

/// Another program appends without Delta's transactions, between what a stage has read and its commit.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_another_program_appends_meanwhile_are_not_there_twice() {
    let (mut crawl, csvs) = crawl();
    let folder = crawl.folder.path().to_owned();
    crawl.settings.corpus = folder.join("alone").display().to_string();
    run_stage(&crawl, &csvs, StageName::Ingest).await;
    let rows = crawl.query("select pair_id from pairs order by pair_id").await;
    let corpus = crawl.corpus().await;
    let ctx = corpus.snapshot().await.unwrap().session(Rows::Light).await.unwrap();
    let batches = ctx.table("pairs").await.unwrap().collect().await.unwrap();

    crawl.settings.corpus = folder.join("other").display().to_string();
    let other = crawl.corpus().await;
    let is_first = Arc::new(AtomicBool::new(true));
    let hold: Hold = Arc::new(move |point| {
        let (batches, other, is_first) = (batches.clone(), other.clone(), Arc::clone(&is_first));
        async move {
            if point == "commit" && is_first.swap(false, Ordering::Relaxed) {
                let pairs = other.delta("pairs", None).await.unwrap();
                pairs.write(batches).await.unwrap();
            }
        }
        .boxed()
    });
    HOLD.scope(hold, run_stage(&crawl, &csvs, StageName::Ingest)).await;
    assert_eq!(crawl.query("select pair_id from pairs order by pair_id").await, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_for_whom_and_can_be_stopped() {
    let (crawl, csvs) = crawl();
    let corpus = crawl.corpus().await;
    let lease = Lease::ask(&corpus, "etl", "run", std::time::Duration::ZERO).await.unwrap();
    let Asked::Granted(lease) = lease else { panic!("nobody has it") };
    lease.enter("run, stage decode");
    let file = crawl.folder.path().join("corpus/_lease/etl/000000000000.json");
    while !std::fs::read_to_string(&file).unwrap().contains("run, stage decode") {
        tokio::task::yield_now().await;
    }
    let csv = csvs[0].to_str().unwrap();
    let wait = ["--wait=18446744073709551615"];
    let mut waiting = spawn(crawl.folder.path(), &[csv], "corpus", &wait);
    let mut said = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let line = said.next().unwrap().unwrap();
    let expected = "waiting for the corpus, which is held by `tuwen run, stage decode`, process";
    assert!(line.starts_with(expected), "{line}");
    let pid = waiting.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
    lease.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_changes_hands_while_it_is_looked_at_is_granted_once() {
    let (crawl, _) = crawl();
    let corpus = crawl.corpus().await;
    let Asked::Granted(first) =
        Lease::ask(&corpus, "etl", "run", std::time::Duration::ZERO).await.unwrap()
    else {
        panic!("nobody has it")
    };
    first.release().await;
    let taken = Arc::new(Mutex::new(None));
    let (is_first, keep) = (Arc::new(AtomicBool::new(true)), Arc::clone(&taken));
    let other = corpus.clone();
    let hold: Hold = Arc::new(move |point| {
        let (other, is_first, keep) = (other.clone(), Arc::clone(&is_first), Arc::clone(&keep));
        async move {
            if point == "lease" && is_first.swap(false, Ordering::Relaxed) {
                let asked = Lease::ask(&other, "etl", "fetch", std::time::Duration::ZERO).await;
                *keep.lock().await = Some(asked.unwrap());
            }
        }
        .boxed()
    });
    let asking = Lease::ask(&corpus, "etl", "decode", std::time::Duration::ZERO);
    let asked = HOLD.scope(hold, asking).await.unwrap();
    assert!(matches!(taken.lock().await.take(), Some(Asked::Granted(_))));
    assert!(matches!(asked, Asked::Held(holder) if holder.stage == "fetch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_corpus_is_exit_code_4_and_a_dead_holder_is_none() {
    let (crawl, _) = crawl();
    crawl.corpus().await;
    let folder = crawl.folder.path();
    let lease = folder.join("corpus/_lease/etl");
    // By the clock of the store, and by that of the holder, which nobody goes by.
    let write = |number: u32, age_secs: u64, said_secs: i64| {
        std::fs::create_dir_all(&lease).unwrap();
        let renewed = chrono::Utc::now() - chrono::TimeDelta::seconds(said_secs);
        let holder = serde_json::json!({
            "host": "elsewhere", "pid": 7, "process_start": 1, "stage": "fetch", "since": renewed,
            "renewed": renewed, "released": false,
        });
        let path = lease.join(format!("{number:012}.json"));
        std::fs::write(&path, holder.to_string()).unwrap();
        let written = std::time::SystemTime::now() - std::time::Duration::from_secs(age_secs);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
    };
    let decode = || tuwen(folder, &["decode", "--corpus", "corpus"]);
    for (number, said_secs) in [(1, 0), (2, 3_600)] {
        write(number, 0, said_secs);
        let held = decode();
        let said = String::from_utf8_lossy(&held.stderr).into_owned();
        assert_eq!(held.status.code(), Some(4), "{said}");
        assert!(said.contains("held by `tuwen fetch`, process 7 on elsewhere, since 20"), "{said}");
    }
    write(3, 3_600, -86_400);
    assert_eq!(decode().status.code(), Some(0), "not renewed for an hour, its clock a day ahead");
    assert_eq!(decode().status.code(), Some(0), "given back");
}
