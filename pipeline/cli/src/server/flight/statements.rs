//! Statements of clients, from their text to their rows. In: a text, or a handle. Out: a handle, a schema, rows. What was planned when
//! rows were asked about is what runs when they are asked for.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tuwen_corpus::log::one_line;
use tuwen_etl::sql::{Params, Prepared, QueryError, Session, Statement, statements};
use uuid::Uuid;

use crate::server::flight::info::MOST_TEXT_BYTES;
use crate::server::flight::params::params;
use crate::server::flight::plain::{plain_batch, plain_schema};
use crate::server::flight::shelf::{Shelf, ShelfBounds};
use crate::server::metrics::Outcome;
use crate::server::queries::{Failure, Queries};

/// Planned statements whose rows may still be asked for.
const PLANNED: ShelfBounds = ShelfBounds {
    most_things: 1000,
    most_weight: 256 << 20,
    unused_for: Duration::from_secs(10 * 60),
};

/// Prepared statements that nobody has closed.
const PREPARED: ShelfBounds = ShelfBounds {
    most_things: 1000,
    most_weight: 256 << 20,
    unused_for: Duration::from_secs(4 * 60 * 60),
};

/// Bytes of memory that a statement takes: its plan, and for each byte of its text, which may be a token.
const PLAN_BYTES: usize = 16 << 10;
const TOKEN_BYTES: usize = 128;

/// Bytes of a message of an error, as HTTP has it in a header: clients refuse headers of more than 8 KiB.
const MOST_MESSAGE_BYTES: usize = 6000;

/// Rows as they are sent.
pub(super) type Messages = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// Statements of all clients.
pub(super) struct Statements {
    queries: Arc<Queries>,
    planned: Shelf<Planned>,
    prepared: Shelf<Draft>,
}

struct Planned {
    prepared: Prepared,
    schema: SchemaRef,
    cancel: CancellationToken,
}

struct Draft {
    statement: Statement,
    /// Its parameters.
    names: Vec<String>,
    params: Mutex<Option<Params>>,
}

/// A statement that was prepared.
pub(super) struct Drafted {
    pub(super) handle: Uuid,
    /// Of its rows.
    pub(super) schema: SchemaRef,
    pub(super) params: Schema,
}

impl Statements {
    pub(super) fn new(queries: Arc<Queries>) -> Self {
        Self { queries, planned: Shelf::new(PLANNED), prepared: Shelf::new(PREPARED) }
    }

    /// Plans the statement of `text`: the schema of its rows, and the handle that they are asked for by.
    pub(super) async fn plan(
        &self,
        session: Arc<Session>,
        text: String,
    ) -> Result<(SchemaRef, Uuid), Status> {
        let weight = weight(&text);
        let planning = async move {
            let statement = one_statement(&text)?;
            if let Some(name) = statement.parameters().first() {
                let error = QueryError::new(format!("the parameter `${name}` has no value"));
                return Err(error.hint("prepare the statement, and bind one"));
            }
            suited(session, &statement).await?.prepare(&statement, &Params::default()).await
        };
        self.keep(self.queries.plan(planning).await, weight)
    }

    /// As [`Self::plan`], of a statement that was prepared, with the values that it has.
    pub(super) async fn plan_prepared(
        &self,
        session: Arc<Session>,
        handle: &[u8],
    ) -> Result<(SchemaRef, Uuid), Status> {
        let draft = self.draft(handle)?;
        let params = draft.params.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(name), None) = (draft.names.first(), &params) {
            let message = format!("the parameter `${name}` has no value\nhint: bind one");
            return Err(Status::invalid_argument(message));
        }
        let weight = weight(draft.statement.sql());
        let planning = async move {
            let session = suited(session, &draft.statement).await?;
            session.prepare(&draft.statement, &params.unwrap_or_default()).await
        };
        self.keep(self.queries.plan(planning).await, weight)
    }

    fn keep(
        &self,
        planned: Result<Prepared, Failure>,
        weight: usize,
    ) -> Result<(SchemaRef, Uuid), Status> {
        let prepared = planned.map_err(|failure| status(&failure))?;
        let schema = plain_schema(&Arc::new(prepared.frame().schema().as_arrow().clone()));
        let planned =
            Planned { prepared, schema: Arc::clone(&schema), cancel: CancellationToken::new() };
        Ok((schema, self.planned.put(planned, weight)))
    }

    /// Prepares the statement of `text`.
    pub(super) async fn prepare(
        &self,
        session: Arc<Session>,
        text: String,
    ) -> Result<Drafted, Status> {
        let weight = weight(&text);
        let drafting = async move {
            let statement = one_statement(&text)?;
            let draft = suited(session, &statement).await?.draft(&statement).await?;
            Ok((statement, draft))
        };
        let drafted = self.queries.plan(drafting).await;
        let (statement, draft) = drafted.map_err(|failure| status(&failure))?;
        let names = statement.parameters();
        let kept = Draft { statement, names, params: Mutex::default() };
        let handle = self.prepared.put(kept, weight);
        Ok(Drafted { handle, schema: plain_schema(&draft.schema), params: draft.params })
    }

    /// The schema of the rows of a statement that was prepared.
    pub(super) async fn prepared_schema(
        &self,
        session: Arc<Session>,
        handle: &[u8],
    ) -> Result<SchemaRef, Status> {
        let kept = self.draft(handle)?;
        let drafting =
            async move { suited(session, &kept.statement).await?.draft(&kept.statement).await };
        let draft = self.queries.plan(drafting).await.map_err(|failure| status(&failure))?;
        Ok(plain_schema(&draft.schema))
    }

    /// Gives the parameters of a prepared statement the values of `messages`.
    pub(super) async fn bind(
        &self,
        handle: &[u8],
        messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
    ) -> Result<(), Status> {
        let draft = self.draft(handle)?;
        let values = params(messages, &draft.names).await?;
        *draft.params.lock().unwrap_or_else(PoisonError::into_inner) = Some(values);
        Ok(())
    }

    /// Forgets a prepared statement.
    pub(super) fn close(&self, handle: &[u8]) {
        // One that is closed twice is closed.
        let _ = self.prepared.take(handle);
    }

    fn draft(&self, handle: &[u8]) -> Result<Arc<Draft>, Status> {
        self.prepared.get(handle).ok_or_else(|| {
            let hint = "hint: it is forgotten if it is not used for long: prepare it again";
            Status::not_found(format!("there is no such prepared statement\n{hint}"))
        })
    }

    /// The rows of a statement that was planned.
    pub(super) async fn rows(&self, handle: &[u8]) -> Result<Messages, Status> {
        let planned = self.planned.get(handle).ok_or_else(|| {
            let hint = "hint: a ticket is good for ten minutes: ask for another";
            Status::not_found(format!("there is no such ticket\n{hint}"))
        })?;
        let running = self.queries.run(planned.prepared.clone(), planned.cancel.clone());
        let sent = running.await.map_err(|failure| status(&failure))?;
        let schema = Arc::clone(&planned.schema);
        let batches = stream::unfold(sent, |mut sent| async {
            let batch = sent.next().await?;
            Some((batch, sent))
        });
        let batches = batches.map(move |batch| {
            let batch = batch.map_err(|failure| FlightError::from(status(&failure)))?;
            Ok(plain_batch(&batch, &schema)?)
        });
        Ok(encoded(&planned.schema, batches))
    }

    /// Ends the query of a statement that was planned; false if there is none.
    pub(super) fn cancel(&self, handle: &[u8]) -> bool {
        let planned = self.planned.take(handle);
        if let Some(planned) = &planned {
            planned.cancel.cancel();
        }
        planned.is_some()
    }
}

