//! AV1 by rav1d (as the crate `re_rav1d` has it), the Rust port of dav1d, which PIL's libavif uses. In: the data of one picture. Out:
//! its planes, as decoded. Works on one thread, which is lost where rav1d panics; never prints; a picture of more pixels than allowed is
//! none.

#![expect(unsafe_code, reason = "the wrapper that the crate has prints what it finds wrong")]

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use re_rav1d::include::dav1d::data::Dav1dData;
use re_rav1d::include::dav1d::dav1d::{Dav1dContext, Dav1dLogger, Dav1dSettings};
use re_rav1d::include::dav1d::headers::{
    DAV1D_PIXEL_LAYOUT_I400, DAV1D_PIXEL_LAYOUT_I420, DAV1D_PIXEL_LAYOUT_I422,
};
use re_rav1d::include::dav1d::picture::Dav1dPicture;
use re_rav1d::src::lib::{
    dav1d_close, dav1d_data_create, dav1d_data_unref, dav1d_default_settings, dav1d_get_picture,
    dav1d_open, dav1d_picture_unref, dav1d_send_data,
};

use super::super::reject;
use super::yuv::{Layout, Planes};
use crate::image::{RejectReason, Rejected};
use crate::panics::apart;

/// Frames beyond which the data of one picture are an attack: it has one, or one a layer, and may be predicted from some hidden ones.
const MAX_FRAMES: usize = 64;

/// What rav1d answers when it wants more data, or has no picture yet: -EAGAIN.
const AGAIN: i32 = -libc::EAGAIN;

struct Decoder(Option<Dav1dContext>);

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context is from `dav1d_open`, and is closed once.
        unsafe { dav1d_close(Some(NonNull::from(&mut self.0))) };
    }
}

struct Data(Dav1dData);

impl Drop for Data {
    fn drop(&mut self) {
        // SAFETY: `dav1d_data_create` made it; what was sent is no longer in it.
        unsafe { dav1d_data_unref(Some(NonNull::from(&mut self.0))) };
    }
}

struct Picture(Dav1dPicture);

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: `dav1d_get_picture` filled it in; an empty one is left as it is.
        unsafe { dav1d_picture_unref(Some(NonNull::from(&mut self.0))) };
    }
}

fn corrupt(detail: &str, code: i32) -> Rejected {
    reject::corrupt(format!("AV1: {detail} ({code})"))
}

/// Decodes the highest layer of one picture, whose `data` lie in parts.
///
/// # Errors
/// The data are no AV1, or their picture has more than `max_px` pixels.
pub(super) fn decode(data: &[&[u8]], operating_point: u8, max_px: u32) -> Result<Planes, Rejected> {
    let data = data.concat();
    if frames(&data).take(MAX_FRAMES + 1).count() > MAX_FRAMES {
        return Err(reject::corrupt(format!("AV1: more than {MAX_FRAMES} frames in a picture")));
    }
    apart(move || decode_here(&data, operating_point, max_px)).map_err(reject::corrupt)?
}

