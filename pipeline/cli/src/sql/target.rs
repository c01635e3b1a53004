//! Where rows go. In: stdout, or a file's name. Out: something to write to; a file is whole when it has its name, and is not there
//! if the query failed.

use std::io::{BufWriter, Stdout, Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::sql::pager::Pager;

/// Rights of a file that anybody may read, less what the user's mask takes.
const FILE_MODE: u32 = 0o666;

/// Where rows go.
pub(crate) enum Target {
    /// To whoever reads stdout.
    Stdout(BufWriter<Stdout>),
    /// To a person's screen, or a pager.
    Paged(BufWriter<Pager>),
    /// To a file, under another name until it is whole.
    File { file: BufWriter<NamedTempFile>, name: PathBuf },
}

impl Target {
    /// Stdout.
    pub(crate) fn stdout() -> Self {
        Self::Stdout(BufWriter::new(stdout()))
    }

    /// The screen of a person, `height` lines high.
    pub(crate) fn paged(height: usize) -> Self {
        Self::Paged(BufWriter::new(Pager::new(height)))
    }

    /// A file that is called `name` once it is kept.
    pub(crate) fn file(name: &Path) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;

        let folder = name.parent().filter(|folder| !folder.as_os_str().is_empty());
        let made = tempfile::Builder::new()
            .prefix(".tuwen-")
            .permissions(std::fs::Permissions::from_mode(FILE_MODE))
            .tempfile_in(folder.unwrap_or(Path::new(".")));
        let file = made.with_context(|| format!("-o {}: cannot write there", name.display()))?;
        Ok(Self::File { file: BufWriter::new(file), name: name.to_owned() })
    }

    /// What is written to.
    pub(crate) fn out(&mut self) -> &mut (dyn Write + Send) {
        match self {
            Self::Stdout(out) => out,
            Self::Paged(out) => out,
            Self::File { file, .. } => file,
        }
    }

    /// Writes out what is buffered; a file gets its name.
    pub(crate) fn keep(self) -> Result<()> {
        match self {
            Self::Stdout(mut out) => Ok(out.flush()?),
            Self::Paged(out) => match out.into_inner() {
                Ok(pager) => Ok(pager.finish()?),
                Err(error) => {
                    let (error, out) = error.into_parts();
                    // A pager that was left early still has to end.
                    let (pager, _) = out.into_parts();
                    pager.finish()?;
                    Err(error.into())
                }
            },
            Self::File { file, name } => {
                let context = || format!("writing {}", name.display());
                let file = file.into_inner().map_err(|error| error.into_error());
                file.with_context(context)?
                    .persist(&name)
                    .map_err(|e| e.error)
                    .with_context(context)?;
                Ok(())
            }
        }
    }
}
