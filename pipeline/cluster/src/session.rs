//! What scheduler and executors know of tuwen: its functions, its operators, where files lie. In: what a driver says of its session. Out:
//! the configuration, the functions and the runtime of a task.

use std::sync::Arc;

use anyhow::Result;
use ballista_core::extension::SessionConfigExt;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::BallistaLogicalExtensionCodec;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use tuwen_corpus::AnyStore;
use tuwen_etl::functions::named_session;

use crate::codec::Codec;

/// The configuration before a driver has said anything.
pub(crate) fn config() -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_ballista_logical_extension_codec(Arc::new(BallistaLogicalExtensionCodec::default()))
        .with_ballista_physical_extension_codec(Arc::new(Codec::default()))
}

/// All functions of which nothing needs to be said but the name.
pub(crate) fn functions() -> Result<BallistaFunctionRegistry> {
    Ok(BallistaFunctionRegistry::from(&named_session()?.state()))
}

/// The state of a scheduler's session.
pub(crate) fn state(config: SessionConfig) -> datafusion::common::Result<SessionState> {
    let named = named_session()
        .map_err(|error| datafusion::error::DataFusionError::External(error.into()))?;
    let state = SessionStateBuilder::new_from_existing(named.state())
        .with_config(config)
        .with_runtime_env(runtime(None)?)
        .build();
    Ok(state)
}

/// The runtime of a task, which spills to `folder`.
pub(crate) fn runtime(folder: Option<&str>) -> datafusion::common::Result<Arc<RuntimeEnv>> {
    let builder =
        RuntimeEnvBuilder::new().with_object_store_registry(Arc::new(AnyStore::default()));
    match folder {
        Some(folder) => builder.with_temp_file_path(folder).build_arc(),
        None => builder.build_arc(),
    }
}
