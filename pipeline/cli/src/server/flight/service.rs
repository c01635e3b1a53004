//! The calls of the protocol. In: requests. Out: answers. The crate's own `FlightSqlService` is not used: it answers no GetSchema.
//! <https://arrow.apache.org/docs/format/FlightSql.html>

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command,
    DoPutPreparedStatementResult, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria,
    Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, IpcMessage, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use axum::Router;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use prost::Message;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tuwen_corpus::TableVersions;
use tuwen_corpus::log::one_line;
use tuwen_etl::sql::{CATALOG, QueryError, SCHEMA, Session};

use crate::server::access::Access;
use crate::server::flight::caller::{self, check};
use crate::server::flight::metadata;
use crate::server::flight::options::{
    CLOSED, CloseSessionResult, GetSessionOptionsResult, OptionError, OptionFault, OptionValue,
    SessionOptionValue, SetSessionOptionsRequest, SetSessionOptionsResult,
};
use crate::server::flight::statements::{Messages, Statements, encoded, status};
use crate::server::queries::Queries;
use crate::server::served::Served;

/// Bytes of one message of a client: a statement of the largest size fits.
const MOST_REQUEST_BYTES: usize = 2 << 20;

/// How long a client may take to send values for parameters.
const BIND_LIMIT: Duration = Duration::from_secs(30);

/// The option of a session that is its snapshot: `newest`, or versions as its value says them.
const SNAPSHOT: &str = "snapshot";
const NEWEST: &str = "newest";

const ACTIONS: [(&str, &str); 7] = [
    ("CreatePreparedStatement", "Prepares a statement."),
    ("ClosePreparedStatement", "Forgets a prepared statement."),
    ("CancelFlightInfo", "Ends a query."),
    ("CancelQuery", "Ends a query, as older clients ask for it."),
    ("SetSessionOptions", "Moves the session to another snapshot."),
    ("GetSessionOptions", "The session's snapshot."),
    ("CloseSession", "Ends the session."),
];

/// All calls, for HTTP/2.
pub(crate) fn router(served: Arc<Served>, queries: &Arc<Queries>, access: Access) -> Router {
    let flight = Flight {
        served,
        statements: Statements::new(Arc::clone(queries)),
        queries: Arc::clone(queries),
        access,
    };
    let service = FlightServiceServer::new(flight).max_decoding_message_size(MOST_REQUEST_BYTES);
    Routes::new(service).into_axum_router()
}

struct Flight {
    served: Arc<Served>,
    statements: Statements,
    queries: Arc<Queries>,
    access: Access,
}

/// A client that may ask.
struct Caller {
    session: Arc<Session>,
    /// What it is told to be its session, if it has none yet.
    cookie: Option<String>,
}

impl Caller {
    fn answer<T>(&self, message: T) -> Response<T> {
        with_cookie(message, self.cookie.as_deref())
    }
}

fn with_cookie<T>(message: T, cookie: Option<&str>) -> Response<T> {
    let mut response = Response::new(message);
    if let Some(value) = cookie.and_then(|cookie| cookie.parse().ok()) {
        response.metadata_mut().insert("set-cookie", value);
    }
    response
}

impl Flight {
    /// Who has sent `headers`, in its session, or a new one over the newest snapshot.
    async fn caller(&self, headers: &MetadataMap) -> Result<Caller, Status> {
        check(&self.access, headers)?;
        if let Some(versions) = caller::session_of(headers) {
            let session = self.served.session_at(&versions).await.map_err(|error| {
                let hint = "hint: its snapshot can no longer be read: connect again";
                Status::failed_precondition(format!("the session: {}\n{hint}", one_line(&error)))
            })?;
            return Ok(Caller { session, cookie: None });
        }
        let session = self.served.session().await.map_err(|error| unreadable(&error))?;
        let cookie = caller::cookie(&session.snapshot().versions());
        Ok(Caller { session, cookie: Some(cookie) })
    }

