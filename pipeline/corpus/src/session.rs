//! DataFusion sessions as tuwen uses them. In: what the batches carry. Out: a session without tables, whose memory is bounded:
//! what sorts and aggregates hold beyond it is spilled to `TMPDIR`.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionContext;
use deltalake::delta_datafusion::DeltaSessionContext;

use crate::host::registered_domain_udf;
use crate::keys::{id_key_udf, id128_udf};

/// Rows a batch in the sessions that carry bytes or pixels: 16 rows of the largest originals still fit.
const BYTES_BATCH_ROWS: usize = 16;

/// Bytes that the operators of one session may hold together before they spill.
const MEMORY_BYTES: usize = 2 << 30;

/// Rows of a table up to which joins hash: as many hashes and keys as [`MEMORY_BYTES`] hold. Beyond, they sort and merge, which
/// spills; that takes longer a row.
const HASHED_ROWS: u64 = 16_000_000;

/// Largest users of memory that an error names when there is not enough.
const NAMED_CONSUMERS: usize = 3;

/// What a session's batches carry; decides how many rows stand in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Captions, ids, numbers.
    Light,
    /// Whole pictures.
    Heavy,
}

/// A session with DataFusion's functions, tuwen's keys and settings, and no table.
///
/// # Errors
/// Never for the settings used here; DataFusion's signature has them.
pub fn bare_session(rows: Rows) -> Result<SessionContext> {
    let mut overrides = HashMap::from([
        ("datafusion.sql_parser.enable_ident_normalization", "true".to_owned()),
        ("datafusion.execution.parquet.schema_force_view_types", "false".to_owned()),
        // One string type everywhere: what Delta stores, casts and functions all give Utf8.
        ("datafusion.sql_parser.map_string_types_to_utf8view", "false".to_owned()),
        // Pulling the fields out of a struct below the function that makes it would decode a picture once a field.
        ("datafusion.optimizer.enable_leaf_expression_pushdown", "false".to_owned()),
        ("datafusion.catalog.information_schema", "true".to_owned()),
        // Columns of a union may have other comments in each branch; DataFusion 55 takes that for another schema.
        ("datafusion.execution.skip_physical_aggregate_schema_check", "true".to_owned()),
    ]);
    if rows == Rows::Heavy {
        overrides.insert("datafusion.execution.batch_size", BYTES_BATCH_ROWS.to_string());
        // What is read is divided by who asks for it, not by places in a file, between which pictures are few or many.
        overrides.insert("datafusion.optimizer.repartition_file_scans", "false".to_owned());
        // Joins repartition both sides, so that what comes after them runs on all cores even if one file is read.
        overrides
            .insert("datafusion.optimizer.hash_join_single_partition_threshold", "0".to_owned());
        overrides.insert(
            "datafusion.optimizer.hash_join_single_partition_threshold_rows",
            "0".to_owned(),
        );
    }
    let overrides = overrides.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let ctx = DeltaSessionContext::new_with_session_overrides(&overrides)?.into_inner();
    ctx.register_udf(id128_udf());
    ctx.register_udf(id_key_udf());
    ctx.register_udf(registered_domain_udf());
    Ok(ctx)
}

/// As [`bare_session`] for [`Rows::Light`], with operators that hold [`MEMORY_BYTES`] together at most and spill the rest, for
/// tables of up to `n_rows` rows.
///
/// # Errors
/// As [`bare_session`].
pub fn spilling_session(n_rows: u64) -> Result<SessionContext> {
    let ctx = bare_session(Rows::Light)?;
    ctx.state_ref().write().config_mut().options_mut().optimizer.prefer_hash_join =
        n_rows <= HASHED_ROWS;
    bounded(ctx, MEMORY_BYTES)
}

/// As [`spilling_session`], for queries that look for few rows in large tables: of the rows that a filter or a small side of a join
/// leaves out, only the columns it needs are decoded.
///
/// # Errors
/// As [`bare_session`].
pub fn seeking_session() -> Result<SessionContext> {
    let ctx = bare_session(Rows::Light)?;
    ctx.state_ref().write().config_mut().options_mut().execution.parquet.pushdown_filters = true;
    bounded(ctx, MEMORY_BYTES)
}

/// As [`bare_session`] for [`Rows::Light`], for the queries of a person: operators hold `memory_bytes` together at most, and an error
/// of planning knows where in the query it is.
///
/// # Errors
/// As [`bare_session`].
pub fn asking_session(memory_bytes: usize) -> Result<SessionContext> {
    let ctx = bare_session(Rows::Light)?;
    ctx.state_ref().write().config_mut().options_mut().sql_parser.collect_spans = true;
    bounded(ctx, memory_bytes)
}

fn bounded(ctx: SessionContext, memory_bytes: usize) -> Result<SessionContext> {
    let pool = TrackConsumersPool::new(
        FairSpillPool::new(memory_bytes),
        std::num::NonZeroUsize::new(NAMED_CONSUMERS).expect("3 is not 0"),
    );
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc()?;
    let state = datafusion::execution::SessionStateBuilder::new_from_existing(ctx.state())
        .with_runtime_env(runtime)
        .build();
    Ok(SessionContext::new_with_state(state))
}
