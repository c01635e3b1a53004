//! Where the bytes of pictures come from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where bytes come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The URLs of the pairs.
    Http,
    /// A folder of files already downloaded, matched by the pairs' file names.
    Folder(PathBuf),
}
