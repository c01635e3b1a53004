//! What a stream must have at hand of each selected example, but not in memory. In: bytes, from any thread. Out: the same
//! bytes, mapped from a file without a name, so they are page cache that the kernel takes back when it likes. Never outlives
//! the process.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use memmap2::{Advice, Mmap};

/// The file while it grows.
pub(super) struct Spill {
    file: File,
    end: AtomicU64,
}

impl Spill {
    /// An empty file in the folder for temporary files.
    pub(super) fn create() -> Result<Self> {
        let file = tempfile::tempfile().with_context(|| about("it cannot be made"))?;
        Ok(Self { file, end: AtomicU64::new(0) })
    }

    /// Appends `bytes` and says where they begin. What one thread appends without others at it lies together.
    pub(super) fn append(&self, bytes: &[u8]) -> Result<u64> {
        let start = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file
            .write_all_at(bytes, start)
            .with_context(|| about(&format!("writing {} bytes at {start}", bytes.len())))?;
        Ok(start)
    }

    /// Reads what was appended at `start` into `bytes`.
    pub(super) fn read(&self, start: u64, bytes: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(bytes, start)
            .with_context(|| about(&format!("reading {} bytes at {start}", bytes.len())))
    }

    /// All that was appended.
    #[expect(unsafe_code, reason = "mapping a file is unsafe by nature")]
    pub(super) fn map(self) -> Result<Mmap> {
        // SAFETY: the file has no name, and its only handle ends here, so nobody can change it or cut it short.
        let map = unsafe { Mmap::map(&self.file) }.with_context(|| about("it cannot be mapped"))?;
        // Advice that the kernel cannot take changes nothing but speed.
        drop(map.advise(Advice::Random));
        Ok(map)
    }
}

fn about(what: &str) -> String {
    format!(
        "the file of the selected examples in {}: {what}\n\
         hint: some 75 bytes an example are needed there, and 140 more while it is opened; TMPDIR names another folder",
        std::env::temp_dir().display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_append_stays_whole() {
        let spill = Spill::create().unwrap();
        let starts: Vec<_> = std::thread::scope(|scope| {
            let append = |byte: u8| {
                let spill = &spill;
                move || (0..50).map(|n| (spill.append(&vec![byte; n]).unwrap(), byte, n)).collect()
            };
            let threads: Vec<_> = (1..5).map(|byte| scope.spawn(append(byte))).collect();
            threads.into_iter().flat_map(|thread| -> Vec<_> { thread.join().unwrap() }).collect()
        });
        let map = spill.map().unwrap();
        assert_eq!(map.len(), 4 * (0..50).sum::<usize>());
        for (start, byte, n) in starts {
            assert_eq!(map[start as usize..][..n], vec![byte; n]);
        }
    }

    #[test]
    fn nothing_is_mapped_too() {
        assert!(Spill::create().unwrap().map().unwrap().is_empty());
    }
}
