//! The corpus as Arrow. In: a query. Out: its rows as an Arrow stream, by the PyCapsule interface, batch by batch as they come. It
//! reads one snapshot; never writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::ffi::FFI_ArrowSchema;
use arrow::ffi_stream::FFI_ArrowArrayStream;
use datafusion::error::DataFusionError;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tuwen_etl::sql::{Params, Prepared, QueryError, Session, default_memory_bytes, statements};
use tuwen_settings::SettingFlags;

use crate::error::exception;
use crate::home::{Home, start_threads};

/// Batches that wait to be taken: the next is computed meanwhile, and no more.
const BATCHES_AHEAD: usize = 1;

/// A corpus at the versions it had when it was opened.
#[pyclass(frozen, module = "tuwen._tuwen")]
pub(crate) struct Corpus {
    runtime: Arc<Threads>,
    session: Session,
}

/// A runtime whose end is not waited for.
struct Threads(Option<Runtime>, Home);

impl Threads {
    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("taken only when it is dropped")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        match self.0.take() {
            Some(runtime) if self.1.is_here() => runtime.shutdown_background(),
            // The threads are those of the process from which this one was forked.
            runtime => std::mem::forget(runtime),
        }
    }
}

#[pymethods]
impl Corpus {
    /// Opens the corpus at a path or URL; without one, that of the settings. `memory_bytes` is what its queries may use.
    #[new]
    fn new(
        py: Python<'_>,
        location: Option<String>,
        memory_bytes: Option<usize>,
    ) -> PyResult<Self> {
        let open = || -> Result<Self> {
            start_threads()?;
            let settings = SettingFlags::default().resolve(&[("corpus", location)])?.settings;
            let runtime = Runtime::new().context("starting the async runtime")?;
            let opening = tuwen_corpus::Corpus::open_snapshot(&settings.corpus);
            let (_, snapshot) = runtime.block_on(opening)?;
            let memory_bytes = memory_bytes.unwrap_or_else(default_memory_bytes);
            let session = Session::new(snapshot, &settings, memory_bytes)?;
            Ok(Self { runtime: Arc::new(Threads(Some(runtime), Home::this())), session })
        };
        py.detach(open).map_err(|error| exception(&error))
    }

    /// Plans a query, with values for its parameters: of each its name, its type, and the value as text.
    fn sql(
        &self,
        py: Python<'_>,
        query: &str,
        params: Vec<(String, String, String)>,
    ) -> PyResult<Query> {
        let plan = || -> Result<Query> {
            start_threads()?;
            let params = params.into_iter().map(|(name, type_name, text)| -> Result<_> {
                let value = value_of(&type_name, &text).with_context(|| {
                    format!("parameter `{name}`: expected {type_name}, found `{text}`")
                })?;
                Ok((name, value))
            });
            let params = Params::given(params.collect::<Result<Vec<_>>>()?);
            let [statement] = &statements(query)?[..] else {
                return Err(QueryError::new("expected one query").into());
            };
            let preparing = self.session.prepare(statement, &params);
            let prepared = self.runtime.runtime().block_on(preparing)?;
            if let Some(unused) = params.names().find(|name| !prepared.params.contains(*name)) {
                let error = format!("`{unused}`: the query has no parameter `${unused}`");
                return Err(QueryError::new(error).into());
            }
            Ok(Query { runtime: Arc::clone(&self.runtime), prepared: Arc::new(prepared) })
        };
        py.detach(plan).map_err(|error| exception(&error))
    }

    /// The names of tables and views.
    fn tables(&self) -> Vec<&'static str> {
        Session::tables().collect()
    }

    /// Delta versions by table, of those that are there.
    fn versions(&self) -> BTreeMap<String, i64> {
        self.session.snapshot().versions()
    }
}

/// The value that stands in `text`, of a type that Python says.
fn value_of(type_name: &str, text: &str) -> Result<ScalarValue> {
    let data_type = match type_name {
        "text" => DataType::Utf8,
        "boolean" => DataType::Boolean,
        "bigint" => DataType::Int64,
        "bigint unsigned" => DataType::UInt64,
        "double" => DataType::Float64,
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamp with time zone" => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
        }
        other => bail!("there is no type `{other}`"),
    };
    Ok(ScalarValue::from(text).cast_to(&data_type)?)
}

/// A planned query. Whoever takes its stream runs it.
#[pyclass(frozen, module = "tuwen._tuwen")]
pub(crate) struct Query {
    runtime: Arc<Threads>,
    prepared: Arc<Prepared>,
}

impl Query {
    fn schema(&self) -> SchemaRef {
        Arc::new(self.prepared.frame().schema().as_arrow().clone())
    }
}

#[pymethods]
impl Query {
    /// The rows: a capsule `arrow_array_stream`. A schema that is asked for is not converted to, as the protocol allows.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let rows = Rows::of(Arc::clone(&self.runtime), Arc::clone(&self.prepared), self.schema());
        let stream = FFI_ArrowArrayStream::new(Box::new(rows));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    /// The schema: a capsule `arrow_schema`.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.schema().as_ref());
        let schema = schema.map_err(|error| exception(&error.into()))?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    /// The names of the columns.
    #[getter]
    fn columns(&self) -> Vec<String> {
        self.schema().fields().iter().map(|field| field.name().clone()).collect()
    }
}

/// The batches of a query that runs on the threads of the corpus; dropping it ends the query.
struct Rows {
    batches: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    /// None once its end is known.
    task: Option<JoinHandle<()>>,
    prepared: Arc<Prepared>,
    schema: SchemaRef,
    /// Kept while the query runs.
    runtime: Arc<Threads>,
}

impl Rows {
    fn of(runtime: Arc<Threads>, prepared: Arc<Prepared>, schema: SchemaRef) -> Self {
        let (send, batches) = mpsc::channel(BATCHES_AHEAD);
        let frame = prepared.frame().clone();
        let task = runtime.runtime().spawn(async move {
            let mut stream = match Box::pin(frame.execute_stream()).await {
                Ok(stream) => stream,
                Err(error) => return drop(send.send(Err(error)).await),
            };
            while let Some(batch) = stream.next().await {
                let is_last = batch.is_err();
                if send.send(batch).await.is_err() || is_last {
                    return;
                }
            }
        });
        Self { batches, task: Some(task), prepared, schema, runtime }
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.batches.blocking_recv() {
            Some(Ok(batch)) => Some(Ok(batch)),
            Some(Err(error)) => {
                let error = self.prepared.explain(&error);
                Some(Err(ArrowError::ExternalError(Box::new(error))))
            }
            // What it sent is all only if it came to an end of its own.
            None => match self.runtime.runtime().block_on(self.task.take()?) {
                Ok(()) => None,
                Err(error) => {
                    let error = format!("the engine failed within the query: {error}");
                    Some(Err(ArrowError::ExternalError(error.into())))
                }
            },
        }
    }
}

impl RecordBatchReader for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
