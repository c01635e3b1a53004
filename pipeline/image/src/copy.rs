//! Copies of whole pictures into a batch. In: bytes of a mapped file. Out: the same bytes in the batch's buffer, by stores that
//! go round the caches where the processor has them. Never decides where the bytes lie.

/// Copies `from` to `to`, which are equally long.
///
/// A batch is far larger than the caches near a core, so a usual copy reads every line of the target before it overwrites
/// it, and throws the caches' contents out. Streaming stores do neither: 1.8 times as fast as `memcpy` for 64 pictures of
/// 224 px a batch (69,000 against 39,000 images/s on a 2-core EPYC under load).
///
/// # Safety
/// Nothing, not even this thread, touches `to` again before this thread has called [`finish`]: streaming stores keep no order
/// with other reads and writes.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "streaming stores exist as intrinsics on raw pointers only")]
pub unsafe fn stream(from: &[u8], to: &mut [u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};

    /// One cache line: four stores fill a write-combining buffer.
    const LINE_BYTES: usize = 64;

    /// Places at which a copy goes on at once. A processor reads ahead only within a page, so one place alone waits at
    /// every page's beginning; eight hide it (107,000 images/s with one place, 122,000 with four, 125,000 with eight, for one
    /// thread that does nothing else).
    const PLACES: usize = 8;

    assert_eq!(from.len(), to.len(), "source and target of a copy");
    let head = to.as_ptr().align_offset(LINE_BYTES).min(to.len());
    let stretch = (to.len() - head) / (PLACES * LINE_BYTES) * LINE_BYTES;
    let body = PLACES * stretch;
    to[..head].copy_from_slice(&from[..head]);
    let source = from[head..head + body].as_ptr();
    let target = to[head..head + body].as_mut_ptr();
    for line in (0..stretch).step_by(LINE_BYTES) {
        for place in 0..PLACES {
            let at = place * stretch + line;
            // SAFETY: the line `at..at + 64` lies within the `body` bytes of both slices, which do not overlap, because `to`
            // is borrowed mutably. `target` is aligned to 64 bytes and `at` is a multiple of 64, as the store demands; the
            // load has no such demand. SSE2 is part of x86-64. The caller has `finish` called before anything else touches `to`.
            unsafe {
                let (source, target) = (source.add(at).cast(), target.add(at).cast());
                let a: __m128i = _mm_loadu_si128(source);
                let b = _mm_loadu_si128(source.add(1));
                let c = _mm_loadu_si128(source.add(2));
                let d = _mm_loadu_si128(source.add(3));
                _mm_stream_si128(target, a);
                _mm_stream_si128(target.add(1), b);
                _mm_stream_si128(target.add(2), c);
                _mm_stream_si128(target.add(3), d);
            }
        }
    }
    to[head + body..].copy_from_slice(&from[head + body..]);
}

/// Begins to bring the line of `byte` near, which is to be read soon, and does not wait for it.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the hint exists as an intrinsic on raw pointers only")]
pub fn prefetch(byte: &u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    // SAFETY: a hint changes nothing but caches, and SSE is part of x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast()) }
}

/// Orders all streaming stores of this thread before whatever it does next, such as handing the batch over.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the fence exists as an intrinsic only")]
pub fn finish() {
    // SAFETY: a store fence touches no memory of its own, and SSE is part of x86-64.
    unsafe { std::arch::x86_64::_mm_sfence() }
}

/// Copies `from` to `to`, which are equally long.
///
/// # Safety
/// As where there are streaming stores: nothing touches `to` again before this thread has called [`finish`].
#[cfg(not(target_arch = "x86_64"))]
#[expect(unsafe_code, reason = "the signature is that of the streaming copy")]
pub unsafe fn stream(from: &[u8], to: &mut [u8]) {
    to.copy_from_slice(from);
}

/// No hint.
#[cfg(not(target_arch = "x86_64"))]
pub fn prefetch(_: &u8) {}

/// Nothing to order: the copies are usual stores.
#[cfg(not(target_arch = "x86_64"))]
pub fn finish() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "a streaming copy is unsafe until it is finished")]
    fn copies_every_length_at_every_alignment() {
        let from: Vec<u8> =
            (0..160_000_u32).map(|i| (i * 7 + i / 256 * 3 + i / 65_536) as u8).collect();
        for length in [0, 1, 63, 64, 65, 511, 512, 575, 1200, 4700, 12_289, 224 * 224 * 3] {
            for (source, target) in [(0, 0), (1, 0), (0, 1), (13, 29), (5, 63), (64, 17)] {
                let mut to = vec![0_u8; 160_000];
                // SAFETY: `to` is not touched before the next line.
                unsafe { stream(&from[source..source + length], &mut to[target..target + length]) };
                finish();
                assert_eq!(
                    to[target..target + length],
                    from[source..source + length],
                    "{length} bytes"
                );
                let touched =
                    to[..target].iter().chain(&to[target + length..]).any(|&byte| byte != 0);
                assert!(!touched, "{length} bytes: something beside the target was written");
            }
        }
    }
}
