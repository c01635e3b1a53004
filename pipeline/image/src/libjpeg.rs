//! libjpeg by `libjpeg.c`. In: a JPEG in memory. Out: its header, its rows from top to bottom, and the worst that is wrong with it.
//! Nothing here knows what a header or a pixel is for.

#![expect(unsafe_code, reason = "libjpeg is C")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong};
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::image::{RejectReason, Rejected};

/// Scans of a progressive file beyond which it is an attack and not a picture.
const MAX_SCANS: c_int = 500;

#[repr(C)]
struct RawDecoder {
    _opaque: [u8; 0],
}

/// What a JPEG says it is.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct JpegHeader {
    /// Width in pixels.
    pub(crate) width: c_uint,
    /// Height in pixels.
    pub(crate) height: c_uint,
    /// 1 is grey; 3 are red, green and blue, or brightness and colours; 4 are inks.
    pub(crate) components: c_int,
    is_cmyk: c_int,
}

impl JpegHeader {
    /// Whether rows are CMYK, as it stands in the file; else they are RGB.
    pub(crate) fn is_cmyk(&self) -> bool {
        self.is_cmyk != 0
    }

    /// Bytes of a row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.width as usize * if self.is_cmyk() { 4 } else { 3 }
    }
}

unsafe extern "C" {
    fn tuwen_jpeg_new(max_scans: c_int) -> *mut RawDecoder;
    fn tuwen_jpeg_free(decoder: *mut RawDecoder);
    fn tuwen_jpeg_open(
        decoder: *mut RawDecoder,
        bytes: *const u8,
        length: c_ulong,
        header: *mut JpegHeader,
    ) -> c_int;
    fn tuwen_jpeg_start(
        decoder: *mut RawDecoder,
        denominator: c_uint,
        header: *mut JpegHeader,
    ) -> c_int;
    fn tuwen_jpeg_rows(
        decoder: *mut RawDecoder,
        rows: *mut u8,
        row_bytes: c_ulong,
        count: c_uint,
    ) -> c_int;
    fn tuwen_jpeg_finish(decoder: *mut RawDecoder) -> c_int;
    fn tuwen_jpeg_verdict(decoder: *const RawDecoder, message: *mut *const c_char) -> c_int;
}

/// A decoder, for one file after the other: it keeps what it needs for any of them.
pub(crate) struct JpegDecoder(NonNull<RawDecoder>);

impl JpegDecoder {
    /// # Errors
    /// No memory.
    pub(crate) fn new() -> Result<Self, Rejected> {
        // SAFETY: it takes a number and gives what belongs to nobody yet, or null.
        let decoder = unsafe { tuwen_jpeg_new(MAX_SCANS) };
        let no_memory = || Rejected::new(RejectReason::OutOfMemory, "no memory for a JPEG decoder");
        NonNull::new(decoder).map(Self).ok_or_else(no_memory)
    }

    /// Reads the header of `bytes`.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn open<'a>(&'a mut self, bytes: &'a [u8]) -> Result<OpenJpeg<'a>, Rejected> {
        let mut header = JpegHeader::default();
        // SAFETY: the decoder is live and ours alone; `bytes` outlive the file that is given back, and nothing reads them after it:
        // the next call is another `open`. A length of 4 GiB and more is that of a 64-bit `long`, or cut, which is a shorter file.
        let opened = unsafe {
            tuwen_jpeg_open(
                self.0.as_ptr(),
                bytes.as_ptr(),
                bytes.len() as c_ulong,
                &raw mut header,
            )
        };
        let file = OpenJpeg { decoder: self.0, rows_left: 0, header, bytes: PhantomData };
        if opened == 0 { Err(file.wrong()) } else { Ok(file) }
    }
}

impl Drop for JpegDecoder {
    fn drop(&mut self) {
        // SAFETY: it was made by `tuwen_jpeg_new`, and no `OpenJpeg` outlives it.
        unsafe { tuwen_jpeg_free(self.0.as_ptr()) }
    }
}

/// A JPEG whose header is read.
pub(crate) struct OpenJpeg<'a> {
    decoder: NonNull<RawDecoder>,
    /// Rows that are still to come, once [`start`](Self::start) was called.
    rows_left: u32,
    /// What it says it is; after [`start`](Self::start), of the size of its rows.
    pub(crate) header: JpegHeader,
    bytes: PhantomData<&'a mut [u8]>,
}

impl OpenJpeg<'_> {
    /// Begins the rows, of a picture of 1/`denominator` (1, 2, 4 or 8) of the size.
    ///
    /// # Errors
    /// The file contradicts itself, or is of a kind that libjpeg does not decode.
    pub(crate) fn start(&mut self, denominator: u32) -> Result<(), Rejected> {
        // SAFETY: the decoder is live, ours alone for as long as this is, and the file is open.
        let started =
            unsafe { tuwen_jpeg_start(self.decoder.as_ptr(), denominator, &raw mut self.header) };
        self.rows_left = self.header.height;
        if started == 0 { Err(self.wrong()) } else { Ok(()) }
    }

    /// The next rows, as many as `rows` has room for, or as are left; how many bytes they are.
    ///
    /// # Errors
    /// The file is so damaged that the decoder does not go on.
    pub(crate) fn read(&mut self, rows: &mut [u8]) -> Result<usize, Rejected> {
        let row_bytes = self.header.row_bytes();
        let count = (rows.len() / row_bytes).min(self.rows_left as usize);
        // SAFETY: as in `start`; `count` rows of `row_bytes` bytes lie within `rows`, and no more than are left are asked for.
        let read = unsafe {
            tuwen_jpeg_rows(
                self.decoder.as_ptr(),
                rows.as_mut_ptr(),
                row_bytes as c_ulong,
                count as c_uint,
            )
        };
        self.rows_left -= count as u32;
        if read == 0 { Err(self.wrong()) } else { Ok(count * row_bytes) }
    }

    /// Reads the rest of the file, after its last row.
    ///
    /// # Errors
    /// What is wrong with the file, anywhere in it, that leaves pixels other than it says.
    pub(crate) fn finish(self) -> Result<(), Rejected> {
        // SAFETY: as in `start`.
        let finished = unsafe { tuwen_jpeg_finish(self.decoder.as_ptr()) };
        let (verdict, _) = self.verdict();
        if finished == 0 || verdict.is_some() { Err(self.wrong()) } else { Ok(()) }
    }

    fn verdict(&self) -> (Option<RejectReason>, String) {
        let mut message = std::ptr::null();
        // SAFETY: the decoder is live, and the message is its own, ended by a zero, until the next call of it.
        let (verdict, message) = unsafe {
            let verdict = tuwen_jpeg_verdict(self.decoder.as_ptr(), &raw mut message);
            (verdict, CStr::from_ptr(message).to_string_lossy().into_owned())
        };
        // `verdict` of libjpeg.c.
        let reason = match verdict {
            0 => None,
            2 => Some(RejectReason::UnsupportedFormat),
            3 => Some(RejectReason::OutOfMemory),
            4 => Some(RejectReason::Truncated),
            _ => Some(RejectReason::Corrupt),
        };
        (reason, message)
    }

    fn wrong(&self) -> Rejected {
        let (reason, message) = self.verdict();
        Rejected::new(reason.unwrap_or(RejectReason::Corrupt), message)
    }
}
