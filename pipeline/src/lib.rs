//! tuwen's pipeline: a crawl of (caption, image URL) rows in, a corpus of Delta tables out, and batches for a trainer from it.
//! The modules stand in the order in which a row meets them: ingest -> fetch -> decode -> curate -> stream, and
//! captions that a trained model writes for the images.

pub mod settings;

pub mod corpus;
pub mod layout;
mod location;
pub mod query;
pub mod report;
pub mod runs;

pub mod ingest;

pub mod fetch;

pub mod decode;

pub mod curate;

pub mod sql;

pub mod stream;

pub mod captions;

pub mod bench;

pub mod cli;
