//! Values of parameters. In: what a client sends for a prepared statement: one row, in Arrow's messages. Out: values by name. What cannot
//! be read is refused, however it is wrong.

use arrow::array::RecordBatch;
use arrow::ipc::root_as_message;
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use datafusion::scalar::ScalarValue;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::task::JoinSet;
use tonic::Status;
use tuwen_etl::sql::Params;

/// Bytes of all messages of one row: parameters are texts and numbers.
const MOST_BYTES: usize = 256 << 10;

/// The values for parameters called `names` in the one row of `messages`: by name if all its columns are called so, otherwise by their
/// place.
///
/// # Errors
/// It is not one row of so many columns.
pub(super) async fn params(
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
    names: &[String],
) -> Result<Params, Status> {
    // A task of its own: what panics in it is the client's message. It ends with whoever waits for it.
    let mut task = JoinSet::new();
    task.spawn(one_row(messages));
    let row = task.join_next().await;
    let row = row
        .unwrap_or_else(|| unreachable!("one was spawned"))
        .map_err(|_| Status::invalid_argument("the parameters cannot be read"))??;
    let columns: Vec<&str> =
        row.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    if columns.len() != names.len() {
        let (expected, found) = (names.len(), columns.len());
        let message = format!("expected {expected} parameters, found {found}");
        return Err(Status::invalid_argument(message));
    }
    let by_name = names.iter().all(|name| columns.contains(&name.as_str()));
    let values = names.iter().enumerate().map(|(at, name)| {
        let column = match by_name {
            true => row.column_by_name(name).unwrap_or_else(|| row.column(at)),
            false => row.column(at),
        };
        let value = ScalarValue::try_from_array(column, 0);
        let value =
            value.map_err(|error| Status::invalid_argument(format!("`${name}`: {error}")))?;
        Ok((name.clone(), value))
    });
    Ok(Params::given(values.collect::<Result<Vec<_>, Status>>()?))
}

async fn one_row(
    messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
) -> Result<RecordBatch, Status> {
    let mut n_bytes = 0;
    let messages = messages.map(move |message| {
        let message = message?;
        n_bytes += message.data_header.len() + message.data_body.len();
        if n_bytes > MOST_BYTES {
            let said = format!("expected parameters of at most {MOST_BYTES} bytes, found more");
            return Err(Status::invalid_argument(said));
        }
        uncompressed(message)
    });
    let messages = messages.map_err(FlightError::from);
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
    let mut found: Option<RecordBatch> = None;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            error => Status::invalid_argument(format!("the parameters cannot be read: {error}")),
        })?;
        if batch.num_rows() == 0 {
            continue;
        }
        if batch.num_rows() > 1 || found.is_some() {
            let message = "expected one row of parameters, found several: execute it once for each";
            return Err(Status::invalid_argument(message));
        }
        found = Some(batch);
    }
    found.ok_or_else(|| Status::invalid_argument("expected one row of parameters, found none"))
}

/// A message that says how large it will be when it is unpacked may say anything, and memory is set aside for it.
fn uncompressed(message: FlightData) -> Result<FlightData, Status> {
    if message.data_header.is_empty() {
        return Ok(message);
    }
    let header = root_as_message(&message.data_header);
    let header =
        header.map_err(|_| Status::invalid_argument("the parameters are no message of Arrow"))?;
    let batch = header.header_as_record_batch();
    let words = header.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    if batch.into_iter().chain(words).any(|batch| batch.compression().is_some()) {
        return Err(Status::invalid_argument("compressed parameters are not supported"));
    }
    Ok(message)
}
