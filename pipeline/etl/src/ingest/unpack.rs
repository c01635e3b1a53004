//! Packed sources. In: a file. Out: the same, or what it has packed in a temporary file, which is gone when it is closed. Never reads more
//! into memory than a buffer.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::path::Path;

use anyhow::{Context, Error, Result, anyhow};
use flate2::read::MultiGzDecoder;

use crate::ingest::columns::quoted;

/// How a file is packed.
#[derive(Clone, Copy)]
enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// The program that unpacks it, which is its name too.
    fn program(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// `file`, which is at `path`, unpacked if it is packed.
///
/// # Errors
/// It is cut off or damaged; TMPDIR is full.
pub(super) fn unpacked(mut file: File, path: &Path) -> Result<File> {
    let mut magic = Vec::new();
    Read::by_ref(&mut file).take(4).read_to_end(&mut magic)?;
    file.rewind()?;
    let packing = match magic.as_slice() {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        b"\x28\xb5\x2f\xfd" => Packing::Zstd,
        _ => return Ok(file),
    };
    let mut unpacked = temporary()?;
    let copied = match packing {
        Packing::Gzip => {
            io::copy(&mut MultiGzDecoder::new(io::BufReader::new(file)), &mut unpacked)
        }
        Packing::Zstd => io::copy(&mut zstd::stream::read::Decoder::new(file)?, &mut unpacked),
    };
    if let Err(error) = copied {
        let n_bytes = unpacked.stream_position()?;
        return Err(refusal(error, packing, n_bytes, path));
    }
    unpacked.rewind()?;
    Ok(unpacked)
}

fn refusal(error: io::Error, packing: Packing, n_bytes: u64, path: &Path) -> Error {
    let program = packing.program();
    if error.kind() != ErrorKind::UnexpectedEof {
        return Error::new(error).context("unpacking it to TMPDIR");
    }
    let path = quoted(&path.display().to_string());
    anyhow!(
        "expected a whole {program} file, found one that is cut off: {n_bytes} bytes come out of it\n\
         hint: copy it once more; {program} -t {path} says whether it is whole"
    )
}

/// A file without a name, which is gone when it is closed.
pub(super) fn temporary() -> Result<File> {
    tempfile::tempfile().context("making a temporary file in TMPDIR")
}
