//! Fax coding of black and white. In: the data of a strip. Out: its lines, one bit a pixel, black 1. Sources: ITU-T T.4 and T.6,
//! TIFF 6.0 sections 10 and 11; the code tables are those of the `fax` crate.

use fax::BitReader;
use fax::maps::{Mode, black, mode, white};

use super::super::reject;
use crate::image::Rejected;

/// How lines are coded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Runs; each line begins at a byte.
    Bytes,
    /// Runs; or, where a bit says so, by the line above.
    Group3 {
        /// Whether there is that bit.
        is_tagged: bool,
    },
    /// By the line above.
    Group4,
}

/// Bits from the highest of each byte; behind the end there are zeros.
struct Source<'a> {
    data: &'a [u8],
    at_bit: usize,
}

impl BitReader for Source<'_> {
    type Error = ();

    fn peek(&self, bits: u8) -> Option<u16> {
        let byte = |at: usize| u32::from(self.data.get(at).copied().unwrap_or(0));
        let at = self.at_bit / 8;
        let window = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2);
        let window = window << (8 + self.at_bit % 8) >> (32 - u32::from(bits));
        Some(window as u16)
    }

    fn consume(&mut self, bits: u8) -> Result<(), ()> {
        self.at_bit += usize::from(bits);
        if self.is_over() { Err(()) } else { Ok(()) }
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        ((8 - self.at_bit % 8) % 8) as u8
    }
}

impl Source<'_> {
    fn is_over(&self) -> bool {
        self.at_bit > self.data.len() * 8
    }

    /// A run of black or white, which may be written in parts.
    fn run(&mut self, is_black: bool) -> Option<usize> {
        let mut length = 0;
        loop {
            let part = if is_black { black::decode(self) } else { white::decode(self) }?;
            length += usize::from(part);
            if part < 64 {
                return Some(length);
            }
        }
    }

    /// Goes behind an end of line and what fills up before it, if there is one.
    fn skip_line_end(&mut self) {
        if self.peek(11) == Some(0) {
            while self.peek(1) == Some(0) && !self.is_over() {
                self.at_bit += 1;
            }
            self.at_bit += 1;
        }
    }
}

/// The lines of a strip, each of whole bytes.
pub(super) fn decode(
    data: &[u8],
    width: usize,
    rows: usize,
    scheme: Scheme,
) -> Result<Vec<u8>, Rejected> {
    let line_bytes = width.div_ceil(8);
    let mut out = vec![0; line_bytes * rows];
    let mut source = Source { data, at_bit: 0 };
    let mut above: Vec<usize> = Vec::new();
    for line in out.chunks_exact_mut(line_bytes) {
        if source.at_bit >= data.len() * 8 {
            return Err(reject::truncated("the fax data end early"));
        }
        let mut by_runs = true;
        match scheme {
            Scheme::Bytes => source.at_bit = source.at_bit.next_multiple_of(8),
            Scheme::Group3 { is_tagged } => {
                source.skip_line_end();
                if is_tagged {
                    by_runs = source.peek(1) == Some(1);
                    source.at_bit += 1;
                }
            }
            // The end, before all lines are there: the others are white.
            Scheme::Group4 if source.peek(12) == Some(1) => break,
            Scheme::Group4 => by_runs = false,
        }
        let changes =
            if by_runs { runs(&mut source, width) } else { by_line(&mut source, &above, width) };
        let changes = changes.ok_or_else(|| {
            if source.is_over() {
                reject::truncated("the fax data end within a line")
            } else {
                reject::corrupt("a fax code that there is not")
            }
        })?;
        for black in changes.chunks(2) {
            let end = black.get(1).copied().unwrap_or(width).min(width);
            for x in black[0]..end {
                line[x / 8] |= 0x80 >> (x % 8);
            }
        }
        above = changes;
    }
    Ok(out)
}

/// Where the colour changes, first to black.
fn runs(source: &mut Source<'_>, width: usize) -> Option<Vec<usize>> {
    let mut changes = Vec::new();
    let (mut at, mut is_black) = (0, false);
    while at < width {
        at += source.run(is_black)?;
        is_black = !is_black;
        if at < width {
            changes.push(at);
        }
    }
    Some(changes)
}

fn by_line(source: &mut Source<'_>, above: &[usize], width: usize) -> Option<Vec<usize>> {
    let mut changes: Vec<usize> = Vec::new();
    let (mut at, mut is_black, mut is_start) = (0, false, true);
    // Changes above are passed once, but for those that a step to the left brings back.
    let mut next = 0_usize;
    while at < width {
        next = next.saturating_sub(2);
        // The next change above from this colour to the other one.
        while next % 2 != usize::from(is_black)
            || above.get(next).is_some_and(|change| *change < at || *change == at && !is_start)
        {
            next += 1;
        }
        let change = |index: usize| above.get(index).copied().unwrap_or(width);
        match mode::decode(source)? {
            Mode::Pass => at = change(next + 1),
            Mode::Vertical(by) => {
                at = change(next).checked_add_signed(isize::from(by))?.max(at);
                is_black = !is_black;
                if at < width {
                    changes.push(at);
                }
            }
            Mode::Horizontal => {
                for is_black in [is_black, !is_black] {
                    at += source.run(is_black)?;
                    if at < width {
                        changes.push(at);
                    }
                }
            }
            Mode::EOF | Mode::Extension => return None,
        }
        is_start = false;
    }
    Some(changes)
}