    /// The schema of the rows that a descriptor's command asks for, and the ticket that they are had for.
    async fn planned(
        &self,
        caller: &Caller,
        asked: &[u8],
    ) -> Result<(Arc<Schema>, Vec<u8>), Status> {
        let session = Arc::clone(&caller.session);
        let (schema, handle) = match command(asked)? {
            Command::CommandStatementQuery(asked) => {
                self.statements.plan(session, asked.query).await?
            }
            Command::CommandPreparedStatementQuery(asked) => {
                self.statements.plan_prepared(session, &asked.prepared_statement_handle).await?
            }
            other => {
                let schema = metadata::schema_of(&other).ok_or_else(|| unsupported(&other))?;
                return Ok((schema, asked.to_vec()));
            }
        };
        let ticket = TicketStatementQuery { statement_handle: handle.as_bytes().to_vec().into() };
        Ok((schema, ticket.as_any().encode_to_vec()))
    }

    async fn create_prepared(&self, caller: &Caller, body: &[u8]) -> Result<Vec<u8>, Status> {
        let asked: ActionCreatePreparedStatementRequest = unpacked(body)?;
        let session = Arc::clone(&caller.session);
        let drafted = self.statements.prepare(session, asked.query).await?;
        let result = ActionCreatePreparedStatementResult {
            prepared_statement_handle: drafted.handle.as_bytes().to_vec().into(),
            dataset_schema: schema_bytes(&drafted.schema)?,
            parameter_schema: schema_bytes(&drafted.params)?,
        };
        Ok(result.as_any().encode_to_vec())
    }

    /// Ends the query of `info`.
    fn cancel(&self, info: &FlightInfo) -> bool {
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        let mut any = false;
        for ticket in tickets {
            if let Ok(Command::TicketStatementQuery(asked)) = command(&ticket.ticket) {
                any |= self.statements.cancel(&asked.statement_handle);
            }
        }
        any
    }

    /// Sets options: what was wrong with which, and the cookie of the session from now on.
    async fn set_options(
        &self,
        caller: &Caller,
        asked: SetSessionOptionsRequest,
    ) -> Result<(SetSessionOptionsResult, Option<String>), Status> {
        let (mut errors, mut cookie) = (BTreeMap::new(), caller.cookie.clone());
        for (name, value) in asked.session_options {
            let value = match value.value {
                Some(OptionValue::Text(text)) => Some(text),
                None => None,
                Some(_) => Some(String::new()),
            };
            let fault = match (name.as_str(), value.as_deref()) {
                ("catalog", None | Some(CATALOG)) | ("schema", None | Some(SCHEMA)) => None,
                (SNAPSHOT, None | Some(NEWEST)) => {
                    let session = self.served.session().await;
                    let session = session.map_err(|error| unreadable(&error))?;
                    cookie = Some(caller::cookie(&session.snapshot().versions()));
                    None
                }
                (SNAPSHOT, Some(text)) => match caller::parse(text) {
                    Ok(versions) if self.served.session_at(&versions).await.is_ok() => {
                        cookie = Some(caller::cookie(&versions));
                        None
                    }
                    _ => Some(OptionFault::InvalidValue),
                },
                ("catalog" | "schema", _) => Some(OptionFault::InvalidValue),
                _ => Some(OptionFault::InvalidName),
            };
            if let Some(fault) = fault {
                errors.insert(name, OptionError { value: fault as i32 });
            }
        }
        Ok((SetSessionOptionsResult { errors }, cookie))
    }
}

fn options(versions: &TableVersions) -> GetSessionOptionsResult {
    let value = |text: &str| SessionOptionValue { value: Some(OptionValue::Text(text.to_owned())) };
    let session_options = [
        ("catalog", CATALOG.to_owned()),
        ("schema", SCHEMA.to_owned()),
        (SNAPSHOT, caller::text(versions)),
    ];
    let session_options = session_options.map(|(name, text)| (name.to_owned(), value(&text)));
    GetSessionOptionsResult { session_options: BTreeMap::from(session_options) }
}

