//! The folder of an export. In: its path, and the plan. Out: files that get their names when they are whole; until the whole export is,
//! all else lies in a hidden folder in it, which one process at a time has. Never takes a folder in which something else lies.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use super::plan::{Manifest, Plan};

/// What a whole export says of itself.
const MANIFEST: &str = "tuwen-export.json";

/// What is not whole yet.
const WORK: &str = ".tuwen-export";

/// In [`WORK`]: what the export was begun as.
const PLAN: &str = "plan.json";

/// In [`WORK`]: locked by the process that is at work.
const LOCK: &str = "lock";

/// What is at the place of an export.
pub(crate) enum Found {
    /// Nothing, or an empty folder.
    Nothing,
    /// An export that was not brought to its end.
    Begun(Plan),
    /// A whole one.
    Whole(Manifest),
}

/// Looks at what `root` is.
///
/// # Errors
/// Something else lies there; it cannot be read.
pub(crate) fn look(root: &Path) -> Result<Found> {
    let shown = root.display();
    if !root.exists() {
        return Ok(Found::Nothing);
    }
    if root.join(MANIFEST).exists() {
        return Ok(Found::Whole(read_json(&root.join(MANIFEST))?));
    }
    let plan = root.join(WORK).join(PLAN);
    if plan.exists() {
        return Ok(Found::Begun(read_json(&plan)?));
    }
    let entries = fs::read_dir(root).with_context(|| format!("-o {shown}"))?;
    for entry in entries {
        let name = entry.with_context(|| format!("-o {shown}"))?.file_name();
        if name != WORK {
            bail!(
                "-o {shown}: expected an export or an empty folder, found {} in it\n\
                 hint: a folder that is not there yet is made",
                name.display()
            );
        }
    }
    Ok(Found::Nothing)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{}: expected what an export says of itself", path.display()))
}

/// The folder while an export is written.
pub(crate) struct Folder {
    root: PathBuf,
    work: PathBuf,
    /// Locked as long as this process lives, however it ends.
    _lock: File,
}

impl Folder {
    /// Takes the folder for `plan`; what a killed process left half written goes.
    ///
    /// # Errors
    /// Another process is at work; the folder cannot be written to.
    pub(crate) fn begin(root: &Path, plan: &Plan) -> Result<Self> {
        let work = root.join(WORK);
        let context = || format!("-o {}: cannot write there", root.display());
        fs::create_dir_all(&work).with_context(context)?;
        let lock = File::create(work.join(LOCK)).with_context(context)?;
        if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            bail!("-o {}: another process is writing this export", root.display());
        }
        let folder = Self { root: root.to_owned(), work, _lock: lock };
        folder.clear()?;
        let text = serde_json::to_string_pretty(plan)?;
        folder.put(&text, &format!("{WORK}/{PLAN}"))?;
        Ok(folder)
    }

    /// Removes what is half written: a full disk has room again.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(crate) fn clear(&self) -> Result<()> {
        let context = || self.work.display().to_string();
        for entry in fs::read_dir(&self.work).with_context(context)? {
            let path = entry.with_context(context)?.path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some(LOCK | PLAN) => {}
                _ if path.is_dir() => fs::remove_dir_all(&path).with_context(context)?,
                _ => fs::remove_file(&path).with_context(context)?,
            }
        }
        Ok(())
    }

    /// The path of a file or folder called `name` that is not whole yet.
    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// Where the file called `name` is when it is whole.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Gives the file at `whole`, one of [`Self::work`], its name.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(crate) fn keep(&self, whole: &Path, name: &str) -> Result<()> {
        let path = self.path(name);
        let context = || path.display().to_string();
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(context)?;
        }
        // What has a name is on the disk, also after a power cut.
        if whole.is_file() {
            File::open(whole).and_then(|file| file.sync_all()).with_context(context)?;
        }
        fs::rename(whole, &path).with_context(context)
    }

    /// Makes a file called `name` with `text` in it.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub(crate) fn put(&self, text: &str, name: &str) -> Result<()> {
        let whole = self.work("text");
        fs::write(&whole, text).with_context(|| self.path(name).display().to_string())?;
        self.keep(&whole, name)
    }

    /// Leaves the folder as it was before: there is nothing to export.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub(crate) fn abandon(&self) -> Result<()> {
        fs::remove_dir_all(&self.work).with_context(|| self.work.display().to_string())?;
        // One in which something lies stays.
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }

    /// Ends an export that is whole: it says what it is, and only what is whole is left.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub(crate) fn finish(self, manifest: &Manifest) -> Result<()> {
        let mut text = serde_json::to_string_pretty(manifest)?;
        text.push('\n');
        self.put(&text, MANIFEST)?;
        fs::remove_dir_all(&self.work).with_context(|| self.work.display().to_string())
    }
}
