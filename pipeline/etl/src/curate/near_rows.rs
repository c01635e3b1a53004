//! The images that others are compared with, for the functions that look for near ones. In: their rows (thumb, look). Out: the functions,
//! over an index that is made at once, or, on a cluster, in each process that first asks it, from files.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use anyhow::{Context, Result};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionContext};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tuwen_corpus::{Rows, Scratch, any_store_session};
use tuwen_image::NearIndex;

use crate::bound::saying;
use crate::curate::near::{Index, collect, near_thumb_udf, near_udf};

/// How the names end of functions that look at thumbnails alone.
const THUMB: &str = "_thumb";

/// Rows in files of a scratch table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearRows {
    files: Vec<String>,
    limit: f64,
}

/// Images that others are compared with.
pub(super) enum NearImages {
    Indexed(Arc<NearIndex>),
    Filed { rows: NearRows, is_empty: bool },
}

impl NearImages {
    /// The rows of `images`, which are (thumb, look), for functions of which those are near that differ by `limit` at most. Where other
    /// machines ask, the rows are held as scratch table `name` of `ctx`. Memory: some 3 kB a row.
    ///
    /// # Errors
    /// The rows cannot be computed, or a thumbnail or a look is none.
    pub(super) async fn of(
        limit: f64,
        images: DataFrame,
        (ctx, scratch, name): (&SessionContext, &Scratch, &str),
    ) -> Result<Self> {
        if !scratch.is_shared() {
            return Ok(Self::Indexed(Arc::new(collect(limit, images).await?)));
        }
        let is_empty = scratch.hold(ctx, name, images).await? == 0;
        let files = scratch.files(ctx, name).await?;
        Ok(Self::Filed { rows: NearRows { files, limit }, is_empty })
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Indexed(index) => index.is_empty(),
            Self::Filed { is_empty, .. } => *is_empty,
        }
    }

    /// The function called `name`, of thumbnails and looks, or of thumbnails alone if it ends so.
    pub(super) fn function(&self, name: &str) -> ScalarUDF {
        match self {
            Self::Indexed(index) => {
                let index = Arc::clone(index);
                function(name, Arc::new(move || Ok(Arc::clone(&index))))
            }
            Self::Filed { rows, .. } => rows.clone().function(name),
        }
    }
}

fn function(name: &str, index: Index) -> ScalarUDF {
    match name.ends_with(THUMB) {
        true => near_thumb_udf(name, index),
        false => near_udf(name, index),
    }
}

impl NearRows {
    /// The function called `name` over these rows.
    pub(crate) fn function(self, name: &str) -> ScalarUDF {
        let said = self.clone();
        let made = OnceLock::new();
        let index = move || {
            let index = match made.get() {
                Some(index) => Arc::clone(index),
                None => self.index()?,
            };
            Ok(Arc::clone(made.get_or_init(|| index)))
        };
        let function = function(name, Arc::new(index));
        saying(function, move || json!({ "near": said }))
    }

    /// The index of the rows, which is made once in a process, as long as a function has it.
    fn index(&self) -> Result<Arc<NearIndex>, DataFusionError> {
        static MADE: Mutex<Vec<(NearRows, Weak<NearIndex>)>> = Mutex::new(Vec::new());
        // Who asks while it is made waits, and has it then.
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|(_, index)| index.strong_count() > 0);
        let known = made.iter().find(|(rows, _)| rows == self);
        if let Some(index) = known.and_then(|(_, index)| index.upgrade()) {
            return Ok(index);
        }
        let index = self.read().map_err(|error| DataFusionError::External(error.into()))?;
        let index = Arc::new(index);
        made.push((self.clone(), Arc::downgrade(&index)));
        Ok(index)
    }

    /// Functions do not wait for what is read, so this has a thread that does.
    fn read(&self) -> Result<NearIndex> {
        let (files, limit) = (self.files.clone(), self.limit);
        let read = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let ctx = any_store_session(Rows::Light)?;
                let rows = ctx.read_parquet(files, ParquetReadOptions::default()).await?;
                collect(limit, rows).await
            })
        });
        let read = read.join().ok().context("reading the images to compare with panicked")?;
        read.context("reading the images to compare with")
    }
}
