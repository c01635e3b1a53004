//! The page's own style and script, as files: the Content Security Policy allows no other. Their names hold a checksum of what is in
//! them, so that a browser keeps them for ever. In: a name. Out: the file.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

/// A file that pages refer to.
pub(super) struct Asset {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
    checksum: LazyLock<u32>,
}

macro_rules! asset {
    ($file:literal, $content_type:literal) => {
        Asset {
            name: $file,
            content_type: $content_type,
            text: include_str!($file),
            checksum: LazyLock::new(|| crc32fast::hash(include_bytes!($file))),
        }
    };
}

/// The style of all pages.
pub(super) static STYLE: Asset = asset!("page.css", "text/css; charset=utf-8");

/// The script of all pages.
pub(super) static SCRIPT: Asset = asset!("page.js", "text/javascript; charset=utf-8");

/// The picture in a tab of the browser.
pub(super) static ICON: Asset = asset!("icon.svg", "image/svg+xml");

/// The script of the box of SQL.
pub(super) static SQL_SCRIPT: Asset = asset!("sql.js", "text/javascript; charset=utf-8");

/// All of them.
static ASSETS: [&Asset; 4] = [&STYLE, &SCRIPT, &ICON, &SQL_SCRIPT];

impl Asset {
    /// Where it is.
    pub(super) fn href(&self) -> String {
        format!("/static/{:08x}/{}", *self.checksum, self.name)
    }
}

/// `/static/{checksum}/{name}`: a checksum of an older page finds the file that is there now, which is not kept then.
pub(super) async fn asset(Path((checksum, name)): Path<(String, String)>) -> Response {
    let Some(asset) = ASSETS.into_iter().find(|asset| asset.name == name) else {
        return (StatusCode::NOT_FOUND, "there is no such file").into_response();
    };
    let is_newest = format!("{:08x}", *asset.checksum) == checksum;
    let keep = if is_newest { "public, max-age=31536000, immutable" } else { "no-cache" };
    ([(CONTENT_TYPE, asset.content_type), (CACHE_CONTROL, keep)], asset.text).into_response()
}
