//! The Python module `tuwen._tuwen`, which the package `tuwen` is written on: what must be Rust, and no more. In: plain values and
//! JSON. Out: arrays and Arrow streams over memory that is not copied, JSON, exceptions with the words of the command line. Never
//! holds the interpreter's lock while it waits, and never imports a package.
//!
//! [`error`] is the exception, [`home`] the process something is of, [`page_lock`] memory that a device reads directly, [`dlpack`] an
//! array of a lent batch, [`stream`] batches, [`corpus`] queries, and [`command`] the stages and the command `tuwen`.

mod command;
mod corpus;
mod dlpack;
mod error;
mod home;
mod page_lock;
mod stream;

use pyo3::prelude::*;

/// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pymodule]
fn _tuwen(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    error::register(module)?;
    module.add_class::<dlpack::Array>()?;
    module.add_class::<stream::RustStream>()?;
    module.add_class::<stream::Epoch>()?;
    module.add_class::<stream::PyBatch>()?;
    module.add_class::<corpus::Corpus>()?;
    module.add_class::<corpus::Query>()?;
    module.add_function(wrap_pyfunction!(command::main, module)?)?;
    module.add_function(wrap_pyfunction!(command::stages, module)?)?;
    Ok(())
}
