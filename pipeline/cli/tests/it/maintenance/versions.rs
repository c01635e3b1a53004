//! migrate and history: a corpus of an older tuwen, and what ran on one.

use serde_json::{Value, json};

use super::Small;
use crate::cli::{RUN, folder, stdout, tuwen};

/// Takes columns away from the first commit of `runs`, as a tuwen has written it that did not know them.
fn make_older(log: &std::path::Path, gone: &[&str]) {
    let text = std::fs::read_to_string(log).unwrap();
    let lines = text.lines().map(|line| {
        let mut action: Value = serde_json::from_str(line).unwrap();
        let Some(metadata) = action.get_mut("metaData") else { return line.to_owned() };
        let mut schema: Value =
            serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
        let fields = schema["fields"].as_array_mut().unwrap();
        fields.retain(|field| !gone.contains(&field["name"].as_str().unwrap()));
        metadata["schemaString"] = json!(schema.to_string());
        metadata["configuration"]["tuwen.schema_version"] = json!("2");
        let configuration = metadata["configuration"].as_object_mut().unwrap();
        configuration.remove("delta.checkpointInterval");
        configuration.remove("delta.enableExpiredLogCleanup");
        action.to_string()
    });
    let lines: Vec<String> = lines.collect();
    std::fs::write(log, lines.join("\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_corpus_is_brought_up_to_date_once() {
    let small = Small::new(3).await;
    let corpus = small.folder().join("corpus");
    std::fs::remove_dir_all(&corpus).unwrap();
    small.crawl.corpus().await;
    for table in ["captions", "scores"] {
        std::fs::remove_dir_all(corpus.join(table)).unwrap();
    }
    let log = corpus.join("runs/_delta_log/00000000000000000000.json");
    make_older(&log, &["outcome", "error", "commits"]);
    let args = ["run", "crawl.csv", "--image-dir", "pictures", "--tokenizer", "tokenizer.json"];
    small.fine(&[&args[..], &["--set", "max_rejected_percent=100"]].concat());
    for table in ["captions", "scores"] {
        std::fs::remove_dir_all(corpus.join(table)).unwrap_or(());
    }
    let notes = small.fine(&["verify"])["notes"].to_string();
    assert!(notes.contains("schema version 2, the newest is 3"), "{notes}");
    let history = small.fine(&["history"]);
    assert!(history.as_array().unwrap().iter().all(|run| run["outcome"] == "ok"), "{history}");

    let versions = small.versions_there().await;
    let planned = small.fine(&["migrate", "--dry-run"]);
    assert_eq!(small.versions_there().await, versions);
    let migrations = planned["migrations"].as_array().unwrap();
    let of = |table: &str| migrations.iter().find(|m| m["table"] == table).unwrap().clone();
    for table in ["captions", "scores"] {
        assert_eq!(of(table)["from"], json!(null));
    }
    assert_eq!(of("runs")["columns"], json!(["outcome", "error", "commits"]));
    assert_eq!(
        of("runs")["properties"],
        json!([
            ["tuwen.schema_version", "3"],
            ["delta.checkpointInterval", "20"],
            ["delta.enableExpiredLogCleanup", "false"],
        ])
    );
    let done = tuwen(small.folder(), &["migrate"]);
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        stderr.contains("runs: schema version 2 to 3, add columns outcome, error, commits"),
        "{stderr}"
    );
    assert!(stderr.contains("captions: make it"), "{stderr}");
    assert!(stderr.contains("scores: make it"), "{stderr}");
    assert_eq!(stdout(&done), "3 tables migrated\n");
    assert_eq!(small.fine(&["migrate"])["migrations"], json!([]), "once");

    let snapshot = small.crawl.corpus().await.snapshot().await.unwrap();
    assert_eq!(
        snapshot.version("runs").unwrap(),
        versions["runs"] + 2,
        "one commit, and the row of the run"
    );
    let schema = snapshot.delta("runs").snapshot().unwrap().schema();
    let comment = &schema.field("commits").unwrap().metadata()["comment"];
    assert!(comment.to_string().contains("commits made"), "{comment}");
    let old = small
        .crawl
        .query("select distinct outcome, commits from runs where stage <> 'migrate'")
        .await;
    assert_eq!(old, [["null", "null"]]);
    small.commit("images", None, |rows| rows).await;
    small.fine(&["repair"]);
    let new =
        small.crawl.query("select outcome, commits > 0 from runs where stage = 'repair'").await;
    assert_eq!(new, [["ok", "true"]]);
    assert!(small.findings(&[]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_folder_is_gone_is_found_and_made_anew() {
    let small = Small::new(3).await;
    let before = small.tables().await;
    std::fs::remove_dir_all(small.folder().join("corpus/images")).unwrap();
    assert_eq!(small.findings(&[]), ["missing_table images 1"]);
    let refused = tuwen(small.folder(), &["repair"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("tuwen migrate --make"), "{said}");
    assert_eq!(tuwen(small.folder(), &["migrate"]).status.code(), Some(1));
    assert_eq!(small.fine(&["migrate", "--make-missing"])["migrations"][0]["table"], "images");
    small.run().await;
    assert!(small.findings(&["--full"]).is_empty());
    assert_eq!(small.tables().await[2..], before[2..]);
}

impl Small {
    /// Versions of the tables that are there, making none.
    async fn versions_there(&self) -> tuwen_corpus::TableVersions {
        let corpus = tuwen_corpus::Corpus::open(&self.crawl.settings.corpus).await.unwrap();
        corpus.snapshot().await.unwrap().versions()
    }
}

#[test]
fn runs_are_listed_the_newest_first() {
    let folder = folder();
    let at = folder.path();
    assert_eq!(tuwen(at, &RUN).status.code(), Some(0));
    let red = [
        "curate",
        "--tokenizer",
        "tokenizer.json",
        "--set",
        "curate.min_examples=1000",
        "--set",
        "curate.min_chars=1",
    ];
    assert_eq!(tuwen(at, &red).status.code(), Some(3));
    let text = stdout(&tuwen(at, &["history"]));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("run           stage    started (UTC)"), "{text}");
    let stages: Vec<&str> =
        lines[1..].iter().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!((stages[0], *stages.last().unwrap()), ("curate", "ingest"), "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 120), "{text}");

    let json: Value =
        serde_json::from_str(&stdout(&tuwen(at, &["history", "--failed", "--json"]))).unwrap();
    let failed = json.as_array().unwrap();
    assert_eq!((failed.len(), failed[0]["outcome"].clone()), (1, json!("gate")));
    assert!(failed[0]["error"].as_str().unwrap().contains("min_examples"), "{json}");
    let one: Value =
        serde_json::from_str(&stdout(&tuwen(at, &["history", "-n", "1", "--json"]))).unwrap();
    assert_eq!(one.as_array().unwrap().len(), 1);
}
