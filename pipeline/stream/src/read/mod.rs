//! How bytes are read. In: the files of the images table, rows of them. Out: ids and sizes of all rows, and the pixels of some in
//! the slots of a batch. Never decides which rows, or in which order.
//!
//! The modules, each of which only uses those before it, and `tuwen_image::copy`: [`ranges`] of bytes are
//! read from a file that is [`mapped`], read by calls ([`pread`]), or [`remote`]; a [`data_file`] is any of these. [`scan`] reads
//! the light columns of all files. Pixels go into the [`slots`] of a batch, compared with their [`checksums`]: [`addresses`] say
//! where they lie in a file, and where none can, [`decode`] asks the parquet crate. An [`image_file`] knows which, and
//! [`image_files`] are all of the table.

mod addresses;
mod checksums;
mod data_file;
mod decode;
mod image_file;
mod image_files;
mod mapped;
mod pread;
mod ranges;
mod remote;
mod scan;
mod slots;

pub(crate) use self::data_file::{FileAccess, LiveFile};
pub(crate) use self::image_files::{ImageFiles, Lookahead};
pub(crate) use self::remote::{REQUESTS, Span};
pub(crate) use self::scan::{FILE_COLUMNS, ImageId, ScannedFile, scan_files, starts};
pub(crate) use self::slots::{Bad, Pick, Slots};
