//! Connections between executors, by which they get each other's results. In: an executor's address. Out: a connection, one for all that
//! is asked of it: HTTP/2 carries many answers at once, and a connection that breaks is made again by itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::client::BallistaClient;
use ballista_core::client_pool::{BallistaClientPool, PooledClient};
use ballista_core::error::Result;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::utils::GrpcClientConfig;
use tokio::sync::Mutex;

/// Executors to which connections are kept.
const MOST: usize = 1024;

/// All connections of an executor.
#[derive(Default)]
pub(crate) struct Connections {
    open: Mutex<HashMap<(String, u16, GrpcClientConfig), BallistaClient>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

#[async_trait]
impl BallistaClientPool for Connections {
    async fn acquire(
        &self,
        host: &str,
        port: u16,
        config: &GrpcClientConfig,
        customize_endpoint: Option<Arc<BallistaConfigGrpcEndpoint>>,
    ) -> Result<PooledClient> {
        let key = (host.to_owned(), port, config.clone());
        let mut open = self.open.lock().await;
        let client = match open.get(&key) {
            Some(client) => client.clone(),
            None => {
                let client = BallistaClient::try_new(
                    host,
                    port,
                    config.max_message_size,
                    config.use_tls,
                    customize_endpoint,
                    config.io_retries_times,
                    config.io_retry_wait_time_ms,
                    config.initial_connection_window_size,
                    config.initial_stream_window_size,
                )
                .await?;
                if open.len() >= MOST {
                    open.clear();
                }
                open.insert(key, client.clone());
                client
            }
        };
        Ok(PooledClient::new(client, Box::new(drop)))
    }

    async fn evict_idle(&self) {
        self.open.lock().await.clear();
    }
}
