//! The stream for Python. In: options and states as JSON. Out: batches whose arrays are the readers' own memory. Never decides
//! which epoch comes next: that is `_stream.py`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use pyo3::prelude::*;
use serde_json::json;
use tuwen_stream::{
    Batch, Batches, ReadPath, Share, Skipped, Stream, StreamOptions, StreamState, WaitStats,
};

use crate::dlpack::{Array, Lent};
use crate::error::exception;
use crate::home::{Home, LOOK_EVERY, start_threads};
use crate::page_lock::{Spares, lend_page_locked};

/// Who waited for whom, in all epochs that ended.
#[derive(Default)]
struct Waited {
    stats: WaitStats,
    /// In which a device could have worked.
    elapsed: Duration,
}

/// A corpus with its selection, opened.
#[pyclass(frozen, name = "Stream", module = "tuwen._tuwen")]
pub(crate) struct RustStream {
    stream: Stream,
    spares: Arc<Spares>,
    options: StreamOptions,
    waited: Arc<Mutex<Waited>>,
    home: Home,
}

impl Drop for RustStream {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // Its threads are those of the process from which this one was forked.
            std::mem::forget(self.stream.clone());
        }
    }
}

#[pymethods]
impl RustStream {
    #[new]
    fn new(py: Python<'_>, corpus: &str, options: &str, read_path: &str) -> PyResult<Self> {
        let open = || -> anyhow::Result<Self> {
            start_threads()?;
            let options: StreamOptions = serde_json::from_str(options)?;
            let read_path: ReadPath = serde_json::from_value(json!(read_path))
                .with_context(|| format!("stream option `read_path`: found `{read_path}`"))?;
            let stream = Stream::open_by(corpus, options.clone(), read_path)
                .with_context(|| format!("corpus {corpus}"))?;
            let spares = Arc::new(Spares::new());
            Ok(Self { stream, spares, options, waited: Arc::default(), home: Home::this() })
        };
        py.detach(open).map_err(|error| exception(&error))
    }

    /// Examples of all ranks.
    #[getter]
    fn n_examples(&self) -> usize {
        self.stream.len()
    }

    /// Batches of this rank in an epoch.
    #[getter]
    fn n_batches(&self) -> usize {
        self.stream.batches_per_epoch()
    }

    /// Side of the pictures.
    #[getter]
    fn size_px(&self) -> usize {
        self.stream.size_px()
    }

    /// Files that could not be opened, and why.
    #[getter]
    fn unreadable(&self) -> Vec<String> {
        self.stream.unreadable().to_vec()
    }

    /// What a checkpoint keeps, as JSON.
    fn state(&self, epoch: u64, position: u64) -> PyResult<String> {
        let state = self.stream.state(epoch, position);
        serde_json::to_string(&state).map_err(|error| exception(&error.into()))
    }

    /// The rest of the epoch of a state: batches `first`, `first + of`, … of it.
    fn epoch(&self, py: Python<'_>, state: &str, first: usize, of: usize) -> PyResult<Epoch> {
        let start = || -> anyhow::Result<Batches> {
            let state: StreamState = serde_json::from_str(state)
                .with_context(|| format!("expected a state of a stream, found `{state}`"))?;
            self.stream.resume_share(&state, Share { first, of: of.max(1) })
        };
        let batches = py.detach(start).map_err(|error| exception(&error))?;
        let running = Running { batches, began: None };
        Ok(Epoch {
            stream: self.stream.clone(),
            spares: Arc::clone(&self.spares),
            running: Mutex::new(Some(running)),
            waited: Arc::clone(&self.waited),
            home: Home::this(),
        })
    }

    /// Fails if a state is of another stream.
    fn check(&self, state: &str) -> PyResult<()> {
        let checked = || -> anyhow::Result<()> {
            let state: StreamState = serde_json::from_str(state)
                .with_context(|| format!("expected a state of a stream, found `{state}`"))?;
            self.stream.check(&state)
        };
        checked().map_err(|error| exception(&error))
    }

