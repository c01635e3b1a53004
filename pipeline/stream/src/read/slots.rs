//! The pixels of a batch while it is filled. In: rows to be read, values as files hold them. Out: each row's pixels in its
//! slots, and which slots could not be filled. Never reads a file.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use tuwen_image::{copy, decode_stored};
use tuwen_settings::PixelCodec;

/// A row to be read, and where in the batch it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    /// Index of the file.
    pub(super) file: u32,
    /// Row within the file.
    pub(super) row: u32,
    /// Place in the batch.
    pub(super) slot: u32,
}

/// An example of a batch whose image cannot be read.
#[derive(Debug)]
pub(crate) struct Bad {
    /// Its place in the batch.
    pub(crate) slot: u32,
    /// Why, and where.
    pub(crate) why: String,
}

/// The pixels of a batch, a slot an example.
pub(crate) struct Slots<'a> {
    pixels: &'a mut [u8],
    pixel_bytes: usize,
    /// Time spent on decoding JPEGs.
    pub(crate) decoding: Duration,
}

impl<'a> Slots<'a> {
    /// Slots of `pixel_bytes` each.
    pub(crate) fn new(pixels: &'a mut [u8], pixel_bytes: usize) -> Self {
        Self { pixels, pixel_bytes, decoding: Duration::ZERO }
    }

    /// Bytes of a slot.
    pub(super) fn pixel_bytes(&self) -> usize {
        self.pixel_bytes
    }

    /// The slot of `pick`.
    pub(super) fn of(&mut self, pick: &Pick) -> &mut [u8] {
        let range = self.range(pick);
        &mut self.pixels[range]
    }

    /// Puts the pixels that `value` holds under `codec` into the slots of `picks`, which are all of one row. Nothing touches
    /// these slots again before [`copy::finish`] is called.
    #[expect(unsafe_code, reason = "a streaming copy is unsafe until it is finished")]
    pub(super) fn place(&mut self, codec: PixelCodec, value: &[u8], picks: &[Pick]) -> Result<()> {
        let Some((first, others)) = picks.split_first() else { return Ok(()) };
        if codec == PixelCodec::Jpeg {
            let begun = Instant::now();
            let decoded = decode_stored(codec, value, self.of(first));
            self.decoding += begun.elapsed();
            for other in others {
                self.pixels.copy_within(self.range(first), self.range(other).start);
            }
            return decoded;
        }
        ensure!(
            value.len() == self.pixel_bytes,
            "expected {} bytes of pixels, found {}",
            self.pixel_bytes,
            value.len()
        );
        for pick in picks {
            // SAFETY: while a batch is filled only the `ImageFiles` that fill it touch its slots. They call `finish` before they
            // give it back (`fill`), and before they read rows into their slots a second time (`read_singly`).
            unsafe { copy::stream(value, self.of(pick)) };
        }
        Ok(())
    }

    fn range(&self, pick: &Pick) -> Range<usize> {
        let start = pick.slot as usize * self.pixel_bytes;
        start..start + self.pixel_bytes
    }
}
