//! The versions that checkpoints of the trainer read. In: folders. Out: tables with versions, which
//! must stay readable as long as a run may go on from there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What the trainer writes into each checkpoint (`trainer/src/checkpoint.rs`, `RunState`).
pub const STATE_FILE: &str = "trainer_state.json";

/// How the folders of checkpoints begin.
pub const CHECKPOINT_PREFIX: &str = "checkpoint-";

/// A version of a table that somebody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The table.
    pub table: String,
    /// Its version.
    pub version: u64,
    /// The folder that says so.
    pub by: PathBuf,
}

/// What `folder` reads: a checkpoint, or a folder with checkpoints.
///
/// # Errors
/// Neither; or its state does not say which versions it reads.
pub fn pins_of(folder: &Path) -> Result<Vec<Pin>> {
    let mut checkpoints = Vec::new();
    if folder.join(STATE_FILE).is_file() {
        checkpoints.push(folder.to_owned());
    } else {
        let entries =
            std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
            let is_checkpoint = entry.file_name().to_string_lossy().starts_with(CHECKPOINT_PREFIX);
            if is_checkpoint && entry.path().join(STATE_FILE).is_file() {
                checkpoints.push(entry.path());
            }
        }
        checkpoints.sort();
    }
    if checkpoints.is_empty() {
        bail!(
            "{}: expected a checkpoint of the trainer, or a folder with some, found no {STATE_FILE}\n\
             hint: --pinned-by takes the folder that `tuwen train --out` names, or one checkpoint in it",
            folder.display()
        );
    }
    let pins: Result<Vec<Vec<Pin>>> = checkpoints.iter().map(|folder| pins_in(folder)).collect();
    Ok(pins?.concat())
}

fn pins_in(checkpoint: &Path) -> Result<Vec<Pin>> {
    let path = checkpoint.join(STATE_FILE);
    let reading = || format!("reading {}", path.display());
    let text = std::fs::read_to_string(&path).with_context(reading)?;
    let state: Value = serde_json::from_str(&text).with_context(reading)?;
    let versions = &state["stream"]["versions"];
    let pin = |table: &str| -> Result<Pin> {
        let version = versions[table].as_u64().with_context(|| {
            format!(
                "{}: expected stream.versions.{table}, a version of table `{table}`, found {}",
                path.display(),
                versions[table]
            )
        })?;
        Ok(Pin { table: table.to_owned(), version, by: checkpoint.to_owned() })
    };
    let mut pins = vec![pin("examples")?, pin("images")?];
    // Read only where the run's predicate speaks of it.
    if !versions["scores"].is_null() {
        pins.push(pin("scores")?);
    }
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_say_which_versions_they_read() {
        let out = tempfile::TempDir::new().unwrap();
        let error = pins_of(out.path()).unwrap_err().to_string();
        assert!(error.contains("found no trainer_state.json"), "{error}");
        for (step, images) in [(10, 3), (20, 5)] {
            let folder = out.path().join(format!("checkpoint-{step}"));
            std::fs::create_dir(&folder).unwrap();
            let state = serde_json::json!({
                "step": step, "stream": { "versions": { "examples": 7, "images": images }, "seed": 1 }
            });
            std::fs::write(folder.join(STATE_FILE), state.to_string()).unwrap();
        }
        let versions = |folder: &Path| -> Vec<(String, u64)> {
            let pins = pins_of(folder).unwrap();
            pins.into_iter().map(|pin| (pin.table, pin.version)).collect()
        };
        let (examples, images) = ("examples".to_owned(), "images".to_owned());
        assert_eq!(
            versions(out.path()),
            [
                (examples.clone(), 7),
                (images.clone(), 3),
                (examples.clone(), 7),
                (images.clone(), 5)
            ]
        );
        let last = out.path().join("checkpoint-20");
        assert_eq!(versions(&last), [(examples.clone(), 7), (images.clone(), 5)]);
        let scored = r#"{"stream":{"versions":{"examples":7,"images":5,"scores":2}}}"#;
        std::fs::write(last.join(STATE_FILE), scored).unwrap();
        assert_eq!(versions(&last), [(examples, 7), (images, 5), ("scores".to_owned(), 2)]);
        std::fs::write(last.join(STATE_FILE), "{}").unwrap();
        let error = pins_of(&last).unwrap_err().to_string();
        assert!(error.contains("expected stream.versions.examples"), "{error}");
    }
}
