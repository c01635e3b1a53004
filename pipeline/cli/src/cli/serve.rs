//! `tuwen serve`: a corpus for programs and people elsewhere.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tuwen_etl::sql::default_memory_bytes;
use tuwen_etl::stop::stop_signals_saying;
use tuwen_settings::{ServeSettings, WrongSetting};

use crate::cli::age::parse_age;
use crate::cli::bytes::parse_bytes;
use crate::cli::flags::CorpusFlags;
use crate::server::access::{Access, TOKEN_VARIABLE};
use crate::server::tls::{SELF_SIGNED, acceptor};
use crate::server::{Bounds, Doors, Opened, Served, serve};

/// What an address may be instead: nowhere.
const NOWHERE: [&str; 2] = ["off", "none"];

/// Serve a corpus: SQL for programs (Arrow Flight SQL), and a page to look at it
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen serve
  tuwen serve --corpus s3://bucket/corpus --page 127.0.0.1:9000 --flight off
  tuwen serve --memory-limit 8G --timeout 5m --max-queries 4
  (umask 077; openssl rand -hex 32 > token)
  tuwen serve --flight 0.0.0.0:50051 --page off --token-file token --tls-cert cert.pem --tls-key key.pem")]
pub(super) struct Serve {
    /// Where programs connect, or off [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS:PORT")]
    flight: Option<String>,
    /// Where the page is, or off [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    page: Option<String>,
    /// Memory that all queries may use before they spill to disk, or fail [default: half of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
    /// How long a query may take: 30s, 5m; 0s for as long as it needs [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = parse_age)]
    timeout: Option<Duration>,
    /// Queries of programs and of the page that run at once; the others wait [default: 8]
    #[arg(long, value_name = "N")]
    max_queries: Option<usize>,
    /// File of the token that clients must show; the variable TUWEN_TOKEN can hold it instead
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// File of the certificate for TLS, PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// File of its private key, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Serve {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.corpus.settings(vec![
            ("serve.flight", self.flight.clone()),
            ("serve.page", self.page.clone()),
            ("serve.memory_limit", self.memory_limit.map(|bytes| bytes.to_string())),
            ("serve.timeout_secs", self.timeout.map(|limit| limit.as_secs().to_string())),
            ("serve.max_queries", self.max_queries.map(|n| n.to_string())),
            ("serve.token_file", self.token_file.clone()),
            ("serve.tls_cert", self.tls_cert.clone()),
            ("serve.tls_key", self.tls_key.clone()),
        ])?;
        let doors = doors(&settings.serve)?;
        let bounds = bounds(&settings.serve)?;
        // The signals end a server that is not up yet, too.
        let says = "stopping when what is under way has ended; again to stop at once";
        let stop = stop_signals_saying(says)?;
        let options = python_options(&settings.serve, &doors);
        let served = Arc::new(Served::open(&settings, bounds).await?);
        serve(served, doors, stop, |opened| announce(opened, &options)).await?;
        Ok(ExitCode::SUCCESS)
    }
}

fn bounds(settings: &ServeSettings) -> Result<Bounds> {
    let memory_bytes = match settings.memory_limit {
        0 => default_memory_bytes(),
        bytes => usize::try_from(bytes)?,
    };
    let timeout = Some(settings.timeout_secs).filter(|secs| *secs > 0).map(Duration::from_secs);
    Ok(Bounds { memory_bytes, timeout, max_queries: settings.max_queries })
}

fn doors(settings: &ServeSettings) -> Result<Doors> {
    let flight = address("serve.flight", &settings.flight)?;
    let page = address("serve.page", &settings.page)?;
    if flight.is_none() && page.is_none() {
        let message =
            "serve.flight and serve.page: expected an address for one of them, found none";
        return Err(WrongSetting(message.to_owned()).into());
    }
    let variable = std::env::var(TOKEN_VARIABLE).ok();
    let access = Access::of_settings(&settings.token_file, variable.as_deref())?;
    let tls = acceptor(&settings.tls_cert, &settings.tls_key)?;
    for (what, address) in [("flight", flight), ("page", page)] {
        if let Some(address) = address {
            check_guarded(what, address, access.needs_token(), tls.is_some())?;
        }
    }
    Ok(Doors { flight, page, access, tls })
}

fn address(what: &str, text: &str) -> Result<Option<SocketAddr>> {
    if NOWHERE.contains(&text) {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let expected = "expected ADDRESS:PORT, such as 127.0.0.1:50051, or off";
        WrongSetting(format!("{what}: {expected}, found `{text}`")).into()
    })
}

/// What others can reach asks them who they are, and is not read on the way.
fn check_guarded(what: &str, address: SocketAddr, has_token: bool, has_tls: bool) -> Result<()> {
    if address.ip().to_canonical().is_loopback() || (has_token && has_tls) {
        return Ok(());
    }
    let missing = match (has_token, has_tls) {
        (false, false) => "a token and TLS",
        (false, true) => "a token",
        (true, _) => "TLS",
    };
    let mut message = format!(
        "serve.{what}: {address} can be reached from elsewhere, which needs {missing}, found none"
    );
    let mut flags = String::new();
    if !has_token {
        message += "\nhint: (umask 077; openssl rand -hex 32 > token)";
        flags += " --token-file token";
    }
    if !has_tls {
        message += &format!("\nhint: {SELF_SIGNED}");
        flags += " --tls-cert cert.pem --tls-key key.pem";
    }
    message += &format!("\nhint: tuwen serve --{what} {address}{flags}");
    Err(WrongSetting(message).into())
}

/// What a client in Python has to show and to trust, as an argument.
fn python_options(settings: &ServeSettings, doors: &Doors) -> String {
    let mut options = Vec::new();
    if doors.access.needs_token() {
        let token = match settings.token_file.as_str() {
            "" => format!("os.environ[{TOKEN_VARIABLE:?}]"),
            file => format!("open({file:?}).read().strip()"),
        };
        options.push(format!("\"adbc.flight.sql.authorization_header\": \"Bearer \" + {token}"));
    }
    if doors.tls.is_some() {
        let cert = &settings.tls_cert;
        options.push(format!(
            "\"adbc.flight.sql.client_option.tls_root_certs\": open({cert:?}).read()"
        ));
    }
    match options.is_empty() {
        true => String::new(),
        false => format!(", db_kwargs={{{}}}", options.join(", ")),
    }
}

/// Says where the server is, and how to connect.
fn announce(opened: &Opened, options: &str) {
    if let Some(url) = &opened.flight {
        let query = "select split, count(*) from examples group by split";
        let import = if options.contains("os.environ") { "import os; " } else { "" };
        tracing::info!("Arrow Flight SQL: {url}");
        tracing::info!("hint: pip install adbc-driver-flightsql adbc-driver-manager pyarrow");
        tracing::info!("hint: {import}import adbc_driver_flightsql.dbapi as flight");
        tracing::info!("hint: db = flight.connect({url:?}{options}, autocommit=True)");
        tracing::info!("hint: print(db.cursor().execute({query:?}).fetch_arrow_table())");
    }
    if let Some(url) = &opened.page {
        tracing::info!("page: {url}/");
    }
}
