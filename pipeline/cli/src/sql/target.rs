//! Where rows go. In: stdout, or a file's name. Out: something to write to; a file is whole when it has its name, and is not there
//! if the query failed. That whoever reads has left is noticed here, by the kind of the error, and is no failure.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write, stdout};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::sql::output::Visible;
use crate::sql::pager::Pager;

/// Rights of a file that anybody may read, less what the user's mask takes.
const FILE_MODE: u32 = 0o666;

/// Links that are followed to a file, as many as Linux does.
const MOST_LINKS: usize = 40;

/// Where rows go.
pub(crate) struct Target {
    out: Out,
    reader: Reader,
}

enum Out {
    /// To whoever reads stdout, or a pipe or device that has a name.
    Stream(BufWriter<Watched<Box<dyn Write + Send>>>),
    /// To a person's screen, or a pager.
    Paged(BufWriter<Watched<Visible<Pager>>>),
    /// To a file of this name, once something is written.
    Named(PathBuf),
    /// To a file, under another name until it is whole.
    File { file: BufWriter<NamedTempFile>, name: PathBuf },
}

/// Whether whoever reads has left.
#[derive(Clone, Default)]
struct Reader(Arc<AtomicBool>);

impl Reader {
    fn has_left(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// `written`, of which it is noted whether nobody reads any more.
    fn note<T>(&self, written: io::Result<T>) -> io::Result<T> {
        if written.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            self.0.store(true, Ordering::Relaxed);
        }
        written
    }
}

/// Writes to `out`, and notes when whoever reads has left.
struct Watched<W> {
    out: W,
    reader: Reader,
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.reader.note(self.out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.reader.note(self.out.flush())
    }
}

impl Target {
    /// Stdout.
    pub(crate) fn stdout() -> Self {
        Self::of(|reader| stream(stdout(), reader))
    }

    /// The screen of a person, `height` lines high.
    pub(crate) fn paged(height: usize) -> Self {
        Self::of(|reader| {
            let out = Visible::new(Pager::new(height));
            Out::Paged(BufWriter::new(Watched { out, reader }))
        })
    }

    /// What is called `name`: a file is there, or is replaced, once it is whole; a pipe or a device is written to as it is.
    ///
    /// # Errors
    /// There is something that cannot be written to.
    pub(crate) fn file(name: &Path) -> Result<Self> {
        let reader = Reader::default();
        let out = named(name, &reader).with_context(|| cannot_write(name))?;
        Ok(Self { out, reader })
    }

    fn of(out: impl FnOnce(Reader) -> Out) -> Self {
        let reader = Reader::default();
        Self { out: out(reader.clone()), reader }
    }

    /// What is written to.
    ///
    /// # Errors
    /// A file cannot be made.
    pub(crate) fn out(&mut self) -> Result<&mut (dyn Write + Send)> {
        if let Out::Named(name) = &self.out {
            let file = temporary(name).with_context(|| cannot_write(name))?;
            self.out = Out::File { file: BufWriter::new(file), name: name.clone() };
        }
        let out: &mut (dyn Write + Send) = match &mut self.out {
            Out::Stream(out) => out,
            Out::Paged(out) => out,
            Out::File { file, .. } => file,
            Out::Named(name) => unreachable!("{} was made above", name.display()),
        };
        Ok(out)
    }

    /// Ends what was written: what is buffered is shown, and a file gets its name unless `written` is an error. None if whoever
    /// reads has left before the end.
    ///
    /// # Errors
    /// `written` is one, or the end cannot be written.
    pub(crate) fn finish<T>(self, written: Result<T>) -> Result<Option<T>> {
        let Self { out, reader } = self;
        let left_early = reader.has_left();
        let is_whole = written.is_ok();
        let kept = out.keep(is_whole, &reader);
        match written {
            Err(_) if left_early => Ok(None),
            Ok(_) if reader.has_left() => Ok(None),
            Ok(written) => kept.map(|()| Some(written)),
            Err(error) => Err(error),
        }
    }
}

impl Out {
    fn keep(self, is_whole: bool, reader: &Reader) -> Result<()> {
        match self {
            Self::Stream(mut out) => Ok(out.flush()?),
            Self::Paged(out) => {
                let (watched, unwritten) = match out.into_inner() {
                    Ok(watched) => (watched, Ok(())),
                    Err(error) => {
                        let (error, out) = error.into_parts();
                        (out.into_parts().0, Err(error))
                    }
                };
                // A pager that was left early still has to end.
                reader.note(watched.out.into_inner().finish())?;
                Ok(unwritten?)
            }
            Self::Named(_) => Ok(()),
            Self::File { .. } if !is_whole => Ok(()),
            Self::File { file, name } => {
                let context = || format!("writing {}", name.display());
                let file = file.into_inner().map_err(|error| error.into_error());
                let file = file.with_context(context)?;
                if let Ok(replaced) = std::fs::metadata(&name) {
                    file.as_file().set_permissions(replaced.permissions()).with_context(context)?;
                }
                file.persist(&name).map_err(|e| e.error).with_context(context)?;
                Ok(())
            }
        }
    }
}

/// Writes to `out` as it is, but for what a terminal would not show.
fn stream(out: impl Write + IsTerminal + Send + 'static, reader: Reader) -> Out {
    let out: Box<dyn Write + Send> = match out.is_terminal() {
        true => Box::new(Visible::new(out)),
        false => Box::new(out),
    };
    Out::Stream(BufWriter::new(Watched { out, reader }))
}

fn cannot_write(name: &Path) -> String {
    format!("-o {}: cannot write there", name.display())
}

/// What `name` leads to; a pipe waits here for who reads it.
fn named(name: &Path, reader: &Reader) -> io::Result<Out> {
    let name = followed(name);
    match std::fs::metadata(&name) {
        Ok(there) if there.is_file() => Ok(Out::Named(name)),
        Ok(_) => Ok(stream(OpenOptions::new().write(true).open(&name)?, reader.clone())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Out::Named(name)),
        Err(error) => Err(error),
    }
}

/// A file beside the one called `name`.
fn temporary(name: &Path) -> io::Result<NamedTempFile> {
    let folder = name.parent().filter(|folder| !folder.as_os_str().is_empty());
    tempfile::Builder::new()
        .prefix(".tuwen-")
        .permissions(Permissions::from_mode(FILE_MODE))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
}

/// What the links that begin at `name` lead to, be it there or not.
fn followed(name: &Path) -> PathBuf {
    let mut name = name.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(link) = std::fs::read_link(&name) else { break };
        name = name.with_file_name("").join(link);
    }
    name
}
