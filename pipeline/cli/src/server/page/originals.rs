//! A picture file as it was fetched. In: an image's id. Out: the file, to be saved: a browser neither runs nor shows what is in it.

use std::sync::Arc;

use anyhow::Context;
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use datafusion::scalar::ScalarValue;
use tuwen_image::media_type;

use super::ask::Seeker;
use super::fault::Fault;

/// Pictures of dots, which have no script in them, and how their files end.
const RASTER: [(&str, &str); 8] = [
    ("image/jpeg", "jpg"),
    ("image/png", "png"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("image/avif", "avif"),
    ("image/bmp", "bmp"),
    ("image/tiff", "tif"),
    ("image/x-icon", "ico"),
];

/// `/originals/{image_id}`
pub(super) async fn original(
    State(seeker): State<Arc<Seeker>>,
    Path(image_id): Path<String>,
) -> Result<Response, Fault> {
    if !is_id(&image_id) {
        return Err(Fault::not_found("an image's id has 32 hexadecimal digits"));
    }
    let ctx = seeker.open().await?.file_of(&image_id).await?;
    let text = include_str!("../../../../../sql/page/original.sql");
    let rows = async {
        let frame = ctx.sql(text).await?;
        frame
            .with_param_values(vec![("image_id", ScalarValue::from(image_id.as_str()))])?
            .collect()
            .await
    };
    let rows = rows.await.context("sql/page/original.sql")?;
    let Some(row) = rows.iter().find(|batch| batch.num_rows() > 0) else {
        return Err(Fault::not_found("its file is not in the corpus"));
    };
    let bytes = cast(row.column(0), &DataType::LargeBinary).context("bytes")?;
    let bytes = bytes.as_binary::<i64>().value(0).to_vec();
    // By what is in it, not by what the table says of it.
    let kind = media_type(&bytes).unwrap_or_default();
    let known = RASTER.iter().find(|(known, _)| *known == kind);
    let (kind, end) = known.copied().unwrap_or(("application/octet-stream", "bin"));
    let headers = [
        (CONTENT_TYPE, kind.to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{image_id}.{end}\"")),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox; frame-ancestors 'none'".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}

/// Whether `text` may be the id of a row: 32 hexadecimal digits.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
