//! What README and the books tell people to type works: each page's `sh` and `sql` blocks are run in its order in a folder that holds
//! the sample crawl, and the examples of help texts are taken by the parser.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::{stdout, tuwen};
use crate::house::{files, root};

/// Commands that need libtorch, or measure for a while; the trainer's tests parse theirs.
const ONLY_PARSED: [&str; 4] = ["train", "evaluate", "caption", "bench"];

fn pages() -> Vec<PathBuf> {
    let books = files(&root().join("docs")).into_iter();
    let mut pages: Vec<PathBuf> =
        books.filter(|file| file.extension().is_some_and(|end| end == "md")).collect();
    pages.extend(["README.md", "README.zh-CN.md"].map(|name| root().join(name)));
    pages
}

/// Blocks of `language` in a page, with their lines.
fn blocks(text: &str, languages: &[&str]) -> Vec<(String, String)> {
    let fenced = text.split("\n```").skip(1).step_by(2);
    fenced
        .filter_map(|block| {
            let (language, body) = block.split_once('\n')?;
            languages.contains(&language).then(|| (language.to_owned(), body.to_owned()))
        })
        .collect()
}

/// Commands of a block: lines, joined where they end in a backslash.
fn commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    joined
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("tuwen "))
        .map(str::to_owned)
        .collect()
}

fn sample_folder() -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().unwrap();
    let sample = root().join("data/sample");
    for name in ["train.csv", "test.csv", "tokenizer.json", "images"] {
        symlink(sample.join(name), folder.path().join(name)).unwrap();
    }
    symlink(root().join("sql"), folder.path().join("sql")).unwrap();
    folder
}

/// Runs a line as a shell would, with the command that was built on the path.
fn run_line(folder: &Path, line: &str) {
    let bin = Path::new(env!("CARGO_BIN_EXE_tuwen")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output =
        Command::new("bash").args(["-c", line]).env("PATH", path).current_dir(folder).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{said}{}", stdout(&output));
}

#[test]
fn commands_and_queries_of_the_docs_work() {
    let mut n_run = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = blocks(&text, &["sh", "sql"]);
        let folder = sample_folder();
        let has_sql = blocks.iter().any(|(language, _)| language == "sql");
        if has_sql || text.contains("tuwen sql") {
            let run = "tuwen run train.csv test.csv --image-dir images --tokenizer tokenizer.json";
            run_line(folder.path(), run);
        }
        for (language, block) in blocks {
            let lines = match language.as_str() {
                "sql" => vec![format!("tuwen sql '{}'", block.trim().replace('\'', "'\\''"))],
                _ => commands(&block),
            };
            for line in lines {
                let command = line.split_whitespace().nth(1).unwrap();
                if !ONLY_PARSED.contains(&command) {
                    run_line(folder.path(), &line);
                    n_run += 1;
                }
            }
        }
    }
    assert!(n_run > 10, "{n_run} commands were run");
}

#[test]
fn make_has_the_targets_that_the_docs_name() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    for page in pages().into_iter().chain([root().join("CONTRIBUTING.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            if let Some(target) =
                quoted.strip_prefix("make ").and_then(|rest| rest.split(' ').next())
            {
                let is_there = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
                assert!(is_there, "{}: make {target}", page.display());
            }
        }
    }
}

/// The `Examples:` of every command, with an option that is wrong: the parser complains of that one alone, and nothing is run.
#[test]
fn examples_of_help_texts_are_commands() {
    let folder = tempfile::TempDir::new().unwrap();
    let overview = stdout(&tuwen(folder.path(), &["--help"]));
    let list = overview.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let names = list.lines().filter(is_name).filter_map(|line| line.split_whitespace().next());
    let mut n_examples = 0;
    for name in names.filter(|name| *name != "help" && !ONLY_PARSED[..3].contains(name)) {
        let help = stdout(&tuwen(folder.path(), &[name, "--help"]));
        let texts = [&help, &overview];
        let examples = texts.iter().flat_map(|text| text.split("Examples:\n").nth(1));
        let examples = examples.flat_map(str::lines);
        for line in examples.filter_map(|line| line.find("tuwen ").map(|at| &line[at..])) {
            if ONLY_PARSED[..3].contains(&line.split_whitespace().nth(1).unwrap()) {
                continue;
            }
            let bin = Path::new(env!("CARGO_BIN_EXE_tuwen")).parent().unwrap();
            let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
            // Without what comes after it: a pipe, a comment.
            let line = line.split(" | ").next().unwrap().split(" #").next().unwrap();
            let line = format!("{line} --no-such-option");
            let mut shell = Command::new("bash");
            let output = shell.args(["-c", &line]).env("PATH", path).current_dir(folder.path());
            let said = String::from_utf8_lossy(&output.output().unwrap().stderr).into_owned();
            assert!(said.contains("unexpected argument '--no-such-option'"), "{line}\n{said}");
            n_examples += 1;
        }
    }
    assert!(n_examples > 20, "{n_examples} examples were parsed");
}
