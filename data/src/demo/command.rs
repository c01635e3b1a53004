//! Calls of the command `tuwen`. In: arguments. Out: its output, passed through or read. Never goes on after a failure.

use std::env::consts::EXE_SUFFIX;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The command.
pub(super) struct Tuwen(PathBuf);

impl Tuwen {
    /// The command at `path`, else the one beside this program.
    pub(super) fn find(path: Option<&Path>) -> Result<Tuwen> {
        let path = match path {
            Some(path) => path.to_path_buf(),
            None => {
                let this = std::env::current_exe().context("where this program is")?;
                this.with_file_name(format!("tuwen{EXE_SUFFIX}"))
            }
        };
        ensure!(
            path.exists(),
            "{}: expected the command tuwen\nhint: `make build`",
            path.display()
        );
        Ok(Tuwen(path))
    }

    /// Prints the command line, then runs it with its output passed through.
    pub(super) fn show(&self, arguments: &[&[&str]]) -> Result<()> {
        let arguments = arguments.concat();
        say(&format!("$ {}", line(&arguments)))?;
        let status = Command::new(&self.0).args(&arguments).status();
        let status = status.with_context(|| format!("running {}", self.0.display()))?;
        ensure!(status.success(), "tuwen {}: {status}", arguments[0]);
        say("")
    }

    /// Prints the command line, runs it, and gives the JSON object on the last line of its stdout.
    pub(super) fn last_json(&self, arguments: &[&[&str]]) -> Result<Value> {
        let arguments = arguments.concat();
        say(&format!("$ {}", line(&arguments)))?;
        let output = self.output(&arguments)?;
        let last = output.lines().last().unwrap_or_default();
        say("")?;
        serde_json::from_str(last)
            .with_context(|| format!("tuwen {}: expected JSON, found `{last}`", arguments[0]))
    }

    /// Runs the command in silence and gives its stdout; what it says on stderr is passed through.
    pub(super) fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.0).args(arguments).stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("running {}", self.0.display()))?;
        if !output.status.success() {
            bail!("tuwen {}: {}", arguments[0], output.status);
        }
        String::from_utf8(output.stdout).with_context(|| format!("tuwen {}: stdout", arguments[0]))
    }
}

/// The arguments as a person would type them.
fn line(arguments: &[&str]) -> String {
    let quoted = |argument: &&str| match argument.contains([' ', '*', '\'', '(']) {
        true => format!("\"{argument}\""),
        false => (*argument).to_owned(),
    };
    let words: Vec<String> = ["tuwen"].iter().chain(arguments).map(quoted).collect();
    words.join(" ")
}

/// One line for the person in front of it; before what the next command prints.
pub(super) fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("writing to stdout")
}
