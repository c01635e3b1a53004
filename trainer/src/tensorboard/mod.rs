//! Event files as TensorBoard reads them. In: steps, named figures, pictures, texts. Out: a file
//! `events.out.tfevents.TIME.HOST.PID`, whole after each call. Never reads one: a resumed run adds a file of its own.

mod message;
mod record;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

pub use self::message::Value;

use self::message::Message;

/// Writes one event file.
pub struct EventWriter {
    file: File,
    path: PathBuf,
}

impl EventWriter {
    /// Makes a file in `folder`, and the folder. TensorBoard then drops what earlier files there hold of steps from `first` on: a
    /// run that resumes from a checkpoint repeats these steps.
    ///
    /// # Errors
    /// An I/O error, with the path.
    pub fn create(folder: &Path, first: u64) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let seconds = now().as_secs();
        let name = format!("events.out.tfevents.{seconds:010}.{}.{}", host(), std::process::id());
        let path = folder.join(name);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("creating {}", path.display()))?;
        let mut writer = Self { file, path };
        writer.event(0, |event| event.bytes(message::FILE_VERSION, b"brain.Event:2"))?;
        if first > 0 {
            writer.event(first, |event| {
                event.message(message::SESSION_LOG, |log| {
                    log.number(message::SESSION_STATUS, message::SESSION_START);
                });
            })?;
        }
        Ok(writer)
    }

    /// Writes the values of a step, each under its tag.
    ///
    /// # Errors
    /// An I/O error, with the path; a picture whose bytes are not `side * side * 3`.
    pub fn write(&mut self, step: u64, values: &[(String, Value)]) -> Result<()> {
        let summary = message::summary(values)?;
        self.event(step, |event| event.bytes(message::SUMMARY, &summary))
    }

    fn event(&mut self, step: u64, fill: impl FnOnce(&mut Message)) -> Result<()> {
        let mut event = Message::default();
        event.double(message::WALL_TIME, now().as_secs_f64());
        event.number(message::STEP, step);
        fill(&mut event);
        self.file
            .write_all(&record::framed(event.as_bytes()))
            .with_context(|| format!("writing {}", self.path.display()))
    }
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// This machine's name, as far as it can stand in a file's name.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
