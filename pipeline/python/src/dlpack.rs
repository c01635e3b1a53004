//! Arrays of a lent batch, by DLPack: memory that torch, numpy and others use as it is. In: a batch, and which part of it. Out:
//! capsules. Never copies; the batch goes back to its stream when it and the last array of it are freed, on whatever thread.
//!
//! The structs are those of `dlpack.h`, version 1.0 and the one before it, which older packages ask for.

#![expect(unsafe_code, reason = "DLPack hands over pointers, and a function that frees them")]

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use tuwen_stream::{Batch, Stream};

use crate::home::Home;
use crate::page_lock::Spares;

/// `kDLCPU`; page-locked memory too, which the packages find out themselves.
const CPU: (i32, i32) = (1, 0);

/// A batch that Python has, with the mask of its tokens.
pub(crate) struct Lent {
    stream: Stream,
    spares: Arc<Spares>,
    /// Whether the readers have a spare batch for this one, which is a spare one then.
    is_replaced: AtomicBool,
    batch: Batch,
    pixels: NonNull<u8>,
    labels: NonNull<i64>,
    mask: NonNull<i64>,
    /// Behind the pointer `mask`.
    _mask: Vec<i64>,
    home: Home,
}

// SAFETY: the pointers are into vectors that this struct owns and never touches; who is given one through an array
// synchronises as with any array of Python.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl Lent {
    /// Takes a batch of `stream`, which has `spares`.
    pub(crate) fn new(stream: Stream, spares: Arc<Spares>, mut batch: Batch) -> Self {
        let width = batch.width_tokens;
        let mut mask = vec![0_i64; batch.len() * width];
        if width > 0 {
            for (row, &length) in mask.chunks_exact_mut(width).zip(&batch.lengths) {
                row[..length as usize].fill(1);
            }
        }
        let pointer = |vector: &mut Vec<i64>| {
            NonNull::new(vector.as_mut_ptr()).expect("a vector's pointer is never null")
        };
        Self {
            pixels: NonNull::new(batch.pixels.as_mut_ptr()).expect("as above"),
            labels: pointer(&mut batch.input_ids),
            mask: pointer(&mut mask),
            _mask: mask,
            home: Home::this(),
            stream,
            spares,
            is_replaced: AtomicBool::new(false),
            batch,
        }
    }

    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    pub(crate) fn is_page_locked(&self) -> bool {
        self.spares.is_page_locked(self.pixels.as_ptr() as usize)
    }

    /// Gives the readers a spare batch for this one, which is not theirs yet; once, and if there is one.
    pub(crate) fn replace(&self) {
        if let Some(spare) = self.spares.take() {
            self.is_replaced.store(true, Ordering::Relaxed);
            self.stream.lend(spare);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !self.home.is_here() {
            // In a forked process the stream has no readers; page-locked memory is the first one's.
            std::mem::forget((self.stream.clone(), batch));
        } else if *self.is_replaced.get_mut() {
            self.spares.give(batch);
        } else {
            self.stream.lend(batch);
        }
    }
}

/// One array of a batch: `torch.from_dlpack` and `numpy.from_dlpack` take it.
#[pyclass(frozen, module = "tuwen._tuwen")]
pub(crate) struct Array {
    lent: Arc<Lent>,
    data: NonNull<c_void>,
    dtype: DataType,
    shape: Vec<i64>,
    /// In elements.
    strides: Vec<i64>,
}

// SAFETY: `data` is into `lent`, which is kept alive and is Send and Sync.
unsafe impl Send for Array {}
// SAFETY: as above.
unsafe impl Sync for Array {}

impl Array {
    /// Pixels, `[b, s, s, 3]`; with `channels_first` seen as `[b, 3, s, s]`, where they lie.
    pub(crate) fn pixels(lent: &Arc<Lent>, size_px: usize, channels_first: bool) -> Self {
        let (b, s) = (lent.batch.len() as i64, size_px as i64);
        let (shape, strides) = match channels_first {
            false => (vec![b, s, s, 3], vec![s * s * 3, s * 3, 3, 1]),
            true => (vec![b, 3, s, s], vec![s * s * 3, 1, s * 3, 3]),
        };
        let data = lent.pixels.cast();
        Self { lent: Arc::clone(lent), data, dtype: DataType::U8, shape, strides }
    }

    /// Token ids, `[b, t]`.
    pub(crate) fn labels(lent: &Arc<Lent>) -> Self {
        Self::tokens(lent, lent.labels)
    }

    /// 1 where there is a token, `[b, t]`.
    pub(crate) fn mask(lent: &Arc<Lent>) -> Self {
        Self::tokens(lent, lent.mask)
    }

    fn tokens(lent: &Arc<Lent>, data: NonNull<i64>) -> Self {
        let (b, t) = (lent.batch.len() as i64, lent.batch.width_tokens as i64);
        let (shape, strides) = (vec![b, t], vec![t, 1]);
        Self { lent: Arc::clone(lent), data: data.cast(), dtype: DataType::I64, shape, strides }
    }
}