/// The command in the bytes of a descriptor or a ticket.
fn command(bytes: &[u8]) -> Result<Command, Status> {
    let any = Any::decode(bytes).ok();
    any.and_then(|any| Command::try_from(any).ok()).ok_or_else(|| {
        Status::invalid_argument("expected a command of Flight SQL, found other bytes")
    })
}

/// The message of type `M` in the bytes of an action.
fn unpacked<M: ProstMessageExt>(bytes: &[u8]) -> Result<M, Status> {
    let any = Any::decode(bytes).ok();
    any.and_then(|any| any.unpack().ok().flatten()).ok_or_else(|| garbage(M::type_url()))
}

fn decoded<M: Message + Default>(bytes: &[u8], what: &str) -> Result<M, Status> {
    M::decode(bytes).map_err(|_| garbage(what))
}

fn garbage(expected: &str) -> Status {
    Status::invalid_argument(format!("expected {expected}, found other bytes"))
}

fn unsupported(command: &Command) -> Status {
    let name = command.type_url().rsplit('.').next().unwrap_or_default().chars().take(80);
    Status::unimplemented(format!("{}: not supported", name.collect::<String>()))
}

fn unreadable(error: &anyhow::Error) -> Status {
    Status::unavailable(format!("the corpus cannot be read: {}", one_line(error)))
}

fn read_only() -> Status {
    Status::permission_denied(
        "this server only reads: a corpus changes by `tuwen run` and its like",
    )
}

