//! The bytes of one data file. In: a live file of a table and how it is reached. Out: byte ranges of it. Never knows what they
//! mean.
//!
//! A file on this machine is mapped ([`Mapped`]), or read by calls ([`Pread`]); one in an object store is read by range requests
//! ([`Remote`]).

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use object_store::ObjectStore;
use tokio::runtime::Handle;

use super::mapped::Mapped;
use super::pread::Pread;
use super::remote::Remote;

/// Mapped files of a table that are kept open: a process may mostly have 1,024 open.
const KEPT_OPEN: usize = 256;

/// A data file that belongs to a table at its version.
#[derive(Clone, Debug)]
pub(crate) struct LiveFile {
    /// Path below the table's folder, as a file system has it.
    pub(crate) path: String,
    /// The same for an object store.
    pub(crate) store_path: object_store::path::Path,
    /// Length by the Delta log.
    pub(crate) size_bytes: u64,
}

/// How the files of one table are reached.
pub(crate) enum FileAccess {
    /// In a folder of this machine, to be mapped.
    Mapped(PathBuf),
    /// In a folder of this machine, to be read by calls.
    Pread(PathBuf),
    /// In an object store, by requests that run on a runtime.
    Store(Arc<dyn ObjectStore>, Handle),
}

/// One data file, open.
pub(super) enum DataFile {
    /// A mapped file.
    Mapped(Mapped),
    /// A file read by calls.
    Pread(Pread),
    /// A file behind an object store.
    Remote(Remote),
}

impl DataFile {
    /// Opens `file`, the table's file number `index`, by `access`.
    pub(super) fn open(access: &FileAccess, file: &LiveFile, index: usize) -> Result<Self> {
        let size_bytes = file.size_bytes;
        Ok(match access {
            FileAccess::Mapped(folder) => {
                let keep = index < KEPT_OPEN;
                Self::Mapped(Mapped::open(folder.join(&file.path), size_bytes, keep)?)
            }
            FileAccess::Pread(folder) => {
                Self::Pread(Pread::new(folder.join(&file.path), size_bytes))
            }
            FileAccess::Store(store, handle) => {
                let path = file.store_path.clone();
                Self::Remote(Remote::new(Arc::clone(store), handle.clone(), path, size_bytes))
            }
        })
    }

    /// Its length in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::Mapped(mapped) => mapped.size_bytes(),
            Self::Pread(pread) => pread.size_bytes(),
            Self::Remote(remote) => remote.size_bytes(),
        }
    }

    /// Whether it is behind an object store.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// The bytes of `ranges`, in their order.
    pub(super) fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self {
            Self::Mapped(mapped) => mapped.read(ranges),
            Self::Pread(pread) => pread.read(ranges),
            Self::Remote(remote) => remote.handle().block_on(remote.read(ranges)),
        }
    }

    /// Asked after a fault: whether it may be the file's own.
    ///
    /// # Errors
    /// The store does not answer, so nothing is known of the file.
    pub(super) fn answers(&self) -> Result<()> {
        match self {
            Self::Mapped(_) | Self::Pread(_) => Ok(()),
            Self::Remote(remote) => remote.handle().block_on(remote.answers()),
        }
    }
}
