//! `tuwen report`: its figures are those of the tables, and what captions and URLs say stays text.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::cli::{RUN, stdout, tuwen};

/// The sample crawl with rows that would break out of a page.
fn corpus() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sample");
    for name in ["train.csv", "test.csv", "tokenizer.json"] {
        fs::copy(sample.join(name), folder.path().join(name)).unwrap();
    }
    let hostile = "text,url,filename\n\
        \"<script>alert(1)</script>\",\"javascript:alert(1)\",\"<svg onload=alert(1)>.jpg\"\n\
        \"\"\"'><img src=x onerror=alert(1)>|[a](b)`\",,train-0.jpg\n";
    fs::write(folder.path().join("hostile.csv"), hostile).unwrap();
    let images = sample.join("images").display().to_string();
    for sources in [&["train.csv", "test.csv"][..], &["train.csv", "test.csv", "hostile.csv"]] {
        let more = ["--tokenizer", "tokenizer.json", "--image-dir", &images];
        let set = ["--set", "curate.group_near=true"];
        let run = tuwen(folder.path(), &[&["run"], sources, &more, &set].concat());
        assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    }
    folder
}

fn count(folder: &Path, query: &str) -> u64 {
    let output = tuwen(folder, &["sql", query, "--format", "csv"]);
    stdout(&output).lines().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_page_and_a_card_tell_what_the_tables_hold_and_no_caption_becomes_markup() {
    let folder = corpus();
    let at = folder.path();
    let made = tuwen(at, &["report", "-o", "report.html"]);
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    let page = fs::read_to_string(at.join("report.html")).unwrap();

    // Nothing is loaded or run, and what was crawled stays text.
    assert!(page.contains("default-src 'none'"));
    for mark in
        ["<script", "<img src=\"x", "<img src=x", "<svg onload", "href=\"javascript", "src=\"http"]
    {
        assert!(!page.contains(mark), "{mark}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));

    // The figures, counted by other queries.
    let pairs = count(at, "select count(*) from pairs");
    let in_a_split = count(at, "select count(*) from examples where split is not null");
    let bar =
        |name: &str, n: u64| format!("<th scope=\"row\">{name}</th><td class=\"number\">{n}</td>");
    for (name, n) in [("read from the sources", pairs), ("in a split", in_a_split)] {
        assert!(page.contains(&bar(name, n)), "{name}: {n}");
    }
    let reasons = count(at, "select count(distinct reject_reason) from examples");
    let refused = &page[page.find("<h2>Pairs that were refused").unwrap()..];
    let refused = &refused[..refused.find("</section>").unwrap()];
    assert_eq!(refused.matches("<h3>").count() as u64, reasons);
    // Every pair of a split has a picture to show.
    let kept = &page[page.find("<h2>Pairs that were kept").unwrap()..];
    let kept = &kept[..kept.find("</section>").unwrap()];
    assert_eq!(kept.matches("<figure>").count(), kept.matches("src=\"data:image/jpeg").count());
    assert!(kept.matches("<figure>").count() > 8);
    // Which gates there are, what they allow, and what they found.
    let all = count(at, "select count(*) from examples");
    let refused = count(at, "select count(reject_reason) from examples");
    let found = format!("{:.1} % of {all} pairs", 100.0 * refused as f64 / all as f64);
    let cells = ["curate", "max_rejected_percent", "at most 50 %", &found, "green"];
    assert!(page.contains(&format!("<td>{}</td>", cells.join("</td><td>"))), "{found}");
    // The second run brought two rows.
    assert!(page.contains("What the last change of examples brought"));

    let card = tuwen(at, &["report", "--markdown"]);
    let card = stdout(&card);
    assert!(card.starts_with("---\ntask_categories:\n- image-to-text\n"), "{card}");
    assert!(card.contains(&format!("| in a split | {in_a_split} |")), "{card}");
    let row = format!("| curate | curate.min\\_examples | at least 0 | {in_a_split} examples in");
    assert!(card.contains("## Gates") && card.contains(&row), "{card}");
    assert!(!card.contains("<script") && !card.contains("<img"), "{card}");

    let bare = stdout(&tuwen(at, &["report", "--pictures", "0"]));
    assert!(!bare.contains("data:image") && bare.contains("Lengths of captions"));
}

#[test]
fn a_corpus_without_pictures_has_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("train.csv"), "text,filename\n红圆,a.jpg\n").unwrap();
    // There is no such picture: nothing is decoded, nothing curated.
    let fetched = tuwen(at, &["fetch", "train.csv", "--image-dir", ".", "--force"]);
    assert_eq!(fetched.status.code(), Some(0), "{}", String::from_utf8_lossy(&fetched.stderr));
    let page = tuwen(at, &["report"]);
    assert_eq!(page.status.code(), Some(0), "{}", String::from_utf8_lossy(&page.stderr));
    assert!(stdout(&page).contains("<h1>Corpus "));
}

#[test]
fn the_gate_of_own_audits_says_what_the_last_run_found() {
    let folder = crate::cli::folder();
    let at = folder.path();
    fs::create_dir(at.join("audits")).unwrap();
    let set = ["--set", "curate.audits=audits"];
    for (split, code, found, state) in [
        ("test", 3, "audits/短.sql returned rows in the run of 2", "red"),
        ("none", 0, "no own audit refused the run of 2", "green"),
    ] {
        let audit = format!("select text from examples where split = '{split}'");
        fs::write(at.join("audits/短.sql"), audit).unwrap();
        let run = tuwen(at, &[&RUN[..], &set].concat());
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(code), "{said}");
        let page = stdout(&tuwen(at, &[&["report"][..], &set].concat()));
        let row = format!("<td>curate.audits</td><td>no rows from audits</td><td>{found}");
        let row = &page[page.find(&row).unwrap_or_else(|| panic!("{page}"))..];
        let row = &row[..row.find("</tr>").unwrap()];
        assert!(row.ends_with(&format!("<td>{state}</td>")), "{row}");
    }
    // Where none are set there is no such gate.
    assert!(!stdout(&tuwen(at, &["report"])).contains("curate.audits"));
}
