//! Page-locked batches, from which a CUDA device copies while the program goes on. In: the addresses of the two functions of the CUDA
//! runtime that Python has loaded. Out: all batches of a stream, and some to spare, registered with it, each until its memory is freed.
//! Never links CUDA.

#![expect(unsafe_code, reason = "functions of a library that only Python has loaded")]

use std::collections::BTreeSet;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};
use tuwen_stream::{Batch, MemoryGuard, Stream};

use crate::home::Home;

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

/// Page-locked batches that the readers get in place of those that the loop has let go of, and a device may still copy from.
pub(crate) struct Spares {
    locked: Mutex<Locked>,
    home: Home,
}

#[derive(Default)]
struct Locked {
    batches: Vec<Batch>,
    /// Where the pixels of all page-locked batches lie.
    addresses: BTreeSet<usize>,
}

impl Spares {
    pub(crate) fn new() -> Self {
        Self { locked: Mutex::default(), home: Home::this() }
    }

    /// Whether page-locked pixels lie there.
    pub(crate) fn is_page_locked(&self, address: usize) -> bool {
        self.lock().addresses.contains(&address)
    }

    pub(crate) fn take(&self) -> Option<Batch> {
        self.lock().batches.pop()
    }

    pub(crate) fn give(&self, batch: Batch) {
        self.lock().batches.push(batch);
    }

    fn lock(&self) -> MutexGuard<'_, Locked> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // The memory is page-locked in the process from which this one was forked.
            std::mem::forget(std::mem::take(&mut self.lock().batches));
        }
    }
}

/// Lends `stream` all the batches it needs, of `pixel_bytes` each, in page-locked memory, and keeps `n_spares` more.
///
/// # Errors
/// CUDA cannot register the memory; what was registered by then stays lent.
///
/// # Safety
/// The addresses are those of `cudaHostRegister` and `cudaHostUnregister`, or of functions like them, in a library that stays loaded.
pub(crate) unsafe fn lend_page_locked(
    stream: &Stream,
    spares: &Spares,
    n_spares: usize,
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
    for number in 0..stream.n_buffers() + n_spares {
        // Written to here, so that the pages are there.
        let mut pixels = vec![1_u8; pixel_bytes];
        let pointer: *mut c_void = pixels.as_mut_ptr().cast();
        // SAFETY: the memory is this vector's, which the guard outlives by nothing.
        let code = unsafe { register(pointer, pixel_bytes, PORTABLE) };
        ensure!(code == 0, "cudaHostRegister of {pixel_bytes} bytes: error {code}");
        let guard = MemoryGuard::new(PageLocked { address: pointer as usize, unregister });
        let batch = Batch { guard, pixels, ..Batch::default() };
        spares.lock().addresses.insert(pointer as usize);
        if number < n_spares {
            spares.give(batch);
        } else {
            stream.lend(batch);
        }
    }
    Ok(())
}
