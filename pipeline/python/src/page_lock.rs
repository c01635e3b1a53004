//! Page-locked batches, from which a CUDA device copies while the program goes on. In: the addresses of the two functions of the CUDA
//! runtime that Python has loaded. Out: all batches of a stream, registered with it, each until its memory is freed. Never links CUDA.

#![expect(unsafe_code, reason = "functions of a library that only Python has loaded")]

use std::ffi::{c_int, c_uint, c_void};

use anyhow::{Result, ensure};
use tuwen_stream::{Batch, MemoryGuard, Stream};

/// `cudaHostRegister(pointer, bytes, flags)`.
type Register = unsafe extern "C" fn(*mut c_void, usize, c_uint) -> c_int;

/// `cudaHostUnregister(pointer)`.
type Unregister = unsafe extern "C" fn(*mut c_void) -> c_int;

/// `cudaHostRegisterPortable`: for the devices of all contexts.
const PORTABLE: c_uint = 1;

/// Memory that is page-locked until this is dropped.
struct PageLocked {
    address: usize,
    unregister: Unregister,
}

impl Drop for PageLocked {
    fn drop(&mut self) {
        // SAFETY: the memory was registered, and is freed after this. At the end of the process CUDA may be gone already, and says so.
        let _ = unsafe { (self.unregister)(self.address as *mut c_void) };
    }
}

/// Lends `stream` all the batches it needs, of `pixel_bytes` each, in page-locked memory.
///
/// # Errors
/// CUDA cannot register the memory; what was registered by then stays lent.
///
/// # Safety
/// The addresses are those of `cudaHostRegister` and `cudaHostUnregister`, or of functions like them, in a library that stays loaded.
pub(crate) unsafe fn lend_page_locked(
    stream: &Stream,
    pixel_bytes: usize,
    register: usize,
    unregister: usize,
) -> Result<()> {
    ensure!(register != 0 && unregister != 0, "expected the functions of the CUDA runtime");
    // SAFETY: the caller's promise.
    let (register, unregister) = unsafe {
        (
            std::mem::transmute::<usize, Register>(register),
            std::mem::transmute::<usize, Unregister>(unregister),
        )
    };
    for _ in 0..stream.n_buffers() {
        // Written to here, so that the pages are there.
        let mut pixels = vec![1_u8; pixel_bytes];
        let pointer: *mut c_void = pixels.as_mut_ptr().cast();
        // SAFETY: the memory is this vector's, which the guard outlives by nothing.
        let code = unsafe { register(pointer, pixel_bytes, PORTABLE) };
        ensure!(code == 0, "cudaHostRegister of {pixel_bytes} bytes: error {code}");
        let guard = MemoryGuard::new(PageLocked { address: pointer as usize, unregister });
        stream.lend(Batch { guard, pixels, ..Batch::default() });
    }
    Ok(())
}