#[pymethods]
impl Array {
    /// The capsule. Other devices, streams and copies are not for memory of the host: the arguments are as the protocol has them.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__(
        &self,
        py: Python<'_>,
        stream: Option<Py<PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Py<PyAny>> {
        let _ = stream;
        if copy == Some(true) || dl_device.is_some_and(|device| device != CPU) {
            let words = "the arrays of a batch are the host's and are not copied: copy the tensor";
            return Err(pyo3::exceptions::PyBufferError::new_err(words));
        }
        match max_version {
            Some((1.., _)) => capsule(py, Versioned::of(self)),
            _ => capsule(py, Unversioned::of(self)),
        }
    }

    fn __dlpack_device__(&self) -> (i32, i32) {
        CPU
    }

    /// The lengths of its axes.
    #[getter]
    fn shape(&self) -> Vec<i64> {
        self.shape.clone()
    }

    /// Where it lies.
    #[getter]
    fn address(&self) -> usize {
        self.data.as_ptr() as usize
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct DataType {
    /// 0: signed, 1: unsigned integers.
    code: u8,
    bits: u8,
    lanes: u16,
}

impl DataType {
    const U8: Self = Self { code: 1, bits: 8, lanes: 1 };
    const I64: Self = Self { code: 0, bits: 64, lanes: 1 };
}

#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device: [i32; 2],
    ndim: i32,
    dtype: DataType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

/// `DLManagedTensor`.
#[repr(C)]
struct Unversioned {
    tensor: Tensor,
    context: *mut c_void,
    deleter: unsafe extern "C" fn(*mut Self),
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
struct Versioned {
    version: [u32; 2],
    context: *mut c_void,
    deleter: unsafe extern "C" fn(*mut Self),
    /// None is set: the memory may be written to, and is no copy.
    flags: u64,
    tensor: Tensor,
}

/// A struct that a capsule holds, and the capsule's name until someone has taken it.
trait Managed: Sized {
    const NAME: &'static CStr;
}

impl Managed for Unversioned {
    const NAME: &'static CStr = c"dltensor";
}

impl Managed for Versioned {
    const NAME: &'static CStr = c"dltensor_versioned";
}

/// What a managed struct points to.
struct Owned {
    shape: Vec<i64>,
    strides: Vec<i64>,
    _lent: Arc<Lent>,
}

/// A managed struct first, so that a pointer to it is one to the whole.
#[repr(C)]
struct Exported<T> {
    head: T,
    owned: Owned,
}

impl Array {
    /// The tensor, which is valid as long as what it points to.
    fn tensor(&self) -> (Tensor, Owned) {
        let mut owned = Owned {
            shape: self.shape.clone(),
            strides: self.strides.clone(),
            _lent: Arc::clone(&self.lent),
        };
        let tensor = Tensor {
            data: self.data.as_ptr(),
            device: [CPU.0, CPU.1],
            ndim: owned.shape.len() as i32,
            dtype: self.dtype,
            shape: owned.shape.as_mut_ptr(),
            strides: owned.strides.as_mut_ptr(),
            byte_offset: 0,
        };
        (tensor, owned)
    }
}

impl Unversioned {
    fn of(array: &Array) -> Exported<Self> {
        let (tensor, owned) = array.tensor();
        let head = Self { tensor, context: std::ptr::null_mut(), deleter: delete::<Self> };
        Exported { head, owned }
    }
}

impl Versioned {
    fn of(array: &Array) -> Exported<Self> {
        let (tensor, owned) = array.tensor();
        let context = std::ptr::null_mut();
        let head = Self { version: [1, 0], context, deleter: delete::<Self>, flags: 0, tensor };
        Exported { head, owned }
    }
}

/// Frees what a managed struct stands in.
///
/// # Safety
/// `head` is that of an `Exported<T>` that was boxed by [`capsule`], and is given once.
unsafe extern "C" fn delete<T>(head: *mut T) {
    // SAFETY: as above; the head is at the address of the whole.
    drop(unsafe { Box::from_raw(head.cast::<Exported<T>>()) });
}

/// Frees what is in a capsule if nobody took it: who takes it gives it another name.
unsafe extern "C" fn destroy<T: Managed>(capsule: *mut ffi::PyObject) {
    // SAFETY: Python calls this with the capsule whose destructor it is, and holds its lock.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, T::NAME.as_ptr()) == 1 {
            let head = ffi::PyCapsule_GetPointer(capsule, T::NAME.as_ptr());
            delete::<T>(head.cast());
        }
    }
}

fn capsule<T: Managed>(py: Python<'_>, exported: Exported<T>) -> PyResult<Py<PyAny>> {
    let head = Box::into_raw(Box::new(exported));
    // SAFETY: the pointer is valid until `delete`, and the name is static; a new reference or an exception comes back.
    unsafe {
        let capsule = ffi::PyCapsule_New(head.cast(), T::NAME.as_ptr(), Some(destroy::<T>));
        Bound::from_owned_ptr_or_err(py, capsule).map(Bound::unbind).inspect_err(|_| {
            delete::<T>(head.cast());
        })
    }
}