/// Batches of `schema` in messages of about 2 MiB, if one row is not larger.
pub(super) fn encoded(
    schema: &SchemaRef,
    batches: impl Stream<Item = Result<arrow::array::RecordBatch, FlightError>> + Send + 'static,
) -> Messages {
    let encoder = FlightDataEncoderBuilder::new().with_schema(Arc::clone(schema));
    Box::pin(encoder.build(batches).map_err(Status::from))
}

/// The session that `statement` is planned in: one of its own if it opens tables as they were.
async fn suited(session: Arc<Session>, statement: &Statement) -> Result<Arc<Session>, QueryError> {
    if !statement.reads_the_past() {
        return Ok(session);
    }
    let apart = session.apart().await;
    Ok(Arc::new(apart.map_err(|error| QueryError::new(one_line(&error)))?))
}

/// What a statement of `text` takes of memory while it is kept.
fn weight(text: &str) -> usize {
    PLAN_BYTES + TOKEN_BYTES * text.len()
}

fn one_statement(text: &str) -> Result<Statement, QueryError> {
    if text.len() > MOST_TEXT_BYTES {
        let found = text.len();
        return Err(QueryError::new(format!(
            "expected a statement of at most {MOST_TEXT_BYTES} bytes, found {found}"
        )));
    }
    let mut all = statements(text)?;
    match (all.pop(), all.len()) {
        (Some(statement), 0) => Ok(statement),
        (Some(_), others) => {
            Err(QueryError::new(format!("expected one statement, found {}", others + 1)))
        }
        (None, _) => Err(QueryError::new("expected a query, found none")),
    }
}

/// A failure as gRPC has it.
pub(super) fn status(failure: &Failure) -> Status {
    let code = match failure.outcome {
        Outcome::Done | Outcome::Failed => Code::InvalidArgument,
        Outcome::Timeout => Code::DeadlineExceeded,
        Outcome::Cancelled => Code::Cancelled,
        Outcome::Refused => Code::ResourceExhausted,
        Outcome::Stopped => Code::Unavailable,
    };
    Status::new(code, short(&failure.to_string()))
}

/// As much of `message` as fits into a header, where letters other than those of ASCII take three times their bytes.
fn short(message: &str) -> String {
    let mut n_bytes = 0;
    let mut letters = message.chars();
    let fitting = letters.by_ref().take_while(|c| {
        n_bytes += if c.is_ascii_graphic() { 1 } else { 3 * c.len_utf8() };
        n_bytes <= MOST_MESSAGE_BYTES
    });
    let fitting: String = fitting.collect();
    if fitting.len() < message.len() { format!("{fitting}…") } else { fitting }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_is_expected_and_messages_fit() {
        for (text, expected) in [
            ("select 1", Ok("select 1")),
            ("select 1 ;\n-- end", Ok("select 1")),
            ("", Err("expected a query, found none")),
            ("select 1; select 2", Err("expected one statement, found 2")),
        ] {
            let found = one_statement(text);
            let found = found.as_ref().map(Statement::sql).map_err(ToString::to_string);
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        }
        let long = "x".repeat(MOST_TEXT_BYTES + 1);
        let error = one_statement(&long).unwrap_err();
        let expected = "expected a statement of at most 262144 bytes, found 262145";
        assert_eq!(error.to_string(), expected);
        assert_eq!(short("short"), "short");
        let shortened = short(&"图".repeat(10_000));
        assert!(shortened.len() < MOST_MESSAGE_BYTES && shortened.ends_with("图…"));
    }
}
