//! What README, the books and help texts tell people to type is taken by the parser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TRAINER: &str = env!("CARGO_BIN_EXE_tuwen-trainer");

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| match path.is_dir() {
        true => markdown(&path),
        false => vec![path],
    });
    found.filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

fn help(command: &str) -> String {
    let output = Command::new(TRAINER).args([command, "--help"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Each with an option that is wrong: the parser complains of that one alone, and nothing is run.
#[test]
fn commands_of_the_docs_are_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut pages = markdown(&root.join("docs"));
    pages.extend(["README.md", "README.zh-CN.md"].map(|name| root.join(name)));
    let mut texts: Vec<String> =
        pages.iter().map(|page| fs::read_to_string(page).unwrap()).collect();
    texts.extend(["train", "evaluate", "caption", "score", "bench"].map(help));
    let commands = [
        "tuwen train ",
        "tuwen evaluate ",
        "tuwen caption ",
        "tuwen score ",
        "tuwen-trainer bench ",
    ];
    let mut n_commands = 0;
    for line in texts.iter().flat_map(|text| text.lines().map(str::trim)) {
        if !commands.iter().any(|command| line.starts_with(command)) || line.contains('[') {
            continue;
        }
        let line = line.split(" #").next().unwrap().trim();
        let script = format!(
            "tuwen() {{ \"$TRAINER\" \"$@\"; }}; tuwen-trainer() {{ tuwen \"$@\"; }}; {line} --no-such-option"
        );
        let mut shell = Command::new("bash");
        let output = shell.args(["-c", &script]).env("TRAINER", TRAINER).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("unexpected argument '--no-such-option'"), "{line}\n{said}");
        n_commands += 1;
    }
    assert!(n_commands > 10, "{n_commands} commands were parsed");
}
