//! The stages that fill a corpus, in the order in which a row meets them: ingest -> fetch -> decode -> curate. They all run in
//! [`driver`]; [`sql`] is a session with all their functions.

pub mod driver;

pub mod exit_code;

pub mod stop;

mod bound;
mod read_only;
mod replace;

pub mod named_split;

pub mod ingest;

pub mod fetch;

pub mod decode;

pub mod curate;

pub mod sql;

pub mod functions;
