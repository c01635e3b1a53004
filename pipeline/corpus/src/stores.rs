//! Stores for a process that gets plans from another. In: the URL of a file in a plan. Out: the store it lies in, opened by what the
//! environment says of it, as that of a corpus is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use datafusion::common::Result as DataFusionResult;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionContext;
use object_store::ObjectStore;
use url::{Position, Url};

use crate::location::open_store;
use crate::session::{Rows, bare_session};

/// All stores that a corpus may lie in.
#[derive(Debug, Default)]
pub struct AnyStore {
    /// By scheme and host.
    opened: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl AnyStore {
    fn key(url: &Url) -> String {
        url[..Position::BeforePath].to_owned()
    }
}

impl ObjectStoreRegistry for AnyStore {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.insert(Self::key(url), store)
    }

    fn get_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Self::key(url);
        if let Some(store) = opened.get(&key) {
            return Ok(Arc::clone(store));
        }
        let store = open_store(url).map_err(|error| DataFusionError::External(error.into()))?;
        opened.insert(key, Arc::clone(&store));
        Ok(store)
    }
}

/// A session that reads files wherever they lie.
///
/// # Errors
/// As [`bare_session`].
pub fn any_store_session(rows: Rows) -> Result<SessionContext> {
    let ctx = bare_session(rows)?;
    let runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(AnyStore::default()))
        .build_arc()?;
    let state = datafusion::execution::SessionStateBuilder::new_from_existing(ctx.state())
        .with_runtime_env(runtime)
        .build();
    Ok(SessionContext::new_with_state(state))
}
