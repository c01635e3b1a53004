//! A file to measure a disk with. In: a folder. Out: reads of it that the page cache does not answer. Never outlives the
//! process: it has no name from before its first byte is written, so the kernel frees it however the process ends. (NFS keeps a
//! name until then, `.nfs…`, which a client that crashes leaves behind.)

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use tuwen_stream::mix;

/// Offsets, lengths and addresses of reads past the page cache are multiples of this: the largest block of common disks.
pub(super) const BLOCK_BYTES: usize = 4096;

/// Bytes written at once.
const WRITE_BYTES: usize = 4 << 20;

/// How reads avoid the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cold {
    /// Around it (`O_DIRECT`).
    Bypassed,
    /// It is told to forget the file (`posix_fadvise`) before each pass.
    Dropped,
}

/// A nameless file of random bytes.
pub(super) struct Scratch {
    file: File,
    size_bytes: u64,
    cold: Cold,
}

impl Scratch {
    /// Writes `size_bytes` to a file in `folder`, and on to the disk; `written` is told of each [`WRITE_BYTES`].
    pub(super) fn write(folder: &Path, size_bytes: u64, written: impl Fn()) -> Result<Self> {
        ensure!(
            folder.is_dir(),
            "{}: expected a folder on the disk to be measured, found none\nhint: `tuwen bench stream` measures a corpus, also \
             one in an object store",
            folder.display()
        );
        let free_bytes = free_bytes(folder)?;
        ensure!(
            size_bytes <= free_bytes,
            "{}: expected {} MB of free space, found {} MB\nhint: --size-mb with less",
            folder.display(),
            size_bytes >> 20,
            free_bytes >> 20
        );
        let path = folder.join(format!(".tuwen-bench-{}", std::process::id()));
        let context = || format!("{}: a file to measure with", path.display());
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let mut usual = opened.with_context(context)?;
        let direct = past_the_cache(&path);
        std::fs::remove_file(&path).with_context(context)?;

        let mut block = vec![0; WRITE_BYTES];
        for number in 0..size_bytes / WRITE_BYTES as u64 {
            // Random, because some file systems and disks compress, and never the same, because some find repetitions.
            for (word, place) in block.as_chunks_mut::<8>().0.iter_mut().zip(0_u64..) {
                *word = mix(number << 32 | place).to_le_bytes();
            }
            usual.write_all(&block).with_context(|| {
                let megabytes = size_bytes >> 20;
                format!(
                    "{}: writing {megabytes} MB\nhint: --size-mb with less, or free some space",
                    folder.display()
                )
            })?;
            written();
        }
        usual.sync_all().with_context(context)?;

        let size_bytes = size_bytes / WRITE_BYTES as u64 * WRITE_BYTES as u64;
        if let Ok(file) = direct {
            let direct = Self { file, size_bytes, cold: Cold::Bypassed };
            // Some file systems open such a file and then refuse to read it.
            if direct.read(0, &mut Buffer::new(BLOCK_BYTES)).is_ok() {
                return Ok(direct);
            }
        }
        Ok(Self { file: usual, size_bytes, cold: Cold::Dropped })
    }

    /// Its length, whole megabytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// How its reads avoid the page cache.
    pub(super) fn cold(&self) -> Cold {
        self.cold
    }

    /// Makes the page cache forget it, where reads go through that; `shuffled` reads are not to be read ahead of.
    pub(super) fn forget(&self, shuffled: bool) {
        if self.cold == Cold::Dropped {
            advise(&self.file, shuffled);
        }
    }

    /// Fills `buffer` from `offset`, a multiple of [`BLOCK_BYTES`].
    pub(super) fn read(&self, offset: u64, buffer: &mut Buffer) -> Result<()> {
        self.file.read_exact_at(buffer.bytes(), offset).context("reading the file to measure with")
    }
}

/// Memory that begins at a multiple of [`BLOCK_BYTES`].
pub(super) struct Buffer {
    bytes: Vec<u8>,
    n_bytes: usize,
}

impl Buffer {
    /// Room for `n_bytes`.
    pub(super) fn new(n_bytes: usize) -> Self {
        Self { bytes: vec![0; n_bytes + BLOCK_BYTES], n_bytes }
    }

    fn bytes(&mut self) -> &mut [u8] {
        let start = self.bytes.as_ptr().align_offset(BLOCK_BYTES);
        &mut self.bytes[start..start + self.n_bytes]
    }
}

/// Bytes that may be written to the disk of `folder`.
fn free_bytes(folder: &Path) -> Result<u64> {
    let found = rustix::fs::statvfs(folder).context("its free space cannot be read")?;
    Ok(found.f_bavail * found.f_frsize)
}

#[cfg(target_os = "linux")]
fn past_the_cache(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let direct = rustix::fs::OFlags::DIRECT.bits() as i32;
    OpenOptions::new().read(true).custom_flags(direct).open(path)
}

#[cfg(not(target_os = "linux"))]
fn past_the_cache(_path: &Path) -> std::io::Result<File> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn advise(file: &File, shuffled: bool) {
    use rustix::fs::{Advice, fadvise};
    let pattern = if shuffled { Advice::Random } else { Advice::Sequential };
    for advice in [Advice::DontNeed, pattern] {
        // A file system that cannot take the advice says so, which changes nothing but the figures.
        let _ = fadvise(file, 0, None, advice);
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_file: &File, _shuffled: bool) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_give_what_was_written_and_no_name_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::write(folder.path(), 8 << 20, || ()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(scratch.size_bytes(), 8 << 20);
        let mut buffer = Buffer::new(2 * BLOCK_BYTES);
        for offset in [0_u64, 4096, 5 << 20] {
            scratch.forget(true);
            scratch.read(offset, &mut buffer).unwrap();
            let word = |at: u64| {
                let place = at % WRITE_BYTES as u64 / 8;
                mix((at / WRITE_BYTES as u64) << 32 | place).to_le_bytes()
            };
            let (first, rest) = buffer.bytes().split_first_chunk::<8>().unwrap();
            assert_eq!(*first, word(offset));
            assert_eq!(rest[rest.len() - 8..], word(offset + 2 * 4096 - 8));
        }
        assert!(scratch.read(8 << 20, &mut buffer).is_err());
        let missing = Scratch::write(&folder.path().join("none"), 4 << 20, || ());
        assert!(missing.err().unwrap().to_string().contains("expected a folder on the disk"));
    }
}
