//! Arrow Flight SQL, the protocol that ADBC and JDBC drivers speak. In: calls of clients. Out: rows. `service.rs` is the protocol's calls,
//! `caller.rs` who calls and in which session, `statements.rs` statements from text to rows, `shelf.rs` what is kept between two calls,
//! `metadata.rs` and `info.rs` what there is, `params.rs` values for parameters, `plain.rs` types that every client knows, `options.rs`
//! messages of sessions. Never writes to a corpus.

mod caller;
mod info;
mod metadata;
mod options;
mod params;
mod plain;
mod service;
mod shelf;
mod statements;

pub(crate) use self::service::router;
