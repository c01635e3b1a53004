//! The device and libtorch's own state. In: a device's name. Out: a [`Device`] that is there. Never falls back in silence:
//! a CUDA device asked for by name and not found is an error.

use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tch::{Cuda, Device};

/// The device named `cpu`, `cuda`, `cuda:N` or `auto` (a CUDA device, else the CPU). Where no number says which, it is that of the
/// process's `local_rank`.
///
/// # Errors
/// Another name, or a CUDA device that is not there.
pub fn device(name: &str, local_rank: usize) -> Result<Device> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "auto" if !has_nvidia_driver() => return Ok(Device::Cpu),
        "auto" => {
            load_cuda()?;
            if !Cuda::is_available() {
                return Ok(Device::Cpu);
            }
            local_rank
        }
        "cuda" => local_rank,
        other => match other.strip_prefix("cuda:").and_then(|index| index.parse().ok()) {
            Some(index) => index,
            None => bail!("train.device: expected cpu, cuda, cuda:N or auto, found `{other}`"),
        },
    };
    load_cuda()?;
    let count = if Cuda::is_available() { Cuda::device_count() } else { 0 };
    if index as i64 >= count {
        bail!(
            "train.device: expected one of {count} CUDA devices, found `{name}`, number {index}\n\
             hint: train.device = \"auto\" takes what there is, one for each rank of a machine"
        );
    }
    Ok(Device::Cuda(index))
}

/// How libtorch's threads wait for each other (OpenMP's name for it).
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";

/// Makes libtorch's threads sleep while they wait, by re-executing this program with `OMP_WAIT_POLICY=passive`, unless the
/// variable is set: OpenMP reads it before `main`. Its default is to spin, and one other busy process then makes a step ten
/// times slower, because threads burn the time slices that the thread they wait for would need.
///
/// # Errors
/// The program cannot be re-executed; otherwise it returns only if there was nothing to do.
pub fn use_passive_wait_policy() -> Result<()> {
    if std::env::var_os(WAIT_POLICY).is_some() {
        return Ok(());
    }
    let program = std::env::current_exe().context("this program's path")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(WAIT_POLICY, "passive");
    Err(command.exec()).context("re-executing with OMP_WAIT_POLICY=passive")
}

/// Makes the C library keep freed memory for the next tensor. Its default gives blocks above 128 KiB to 32 MiB back to the kernel at
/// once; a step frees and allocates gigabytes of activations, and the kernel clears each page again: a tenth of its time.
pub fn keep_freed_memory() {
    const ALL: libc::c_int = libc::c_int::MAX;
    // SAFETY: mallopt sets numbers of the allocator; it is called before there are other threads.
    #[expect(unsafe_code, reason = "mallopt has no safe form")]
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, ALL);
    }
}

/// Sets libtorch's threads; 0 leaves its own choice.
pub fn set_threads(threads: usize) {
    if threads > 0 {
        tch::set_num_threads(threads as i32);
    }
}

fn has_nvidia_driver() -> bool {
    ["/dev/nvidiactl", "/dev/dxg"].iter().any(|path| Path::new(path).exists())
}

/// Loads `libtorch_cuda.so` from beside `libtorch_cpu.so`: nothing in this program refers to it, so the linker dropped it,
/// and without it libtorch believes there is no CUDA. A libtorch built without CUDA does not have the file.
fn load_cuda() -> Result<()> {
    let Some(path) = libtorch_folder()?
        .map(|folder| folder.join("libtorch_cuda.so"))
        .filter(|path| path.exists())
    else {
        return Ok(());
    };
    let name = CString::new(path.as_os_str().as_encoded_bytes()).context("libtorch's path")?;
    // SAFETY: `name` is a C string that outlives the call. The library's constructors register its kernels, which is what
    // it is loaded for; it is never closed.
    #[expect(unsafe_code, reason = "loading a library has no safe form")]
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        // SAFETY: dlerror gives null or a C string that stays valid until this thread's next call of the dl family.
        #[expect(unsafe_code, reason = "the reason dlopen failed")]
        let reason = unsafe {
            let text = libc::dlerror();
            if text.is_null() {
                "no reason given".into()
            } else {
                std::ffi::CStr::from_ptr(text).to_string_lossy()
            }
        };
        bail!("loading {}: {reason}", path.display());
    }
    Ok(())
}

/// The folder `libtorch_cpu.so` was loaded from, as the kernel lists it.
fn libtorch_folder() -> Result<Option<PathBuf>> {
    let maps = std::fs::read_to_string("/proc/self/maps").context("reading /proc/self/maps")?;
    let library = maps.lines().find_map(|line| {
        let path = Path::new(&line[line.find('/')?..]);
        (path.file_name()? == "libtorch_cpu.so").then(|| path.to_owned())
    });
    Ok(library.and_then(|path| Some(path.parent()?.to_owned())))
}
