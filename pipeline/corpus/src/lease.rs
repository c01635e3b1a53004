//! The lease: who is at work on a corpus. In: a corpus and a scope. Out: the lease, or who holds it. It is courtesy, so that a
//! second run does not waste a night; what keeps tables whole is the commit, lease or not.
//!
//! A lease is a file `_lease/SCOPE/N.json`; the one with the highest number counts. Its holder writes it anew every few seconds.
//! Whoever takes over makes the file with the next number, and only if it is not there, which local file systems, NFS and object
//! stores can do so that one of several wins (a hard link; a conditional put). So nothing is ever locked that a dead
//! process could leave locked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::corpus::Corpus;

/// How often a holder says that it lives.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// A lease not renewed for so long is a dead holder's: three renewals lost, and half a minute between two clocks.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// How often one that waits looks again.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Folder of the leases in a corpus; Delta readers look into folders of tables only.
const FOLDER: &str = "_lease";

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine's name.
    pub host: String,
    /// The process there.
    pub pid: u32,
    /// When that process began, in the kernel's ticks since boot, so that another with the same number is not taken for it.
    pub process_start: u64,
    /// The stage or command.
    pub stage: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When it last said that it lives.
    pub renewed: DateTime<Utc>,
    /// Whether it has given the lease back.
    pub released: bool,
}

impl Holder {
    fn this(stage: &str) -> Self {
        let pid = std::process::id();
        let now = Utc::now();
        Self {
            host: host(),
            pid,
            process_start: process_start(pid).unwrap_or(0),
            stage: stage.to_owned(),
            since: now,
            renewed: now,
            released: false,
        }
    }

    /// Whether the lease still counts: not given back, and its holder not known to be dead.
    fn is_alive(&self) -> bool {
        if self.released {
            return false;
        }
        if self.host == host() {
            return process_start(self.pid) == Some(self.process_start);
        }
        (Utc::now() - self.renewed).to_std().is_ok_and(|age| age < DEAD_AFTER)
            || self.renewed > Utc::now()
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { stage, pid, host, since, .. } = self;
        let since = since.format("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "`tuwen {stage}`, process {pid} on {host}, since {since}")
    }
}

/// What asking for a lease comes to.
pub enum Asked {
    /// It is ours until it is dropped or given back.
    Granted(Lease),
    /// Somebody else has it.
    Held(Holder),
}

/// A lease that this process holds.
pub struct Lease {
    store: Arc<dyn ObjectStore>,
    path: Path,
    holder: Holder,
    /// The stage that it is in.
    stage: watch::Sender<String>,
    renewing: JoinHandle<()>,
}

impl Lease {
    /// Asks for the lease of `corpus` for `scope`; runs of different scopes do not mind each other. If somebody
    /// has it, looks again until `wait` is over.
    ///
    /// # Errors
    /// The folder of the leases cannot be read or written.
    pub async fn ask(corpus: &Corpus, scope: &str, stage: &str, wait: Duration) -> Result<Asked> {
        let (store, root) = corpus.store().await?;
        let folder = root.join(FOLDER).join(scope);
        let begun = tokio::time::Instant::now();
        let mut asked = Holder::this(stage);
        let mut is_told = false;
        loop {
            let last = last(store.as_ref(), &folder).await?;
            let number = match last {
                // A store that was asked again, because its first answer was lost, said that our own file was there.
                Some((number, held)) if held == asked => {
                    return Ok(Self::granted(store, &folder, number, asked).await);
                }
                Some((_, held)) if held.is_alive() => {
                    let left = wait.saturating_sub(begun.elapsed());
                    if left.is_zero() {
                        return Ok(Asked::Held(held));
                    }
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::info!("waiting for the corpus, which is held by {held}");
                    }
                    tokio::time::sleep(LOOK_EVERY.min(left)).await;
                    continue;
                }
                Some((number, _)) => number + 1,
                None => 0,
            };
            asked = Holder::this(stage);
            if put(store.as_ref(), &path(&folder, number), &asked, PutMode::Create).await? {
                return Ok(Self::granted(store, &folder, number, asked).await);
            }
        }
    }

