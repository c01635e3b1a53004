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
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::corpus::Corpus;
use crate::step::reach;

/// How often a holder says that it lives.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// A lease not renewed for so long is a dead holder's: five renewals lost. No clock of another machine has a say in it.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// How long giving one back may take.
const RELEASED_WITHIN: Duration = Duration::from_secs(20);

/// How often one that waits looks again.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long after a lease went while it was looked at.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

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
    /// When it last said that it lives, by its own clock.
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
    /// The stage that it is in.
    stage: watch::Sender<String>,
    /// Whether it is to be given back.
    is_over: CancellationToken,
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
        let begun = Instant::now();
        let mut asked = Holder::this(stage);
        let mut watched = None;
        let mut is_told = false;
        loop {
            let number = match last(store.as_ref(), &folder).await? {
                None => 0,
                Some(last) => {
                    // Also where a store that was asked again, because its first answer was lost, said that our own file was there.
                    if last.holder == asked {
                        return Ok(Self::granted(store, &folder, last.number, asked).await);
                    }
                    if is_alive(store.as_ref(), &folder, &last, &mut watched).await? {
                        let left = wait.saturating_sub(begun.elapsed());
                        if left.is_zero() {
                            return Ok(Asked::Held(last.holder));
                        }
                        if !std::mem::replace(&mut is_told, true) {
                            tracing::info!(
                                "waiting for the corpus, which is held by {}",
                                last.holder
                            );
                        }
                        tokio::time::sleep(LOOK_EVERY.min(left)).await;
                        continue;
                    }
                    last.number + 1
                }
            };
            asked = Holder::this(stage);
            // It is ours if it is the last, which another may have overtaken meanwhile.
            put(store.as_ref(), &path(&folder, number), &asked, PutMode::Create).await?;
        }
    }

    async fn granted(
        store: Arc<dyn ObjectStore>,
        folder: &Path,
        number: u64,
        holder: Holder,
    ) -> Asked {
        remove_before(store.as_ref(), folder, number).await;
        let (stage, entered) = watch::channel(holder.stage.clone());
        let is_over = CancellationToken::new();
        let renewing = renew(store, path(folder, number), holder, entered, is_over.clone());
        Asked::Granted(Self { stage, is_over, renewing: tokio::spawn(renewing) })
    }

    /// Says that its holder is in `stage` now.
    pub fn enter(&self, stage: &str) {
        self.stage.send_replace(stage.to_owned());
    }

    /// Gives the lease back.
    pub async fn release(mut self) {
        self.is_over.cancel();
        // One that cannot be given back ends by itself.
        let _ = tokio::time::timeout(RELEASED_WITHIN, &mut self.renewing).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Says that the holder lives, and at last that the lease is given back: nothing is written after that.
async fn renew(
    store: Arc<dyn ObjectStore>,
    path: Path,
    mut holder: Holder,
    mut entered: watch::Receiver<String>,
    is_over: CancellationToken,
) {
    while !holder.released {
        tokio::select! {
            // The sender goes with the lease, and this task before it.
            _ = tokio::time::timeout(RENEW_EVERY, entered.changed()) => {}
            () = is_over.cancelled() => holder.released = true,
        }
        holder.stage.clone_from(&entered.borrow_and_update());
        holder.renewed = Utc::now();
        // One renewal may be lost.
        let _ = put(store.as_ref(), &path, &holder, PutMode::Overwrite).await;
    }
}

/// The lease that counts, as it was found.
#[derive(Clone, PartialEq)]
struct Last {
    number: u64,
    holder: Holder,
    /// When it was written, by the store's clock.
    written: DateTime<Utc>,
}

/// Finds the lease that counts; none if there never was one. A file that cannot be understood is that of a tuwen yet to come: its
/// holder is taken for dead when the file is old.
async fn last(store: &dyn ObjectStore, folder: &Path) -> Result<Option<Last>> {
    loop {
        let files: Vec<_> =
            store.list(Some(folder)).try_collect().await.context("listing leases")?;
        let numbered = files.iter().filter_map(|file| {
            let number = file.location.filename()?.strip_suffix(".json")?.parse::<u64>().ok()?;
            Some((number, file))
        });
        let newest = numbered.max_by_key(|(number, _)| *number);
        let Some((number, file)) = newest else { return Ok(None) };
        reach("lease").await;
        let answer = match store.get(&file.location).await {
            Ok(answer) => answer,
            // Somebody took over between the two requests.
            Err(object_store::Error::NotFound { .. }) => {
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
                continue;
            }
            Err(error) => return Err(error).context("reading a lease"),
        };
        let written = answer.meta.last_modified;
        let bytes = answer.bytes().await.context("reading a lease")?;
        let holder = serde_json::from_slice(&bytes).unwrap_or_else(|_| Holder {
            host: "an unknown host".to_owned(),
            renewed: written,
            since: written,
            ..Holder::this("?")
        });
        return Ok(Some(Last { number, holder, written }));
    }
}

/// Whether `last` still counts: not given back, and its holder not known to be dead. `watched` is what was found before, and since
/// when: one that stays as it is for long enough is a dead holder's, whatever the store's clock says.
async fn is_alive(
    store: &dyn ObjectStore,
    folder: &Path,
    last: &Last,
    watched: &mut Option<(Last, Instant)>,
) -> Result<bool> {
    let holder = &last.holder;
    if holder.released {
        return Ok(false);
    }
    if holder.host == host() {
        return Ok(process_start(holder.pid) == Some(holder.process_start));
    }
    if let Some((_, since)) = watched.as_ref().filter(|(before, _)| before == last) {
        return Ok(since.elapsed() < DEAD_AFTER);
    }
    if watched.replace((last.clone(), Instant::now())).is_some() {
        // It has changed before our eyes.
        return Ok(true);
    }
    let age = now(store, folder).await? - last.written;
    Ok(age.to_std().unwrap_or_default() < DEAD_AFTER)
}

/// The time by the store's clock, which writes down when a file came.
async fn now(store: &dyn ObjectStore, folder: &Path) -> Result<DateTime<Utc>> {
    let clock = folder.clone().join("clock");
    store.put(&clock, PutPayload::new()).await.context("writing beside the leases")?;
    Ok(store.head(&clock).await.context("reading beside the leases")?.last_modified)
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
