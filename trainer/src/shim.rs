//! The functions of libtorch that tch does not have, over `shim.cpp`. In: tensors. Out: changed tensors, or libtorch's own error
//! text. Never keeps a tensor.

#![expect(
    unsafe_code,
    reason = "C functions; each takes pointers to tensors that outlive the call"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::time::Duration;

use anyhow::{Result, bail};
use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn shim_fused_adamw(
        param: *const C_tensor,
        grad: *const C_tensor,
        exp_avg: *const C_tensor,
        exp_avg_sq: *const C_tensor,
        step: *const C_tensor,
        grad_scale: *const C_tensor,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> *mut c_char;
    fn shim_linear(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        y: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn shim_backward(output: *const C_tensor, grad: *const C_tensor) -> *mut c_char;
    fn shim_group_new(
        host: *const c_char,
        port: u16,
        serves: bool,
        prefix: *const c_char,
        rank: c_int,
        world: c_int,
        timeout_ms: i64,
        group: *mut *mut c_void,
    ) -> *mut c_char;
    fn shim_group_free(group: *mut c_void);
    fn shim_group_sum(group: *mut c_void, tensor: *const C_tensor) -> *mut c_char;
    fn shim_group_gather(
        group: *mut c_void,
        all: *const C_tensor,
        own: *const C_tensor,
    ) -> *mut c_char;
}

/// The options of AdamW, as `torch.optim.AdamW` has them.
pub(crate) struct AdamWOptions {
    pub(crate) lr: f64,
    pub(crate) beta1: f64,
    pub(crate) beta2: f64,
    pub(crate) weight_decay: f64,
    pub(crate) eps: f64,
}

/// PyTorch's fused AdamW on tensors of equal shape, f32: changes `param`, both moments and `grad`, which is divided by
/// `grad_scale` first. `step`, from 1, and `grad_scale` are f32 scalars on the device of the others.
///
/// # Errors
/// libtorch's: shapes, kinds or devices that do not fit.
pub(crate) fn fused_adamw(
    param: &Tensor,
    grad: &Tensor,
    (exp_avg, exp_avg_sq): (&Tensor, &Tensor),
    step: &Tensor,
    grad_scale: &Tensor,
    options: &AdamWOptions,
) -> Result<()> {
    // SAFETY: all pointers are of tensors that are borrowed for the call.
    check(unsafe {
        shim_fused_adamw(
            param.as_ptr(),
            grad.as_ptr(),
            exp_avg.as_ptr(),
            exp_avg_sq.as_ptr(),
            step.as_ptr(),
            grad_scale.as_ptr(),
            options.lr,
            options.beta1,
            options.beta2,
            options.weight_decay,
            options.eps,
        )
    })
}

/// y = x Wᵀ + b: x `[…, in]`, W `[out, in]`, b `[out]`, y `[…, out]`; differentiable. In f32 on the CPU by oneDNN, else as
/// `torch::linear`.
///
/// # Panics
/// Shapes, kinds or devices that do not fit, as tch's own layers.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let mut y = std::ptr::null_mut();
    let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: the pointers are of tensors that are borrowed for the call; `y` is written, with a tensor that is ours, if there is
    // no error.
    unsafe {
        check(shim_linear(x.as_ptr(), weight.as_ptr(), bias, &mut y)).expect("a linear layer");
        Tensor::from_ptr(y)
    }
}

/// Backpropagates `grad`, the gradient of the loss with respect to `output`, through the graph of `output`: Python's
/// `output.backward(grad)`.
///
/// # Errors
/// libtorch's.
pub(crate) fn backward(output: &Tensor, grad: &Tensor) -> Result<()> {
    // SAFETY: both pointers are of tensors that are borrowed for the call.
    check(unsafe { shim_backward(output.as_ptr(), grad.as_ptr()) })
}

/// The processes of a run that compute together: c10d's gloo.
pub(crate) struct Group(*mut c_void);

impl Group {
    /// Joins `world` processes, of which this is `rank`, at a store of keys under `prefix`, which this process serves or not; gives
    /// back once all are there.
    ///
    /// # Errors
    /// They are not there in time.
    pub(crate) fn new(
        host: &str,
        port: u16,
        serves: bool,
        prefix: &str,
        rank: usize,
        world: usize,
        timeout: Duration,
    ) -> Result<Self> {
        let (host, prefix) = (CString::new(host)?, CString::new(prefix)?);
        let (rank, world) = (c_int::try_from(rank)?, c_int::try_from(world)?);
        let timeout_ms = i64::try_from(timeout.as_millis())?;
        let mut group = std::ptr::null_mut();
        // SAFETY: the strings outlive the call, and `group` is written only if there is no error.
        check(unsafe {
            let (host, prefix) = (host.as_ptr(), prefix.as_ptr());
            shim_group_new(host, port, serves, prefix, rank, world, timeout_ms, &mut group)
        })?;
        Ok(Self(group))
    }

    /// Sums `tensor`, on the CPU and contiguous, over all ranks, in place.
    ///
    /// # Errors
    /// A rank that ended, or does not come in time.
    pub(crate) fn sum(&self, tensor: &Tensor) -> Result<()> {
        // SAFETY: the group is alive, and the tensor outlives the call, which waits for the sum.
        check(unsafe { shim_group_sum(self.0, tensor.as_ptr()) })
    }

    /// Writes the tensors `own` of all ranks, `[n]` and of equal kind, one after another into `all`, `[world * n]`.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub(crate) fn gather(&self, all: &Tensor, own: &Tensor) -> Result<()> {
        // SAFETY: as in `sum`.
        check(unsafe { shim_group_gather(self.0, all.as_ptr(), own.as_ptr()) })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: made by `shim_group_new`, and not used afterwards.
        unsafe { shim_group_free(self.0) }
    }
}

/// `error` is null or a C string from `malloc`.
fn check(error: *mut c_char) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: by the shim's contract a C string of which this is the only owner.
    let text = unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        libc::free(error.cast::<c_void>());
        text
    };
    bail!("libtorch: {}", text.trim_end())
}