fn schema_bytes(schema: &Schema) -> Result<bytes::Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &options));
    message.map(|message| message.0).map_err(|error| Status::internal(error.to_string()))
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = Messages;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = Messages;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let shown = caller::handshake(&self.access, request.metadata())?;
        let mut response = Response::new(stream::empty().boxed());
        if let Ok(value) = shown.parse() {
            response.metadata_mut().insert("authorization", value);
        }
        Ok(response)
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        check(&self.access, request.metadata())?;
        Ok(Response::new(stream::empty().boxed()))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = self.caller(request.metadata()).await?;
        let descriptor = request.into_inner();
        let (schema, ticket) = self.planned(&caller, &descriptor.cmd).await?;
        let info = FlightInfo::new()
            .try_with_schema(&schema)
            .map_err(|error| Status::internal(error.to_string()))?
            .with_descriptor(descriptor)
            .with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(ticket)));
        Ok(caller.answer(info))
    }

    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        check(&self.access, request.metadata())?;
        Err(Status::unimplemented("PollFlightInfo: not supported, GetFlightInfo answers at once"))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let caller = self.caller(request.metadata()).await?;
        let asked = request.into_inner().cmd;
        let schema = match command(&asked)? {
            Command::CommandPreparedStatementQuery(asked) => {
                let session = Arc::clone(&caller.session);
                let handle = &asked.prepared_statement_handle;
                self.statements.prepared_schema(session, handle).await?
            }
            _ => self.planned(&caller, &asked).await?.0,
        };
        let options = IpcWriteOptions::default();
        let result = SchemaResult::try_from(SchemaAsIpc::new(&schema, &options));
        Ok(caller.answer(result.map_err(|error| Status::internal(error.to_string()))?))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Messages>, Status> {
        check(&self.access, request.metadata())?;
        let asked = match command(&request.get_ref().ticket)? {
            Command::TicketStatementQuery(asked) => {
                return Ok(Response::new(self.statements.rows(&asked.statement_handle).await?));
            }
            other => other,
        };
        let schema = metadata::schema_of(&asked).ok_or_else(|| unsupported(&asked))?;
        let caller = self.caller(request.metadata()).await?;
        let session = Arc::clone(&caller.session);
        let listing = async move {
            let rows = metadata::rows_of(asked, &session).await;
            rows.map_err(|error| QueryError::new(one_line(&error)))
        };
        let rows = self.queries.plan(listing).await.map_err(|failure| status(&failure))?;
        Ok(caller.answer(encoded(&schema, stream::iter(rows.map(Ok)))))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        check(&self.access, request.metadata())?;
        let mut messages = request.into_inner();
        let first = timeout(BIND_LIMIT, messages.message()).await.map_err(|_| too_slow())??;
        let first = first.ok_or_else(|| garbage("a command of Flight SQL"))?;
        let asked = first.flight_descriptor.clone().unwrap_or_default();
        match command(&asked.cmd)? {
            Command::CommandPreparedStatementQuery(asked) => {
                let handle = asked.prepared_statement_handle;
                let messages = stream::iter([Ok(first)]).chain(messages);
                let bound = self.statements.bind(&handle, messages);
                timeout(BIND_LIMIT, bound).await.map_err(|_| too_slow())??;
                let result =
                    DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
                let app_metadata = result.encode_to_vec().into();
                Ok(Response::new(stream::iter([Ok(PutResult { app_metadata })]).boxed()))
            }
            Command::CommandStatementUpdate(_)
            | Command::CommandPreparedStatementUpdate(_)
            | Command::CommandStatementIngest(_) => Err(read_only()),
            other => Err(unsupported(&other)),
        }
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Messages>, Status> {
        check(&self.access, request.metadata())?;
        Err(Status::unimplemented("DoExchange: not supported"))
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let caller = self.caller(request.metadata()).await?;
        let Action { r#type: name, body } = request.into_inner();
        let mut cookie = caller.cookie.clone();
        let answer = match name.as_str() {
            "CreatePreparedStatement" => Some(self.create_prepared(&caller, &body).await?),
            "ClosePreparedStatement" => {
                let asked: ActionClosePreparedStatementRequest = unpacked(&body)?;
                self.statements.close(&asked.prepared_statement_handle);
                None
            }
            "CancelFlightInfo" => {
                let asked: CancelFlightInfoRequest = decoded(&body, &name)?;
                let status = match self.cancel(&asked.info.unwrap_or_default()) {
                    true => CancelStatus::Cancelled,
                    false => CancelStatus::NotCancellable,
                };
                Some(CancelFlightInfoResult::new(status).encode_to_vec())
            }
            "CancelQuery" => {
                let asked: ActionCancelQueryRequest = unpacked(&body)?;
                // 1: cancelled, 3: not cancellable.
                let result = if self.cancel(&decoded(&asked.info, &name)?) { 1 } else { 3 };
                Some(ActionCancelQueryResult { result }.as_any().encode_to_vec())
            }
            "SetSessionOptions" => {
                let asked = decoded(&body, &name)?;
                let (result, changed) = self.set_options(&caller, asked).await?;
                cookie = changed;
                Some(result.encode_to_vec())
            }
            "GetSessionOptions" => {
                Some(options(&caller.session.snapshot().versions()).encode_to_vec())
            }
            "CloseSession" => {
                cookie = Some(caller::no_cookie());
                Some(CloseSessionResult { status: CLOSED }.encode_to_vec())
            }
            "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => {
                let message = "there are no transactions: a session reads one snapshot";
                return Err(Status::unimplemented(message));
            }
            other => {
                let other: String = other.chars().take(80).collect();
                return Err(Status::unimplemented(format!("{other}: not supported")));
            }
        };
        let results = answer.map(|body| Ok(arrow_flight::Result { body: body.into() }));
        Ok(with_cookie(stream::iter(results).boxed(), cookie.as_deref()))
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        check(&self.access, request.metadata())?;
        let actions = ACTIONS.map(|(name, description)| {
            Ok(ActionType { r#type: name.to_owned(), description: description.to_owned() })
        });
        Ok(Response::new(stream::iter(actions).boxed()))
    }
}

fn too_slow() -> Status {
    Status::deadline_exceeded("the parameters did not come in time")
}