    /// The advice that the trainer prints, and the times behind it as JSON; `epoch` is one that goes on.
    fn wait(&self, epoch: Option<&Epoch>) -> (String, String) {
        let mut stats = lock(&self.waited).stats;
        let mut elapsed = lock(&self.waited).elapsed;
        if let Some(epoch) = epoch
            && let Some(running) = &*lock(&epoch.running)
        {
            stats += running.batches.wait();
            elapsed += running.elapsed();
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let advice = stats.advice(elapsed, self.options.readers, self.options.prefetch, cores);
        let times =
            json!({ "elapsed_s": elapsed.as_secs_f64(), "batches": stats.batches, "times": stats });
        (advice, times.to_string())
    }

    /// Puts all batches into page-locked memory, by two functions of the CUDA runtime, and `n_spares` more.
    fn page_lock(
        &self,
        py: Python<'_>,
        register: usize,
        unregister: usize,
        n_spares: usize,
    ) -> PyResult<()> {
        if self.stream.is_empty() {
            return Ok(());
        }
        let n_of_rank = self.stream.len().div_ceil(self.options.world);
        let n_examples = self.options.batch_size.min(n_of_rank);
        let pixel_bytes = n_examples * self.stream.size_px().pow(2) * 3;
        let (stream, spares) = (&self.stream, &self.spares);
        #[expect(unsafe_code, reason = "the addresses are Python's")]
        // SAFETY: `_stream.py` takes them from the CUDA runtime that torch has loaded for good.
        let lend = || unsafe {
            lend_page_locked(stream, spares, n_spares, pixel_bytes, register, unregister)
        };
        py.detach(lend).map_err(|error| exception(&error))
    }
}

/// An epoch that goes on.
struct Running {
    batches: Batches,
    began: Option<Instant>,
}

impl Running {
    fn elapsed(&self) -> Duration {
        self.began.map(|began| began.elapsed()).unwrap_or_default()
    }
}

/// The rest of an epoch.
#[pyclass(frozen, module = "tuwen._tuwen")]
pub(crate) struct Epoch {
    stream: Stream,
    spares: Arc<Spares>,
    running: Mutex<Option<Running>>,
    waited: Arc<Mutex<Waited>>,
    home: Home,
}

#[pymethods]
impl Epoch {
    /// The next batch; none after the last. The interpreter's lock is free while it is waited for, and a signal ends the waiting.
    fn next(&self, py: Python<'_>) -> PyResult<Option<PyBatch>> {
        if !self.home.is_here() {
            return Err(exception(&anyhow!(
                "this epoch goes on in the process from which this one was forked\nhint: iter(stream) begins one here"
            )));
        }
        loop {
            let taken = py.detach(|| {
                let mut running = lock(&self.running);
                let Some(running) = running.as_mut() else { return Some(None) };
                running.began.get_or_insert_with(Instant::now);
                running.batches.is_ready(LOOK_EVERY).then(|| running.batches.next())
            });
            match taken {
                Some(Some(Ok(batch))) => {
                    let spares = Arc::clone(&self.spares);
                    return Ok(Some(PyBatch::new(&self.stream, spares, batch)));
                }
                Some(Some(Err(error))) => {
                    self.close(py);
                    return Err(exception(&error));
                }
                Some(None) => {
                    self.close(py);
                    return Ok(None);
                }
                None => py.check_signals()?,
            }
        }
    }

    /// Ends the readers. Batches that were handed out stay.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.end());
    }
}

impl Epoch {
    fn end(&self) {
        if let Some(running) = lock(&self.running).take() {
            if !self.home.is_here() {
                // Its readers cannot be waited for.
                return std::mem::forget(running);
            }
            let mut waited = lock(&self.waited);
            waited.stats += running.batches.wait();
            waited.elapsed += running.elapsed();
        }
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        // The readers are waited for without the interpreter's lock.
        Python::attach(|py| self.close(py));
    }
}

/// A batch in Python's hands.
#[pyclass(frozen, name = "Batch", module = "tuwen._tuwen")]
pub(crate) struct PyBatch {
    lent: Arc<Lent>,
    size_px: usize,
    skipped: Vec<Skipped>,
}

impl PyBatch {
    fn new(stream: &Stream, spares: Arc<Spares>, mut batch: Batch) -> Self {
        let skipped = std::mem::take(&mut batch.skipped);
        let lent = Arc::new(Lent::new(stream.clone(), spares, batch));
        Self { lent, size_px: stream.size_px(), skipped }
    }
}

#[pymethods]
impl PyBatch {
    /// The number of examples.
    fn __len__(&self) -> usize {
        self.lent.batch().len()
    }

    /// Pixels, `[b, s, s, 3]` or, seen so, `[b, 3, s, s]`.
    fn pixels(&self, channels_first: bool) -> Array {
        Array::pixels(&self.lent, self.size_px, channels_first)
    }

    /// Token ids, `[b, t]`.
    fn labels(&self) -> Array {
        Array::labels(&self.lent)
    }

    /// 1 where there is a token, `[b, t]`.
    fn mask(&self) -> Array {
        Array::mask(&self.lent)
    }

    /// Whether a device can copy from it while the program goes on.
    #[getter]
    fn is_page_locked(&self) -> bool {
        self.lent.is_page_locked()
    }

    /// Whether all its arrays are freed. The readers then get a spare batch for it, which stays as it is until this is dropped; not
    /// to be asked again.
    fn let_go(&self) -> bool {
        let is_freed = Arc::strong_count(&self.lent) == 1;
        if is_freed {
            self.lent.replace();
        }
        is_freed
    }

    /// Whose examples.
    fn example_ids(&self) -> Vec<String> {
        self.lent.batch().example_ids.iter().map(ToString::to_string).collect()
    }

    /// Where the epoch stands after this batch of every rank.
    #[getter]
    fn next_position(&self) -> u64 {
        self.lent.batch().next_position
    }

    /// What was left out: (example id, why).
    #[getter]
    fn skipped(&self) -> Vec<(String, String)> {
        let skipped = self.skipped.iter();
        skipped.map(|skipped| (skipped.example_id.to_string(), skipped.why.clone())).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
