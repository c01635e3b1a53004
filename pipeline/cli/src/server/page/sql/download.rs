//! The rows of a query as a file. In: what was asked, and a format. Out: the file, as the rows come: a thread writes it as `tuwen sql`
//! does, a chunk ahead of the reader. A reader who leaves ends the query; a query that fails after its first rows breaks the file
//! off, so that nobody takes it for whole.

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use arrow::datatypes::SchemaRef;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use clap::ValueEnum;
use futures::StreamExt;
use futures::stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tuwen_etl::sql::QueryError;

use super::super::fault::Fault;
use super::super::guard::is_asked_here;
use super::answer::{one_statement, prepare, said};
use super::ask::Ask;
use super::desk::Desk;
use crate::server::queries::{READER_PATIENCE, Sent};
use crate::sql::output::{Format, writer};

/// Bytes that are sent at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Chunks that wait to be sent: the next is written meanwhile.
const CHUNKS_AHEAD: usize = 4;

/// What files there are, each with its type.
pub(super) const FORMATS: [(&str, &str); 6] = [
    ("csv", "text/csv; charset=utf-8"),
    ("tsv", "text/tab-separated-values; charset=utf-8"),
    ("json", "application/json"),
    ("ndjson", "application/x-ndjson"),
    ("parquet", "application/vnd.apache.parquet"),
    ("markdown", "text/markdown; charset=utf-8"),
];

/// The file, or why there is none.
pub(super) async fn download(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    Query(values): Query<Vec<(String, String)>>,
) -> Result<Response, Fault> {
    let ask = Ask::of(values);
    let wanted = ask.format.as_deref().unwrap_or_default();
    let names = || FORMATS.map(|(name, _)| name).join(", ");
    let known = FORMATS.iter().find(|(name, _)| *name == wanted);
    let Some((name, content_type)) = known else {
        return Err(QueryError::new(format!(
            "format: expected one of {}, found `{wanted}`",
            names()
        ))
        .into());
    };
    let format = Format::from_str(name, true).map_err(|error| anyhow!("{error}"))?;
    if !is_asked_here(&headers) {
        return Err(QueryError::new(
            "another site's link asks for a file: open /sql and ask there",
        )
        .into());
    }
    let prepared = prepare(&desk, one_statement(&ask.query)?, &ask).await??;
    let schema = Arc::new(prepared.frame().schema().as_arrow().clone());
    let rows = desk.queries.run(prepared, CancellationToken::new()).await.map_err(said)?;
    let mut chunks = written(rows, schema, format);
    // What fails before the first rows is said as an error, not as a file.
    let first = match chunks.recv().await {
        Some(first) => Some(first?),
        None => None,
    };
    let rest = stream::poll_fn(move |context| chunks.poll_recv(context));
    let all = stream::iter(first.map(Ok)).chain(rest);
    let end = if format == Format::Markdown { "md" } else { name };
    let headers = [
        (CONTENT_TYPE, (*content_type).to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"rows.{end}\"")),
    ];
    Ok((headers, Body::from_stream(all)).into_response())
}

/// The file in chunks, written by a thread of its own.
fn written(mut rows: Sent, schema: SchemaRef, format: Format) -> mpsc::Receiver<Chunk> {
    let (send, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let waiting = Vec::with_capacity(CHUNK_BYTES);
        let mut out = Chunks { waiting, send: send.clone(), runtime: runtime.clone() };
        let written = (|| -> Result<()> {
            let mut writer = writer(format, &schema, None, &mut out)?;
            loop {
                let batch = runtime.block_on(async {
                    tokio::select! {
                        () = send.closed() => None,
                        batch = rows.next() => batch,
                    }
                });
                let Some(batch) = batch else { break };
                writer.write(&batch.map_err(said)?)?;
            }
            writer.finish()
        })();
        if let Err(error) = written.and_then(|()| Ok(out.flush()?)) {
            let error = error.downcast().unwrap_or_else(|error| QueryError::new(error.to_string()));
            // Nobody may be left to be told.
            let _ = send.blocking_send(Err(error));
        }
    });
    chunks
}

type Chunk = Result<Bytes, QueryError>;

/// Sends what is written.
struct Chunks {
    waiting: Vec<u8>,
    send: mpsc::Sender<Chunk>,
    runtime: Handle,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.waiting));
        let sent = self.runtime.block_on(timeout(READER_PATIENCE, self.send.send(Ok(chunk))));
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}