/// The headers of frames in `data` (AV1 Bitstream & Decoding Process Specification, 5.3: open bitstream units), as far as it can be read.
fn frames(data: &[u8]) -> impl Iterator<Item = ()> {
    const FRAME_HEADER: u8 = 3;
    const FRAME: u8 = 6;
    let mut rest = data;
    let units = std::iter::from_fn(move || {
        let (head, body) = rest.split_first()?;
        let (has_extension, has_size) = (head & 4 != 0, head & 2 != 0);
        let mut body = body.get(usize::from(has_extension)..)?;
        let mut length = body.len();
        if has_size {
            length = 0;
            for shift in (0..56).step_by(7) {
                let (byte, after) = body.split_first()?;
                length |= usize::from(byte & 0x7f) << shift;
                body = after;
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        rest = body.get(length..).unwrap_or_default();
        Some(head >> 3 & 0xf)
    });
    units.filter(|kind| matches!(*kind, FRAME_HEADER | FRAME)).map(drop)
}

fn decode_here(data: &[u8], operating_point: u8, max_px: u32) -> Result<Planes, Rejected> {
    let decoder = open(operating_point, max_px)?;
    let mut sent = wrapped(data)?;
    let mut picture = Picture(Dav1dPicture::default());
    loop {
        if sent.0.data.is_some() {
            // SAFETY: both are what the functions of rav1d above made, and nobody else has them.
            let code = unsafe { dav1d_send_data(decoder.0, Some(NonNull::from(&mut sent.0))) }.0;
            if code < 0 && code != AGAIN {
                return Err(corrupt("the data are refused", code));
            }
        }
        // SAFETY: as above; the picture is empty, for each earlier try failed.
        let code = unsafe { dav1d_get_picture(decoder.0, Some(NonNull::from(&mut picture.0))) }.0;
        match code {
            0 => return planes(&picture.0),
            AGAIN if sent.0.data.is_some() => {}
            AGAIN => {
                return Err(reject::truncated("AV1: the data hold no whole picture"));
            }
            code => return Err(corrupt("the picture cannot be decoded", code)),
        }
    }
}

fn open(operating_point: u8, max_px: u32) -> Result<Decoder, Rejected> {
    let mut settings = MaybeUninit::<Dav1dSettings>::uninit();
    // SAFETY: the function writes to all of it before anything reads it.
    let mut settings = unsafe {
        dav1d_default_settings(NonNull::from(&mut settings).cast());
        settings.assume_init()
    };
    settings.n_threads = 1;
    settings.max_frame_delay = 1;
    settings.frame_size_limit = max_px;
    settings.operating_point = i32::from(operating_point);
    settings.all_layers = 0;
    // SAFETY: no callback is ever called.
    settings.logger = unsafe { Dav1dLogger::new(None, None) };
    let mut decoder = Decoder(None);
    // SAFETY: both are valid, and the settings are copied.
    let code = unsafe {
        dav1d_open(Some(NonNull::from(&mut decoder.0)), Some(NonNull::from(&mut settings)))
    };
    if code.0 < 0 { Err(corrupt("no decoder", code.0)) } else { Ok(decoder) }
}

/// A copy, for rav1d keeps data as long as it likes.
fn wrapped(bytes: &[u8]) -> Result<Data, Rejected> {
    if bytes.is_empty() {
        return Err(reject::truncated("AV1: no data"));
    }
    let mut data = Data(Dav1dData::default());
    // SAFETY: the data are empty before.
    let room = unsafe { dav1d_data_create(Some(NonNull::from(&mut data.0)), bytes.len()) };
    if room.is_null() {
        return Err(Rejected::new(RejectReason::OutOfMemory, "AV1: no memory for the data"));
    }
    // SAFETY: there is room for as many bytes, and nobody else knows of it yet.
    unsafe { room.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Ok(data)
}

fn planes(picture: &Dav1dPicture) -> Result<Planes, Rejected> {
    let (width, height) = (picture.p.w as usize, picture.p.h as usize);
    let layout = match picture.p.layout {
        DAV1D_PIXEL_LAYOUT_I400 => Layout::Grey,
        DAV1D_PIXEL_LAYOUT_I420 => Layout::Half,
        DAV1D_PIXEL_LAYOUT_I422 => Layout::HalfWidth,
        _ => Layout::Full,
    };
    let bits = picture.p.bpc as u32;
    // SAFETY: a decoded picture has its sequence header, which lives as long.
    let sequence = unsafe { picture.seq_hdr.ok_or_else(|| corrupt("no header", 0))?.as_ref() };
    let mut out = Planes::new(width, height, layout, bits);
    out.matrix = sequence.mtrx as u16;
    out.primaries = sequence.pri as u16;
    out.is_full = sequence.color_range != 0;
    for plane in 0..out.samples.len() {
        let (columns, rows) = out.size(plane);
        let data = picture.data[plane].ok_or_else(|| corrupt("no plane", 0))?;
        let stride_bytes = picture.stride[usize::from(plane > 0)];
        for (y, line) in out.samples[plane].chunks_exact_mut(columns).enumerate().take(rows) {
            // SAFETY: a plane has `rows` lines `stride_bytes` apart, each of `columns` samples or more: one byte each with 8 bits,
            // else two, aligned as rav1d allocates them.
            unsafe {
                let start = data.as_ptr().byte_offset(stride_bytes * y as isize);
                if bits == 8 {
                    let samples = std::slice::from_raw_parts(start.cast::<u8>(), columns);
                    line.iter_mut().zip(samples).for_each(|(out, level)| *out = u16::from(*level));
                } else {
                    line.copy_from_slice(std::slice::from_raw_parts(start.cast::<u16>(), columns));
                }
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_and_many_are_none_of_a_picture() {
        // A temporal delimiter, a sequence header of 3 bytes, a frame of 300 bytes with an extension, a frame header without a size.
        let length = [0xac, 0x02];
        let data =
            [&[0x12, 0][..], &[0x0a, 3, 1, 2, 3], &[0x36, 0], &length, &[0; 300], &[0x18, 1]];
        assert_eq!(frames(&data.concat()).count(), 2);
        assert_eq!(frames(&[0x32, 0xff]).count(), 0);
        let many = [0x32, 1, 0].repeat(MAX_FRAMES + 1);
        let refused = decode(&[&many], 0, 1000).err().unwrap();
        assert_eq!(refused.reason, RejectReason::Corrupt);
        assert!(refused.detail.contains("more than 64 frames"), "{}", refused.detail);
    }
}