    async fn granted(
        store: Arc<dyn ObjectStore>,
        folder: &Path,
        number: u64,
        holder: Holder,
    ) -> Asked {
        remove_before(store.as_ref(), folder, number).await;
        let path = path(folder, number);
        let (stage, entered) = watch::channel(holder.stage.clone());
        let renewing = renew(Arc::clone(&store), path.clone(), holder.clone(), entered);
        let renewing = tokio::spawn(renewing);
        Asked::Granted(Self { store, path, holder, stage, renewing })
    }

    /// Says that its holder is in `stage` now.
    pub fn enter(&self, stage: &str) {
        self.stage.send_replace(stage.to_owned());
    }

    /// Gives the lease back.
    pub async fn release(self) {
        self.renewing.abort();
        let holder = Holder { released: true, ..self.holder.clone() };
        // One that cannot be given back ends by itself.
        let _ = put(self.store.as_ref(), &self.path, &holder, PutMode::Overwrite).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Says that the holder lives, until it is stopped.
async fn renew(
    store: Arc<dyn ObjectStore>,
    path: Path,
    mut holder: Holder,
    mut entered: watch::Receiver<String>,
) {
    loop {
        // The sender goes with the lease, and this task before it.
        let _ = tokio::time::timeout(RENEW_EVERY, entered.changed()).await;
        holder.stage.clone_from(&entered.borrow_and_update());
        holder.renewed = Utc::now();
        // One renewal may be lost.
        let _ = put(store.as_ref(), &path, &holder, PutMode::Overwrite).await;
    }
}

/// The lease that counts. A file that cannot be understood is that of a tuwen yet to come: its holder is taken for dead when
/// the file is old.
async fn last(store: &dyn ObjectStore, folder: &Path) -> Result<Option<(u64, Holder)>> {
    let files: Vec<_> = store.list(Some(folder)).try_collect().await.context("listing leases")?;
    let numbered = files.iter().filter_map(|file| {
        let number = file.location.filename()?.strip_suffix(".json")?.parse::<u64>().ok()?;
        Some((number, file))
    });
    let Some((number, file)) = numbered.max_by_key(|(number, _)| *number) else { return Ok(None) };
    let bytes = match store.get(&file.location).await {
        Ok(answer) => answer.bytes().await.context("reading a lease")?,
        // Somebody took over between the two requests; the caller finds the newer one.
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error).context("reading a lease"),
    };
    let holder = serde_json::from_slice(&bytes).unwrap_or_else(|_| Holder {
        host: "an unknown host".to_owned(),
        renewed: file.last_modified,
        since: file.last_modified,
        ..Holder::this("?")
    });
    Ok(Some((number, holder)))
}

/// Writes `holder`; whether it was written, which under [`PutMode::Create`] only one of several does.
async fn put(store: &dyn ObjectStore, path: &Path, holder: &Holder, mode: PutMode) -> Result<bool> {
    let payload = PutPayload::from(serde_json::to_vec(holder)?);
    let options = PutOptions { mode, ..PutOptions::default() };
    match store.put_opts(path, payload, options).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error).context("writing a lease"),
    }
}

fn path(folder: &Path, number: u64) -> Path {
    folder.clone().join(format!("{number:012}.json"))
}

async fn remove_before(store: &dyn ObjectStore, folder: &Path, number: u64) {
    for old in number.saturating_sub(3)..number {
        let _ = store.delete(&path(folder, old)).await;
    }
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // Containers share names; the boot id tells machines apart, and the namespace whose processes are ours to see.
    let processes = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let processes = processes.to_string_lossy();
    let processes = processes.trim_start_matches("pid:[").trim_end_matches(']');
    format!("{} ({}-{processes})", name.trim(), boot.get(..8).unwrap_or("?"))
}

/// When process `pid` of this machine began (field 22 of `/proc/PID/stat`, proc(5)); none if it is not there.
fn process_start(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}
