//! A file of this machine that is read by calls. In: its path and its length by the Delta log. Out: byte ranges of it. Never
//! maps it, so a file that is cut short under a run is an error and not the end of the process.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Error, Result, bail};
use bytes::Bytes;

use super::ranges::{check_range, expect_length};

/// A file read by calls. It is opened anew for each batch, so a table may have more files than a process may have open.
pub(super) struct Pread {
    path: PathBuf,
    size_bytes: u64,
}

impl Pread {
    /// The file at `path`, which is not looked at before it is read.
    pub(super) fn new(path: PathBuf, size_bytes: u64) -> Self {
        Self { path, size_bytes }
    }

    /// Its length in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The file, open and as long as the Delta log says.
    pub(super) fn open_checked(&self) -> Result<File> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("it is gone"),
            Err(error) => return Err(Error::from(error).context("it cannot be opened")),
        };
        let found = file.metadata().context("its length cannot be read")?.len();
        expect_length(self.size_bytes, found)?;
        Ok(file)
    }

    /// Tells the kernel that `ranges` will be read soon, so that several reads of a cold disk go on at once. What is wrong with
    /// the file is for the read to say.
    pub(super) fn will_need(&self, ranges: &[Range<u64>]) {
        if let Ok(file) = File::open(&self.path) {
            ranges.iter().for_each(|range| will_need(&file, range));
        }
    }

    /// The bytes of `ranges`, in their order.
    pub(super) fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut file = self.open_checked()?;
        ranges
            .iter()
            .map(|range| {
                check_range(range, self.size_bytes)?;
                let mut bytes = vec![0; (range.end - range.start) as usize];
                read_at(&mut file, range.start, &mut bytes)?;
                Ok(bytes.into())
            })
            .collect()
    }
}

#[cfg(target_os = "linux")]
fn will_need(file: &File, range: &Range<u64>) {
    use rustix::fs::{Advice, fadvise};
    let length = std::num::NonZero::new(range.end - range.start);
    // Advice that the file system cannot take changes nothing but speed.
    let _ = fadvise(file, range.start, length, Advice::WillNeed);
}

#[cfg(not(target_os = "linux"))]
fn will_need(_: &File, _: &Range<u64>) {}

/// Fills `bytes` from `start` of the file on.
pub(super) fn read_at(file: &mut File, start: u64, bytes: &mut [u8]) -> Result<()> {
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(bytes).with_context(|| format!("reading {} bytes at {start}", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between the check and the read, where a mapping would end the process.
    #[test]
    fn a_file_that_is_cut_short_under_a_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.parquet");
        std::fs::write(&path, vec![7; 9000]).unwrap();
        let pread = Pread::new(path.clone(), 9000);
        let mut open = pread.open_checked().unwrap();
        let mut bytes = [0; 100];
        read_at(&mut open, 8000, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 100]);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(8050).unwrap();
        let error = read_at(&mut open, 8000, &mut bytes).unwrap_err();
        assert_eq!(error.to_string(), "reading 100 bytes at 8000");
        let error = pread.open_checked().unwrap_err().to_string();
        assert_eq!(error, "expected 9000 bytes (Delta log), found 8050");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(pread.open_checked().unwrap_err().to_string(), "it is gone");
    }
}
