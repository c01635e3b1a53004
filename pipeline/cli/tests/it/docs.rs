//! What README and the books tell people to type works: each page's `sh` and `sql` blocks are run in its order in a folder that holds
//! the sample crawl, and the examples of help texts are taken by the parser.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::cli::{stdout, tuwen};
use crate::house::{files, root};
use crate::python::python_with;

/// Commands that need libtorch, measure for a while, or do not end; the trainer's tests parse theirs.
const ONLY_PARSED: [&str; 6] = ["train", "evaluate", "caption", "score", "bench", "serve"];

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

/// Runs a line in a shell, with the command that was built on the path.
fn shell(folder: &Path, line: &str) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_tuwen")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-o", "pipefail", "-c", line]).env("PATH", path).current_dir(folder);
    bash.output().unwrap()
}

/// Runs a line, which must end well.
fn run_line(folder: &Path, line: &str) {
    let output = shell(folder, line);
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

/// The examples for cron, systemd, Airflow and Kubernetes are read as these do; their commands by our own parser.
#[test]
fn the_examples_for_schedulers_are_whole() {
    let Some(python) = python_with("yaml") else { return };
    let folder = tempfile::TempDir::new().unwrap();
    for book in ["docs/en", "docs/zh"] {
        let page = root().join(book).join("src/scheduling.md");
        let script = root().join("pipeline/cli/tests/it/schedulers.py");
        let output = Command::new(&python).arg(script).arg(&page).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = stdout(&output);
        assert_eq!(text.lines().count(), 10, "{text}");
        for line in text.lines() {
            let said = shell(folder.path(), &format!("{line} --no-such-option")).stderr;
            let said = String::from_utf8(said).unwrap();
            assert!(said.contains("unexpected argument '--no-such-option'"), "{line}\n{said}");
        }
    }
}

#[test]
fn the_books_describe_every_function() {
    for book in ["docs/en", "docs/zh"] {
        let page = root().join(book).join("src/querying.md");
        let text = fs::read_to_string(&page).unwrap();
        for function in tuwen_etl::sql::FUNCTIONS {
            let row = format!("| `{}` |", function.call);
            assert!(text.contains(&row), "{}: no row that begins with {row}", page.display());
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
    let mut commands: Vec<Vec<&str>> =
        names.filter(|name| *name != "help").map(|n| vec![n]).collect();
    commands.retain(|name| !ONLY_PARSED[..4].contains(&name[0]));
    commands.extend([vec!["bench", "storage"], vec!["bench", "stream"], vec![]]);
    let mut n_examples = 0;
    for command in commands {
        let help = stdout(&tuwen(folder.path(), &[&command[..], &["--help"]].concat()));
        let examples = help.split("Examples:\n").nth(1).unwrap_or_default();
        for line in examples.lines().filter(|line| line.contains("tuwen ")) {
            // Without what comes after it: a pipe, a comment.
            let line = line.split(" | ").next().unwrap().split(" #").next().unwrap();
            for line in line.split(" && ").filter_map(|line| Some(&line[line.find("tuwen ")?..])) {
                if ONLY_PARSED[..4].contains(&line.split_whitespace().nth(1).unwrap()) {
                    continue;
                }
                let line = format!("{line} --no-such-option");
                let said = String::from_utf8(shell(folder.path(), &line).stderr).unwrap();
                let expected = "unexpected argument '--no-such-option'";
                assert!(said.contains(expected), "{line}\n{said}");
                n_examples += 1;
            }
        }
    }
    assert!(n_examples > 30, "{n_examples} examples were parsed");
}
