//! The data card of an export, README.md. In: what was written, and the snapshot. Out: Markdown with the metadata in front by which the hub
//! and `datasets` find its splits. What was crawled stays text.

use std::fmt::Write;

use anyhow::Result;
use tuwen_corpus::Snapshot;
use tuwen_etl::sql::{Session, default_memory_bytes};
use tuwen_settings::Settings;

use super::columns::{Layout, comment, dtype};
use super::options::{Format, Pictures};
use super::plan::Manifest;
use crate::report::{Options, collect, escaped, front_lines, write_rows, write_sections};

/// The card.
///
/// # Errors
/// A table cannot be read.
pub(super) async fn card(
    snapshot: Snapshot,
    settings: &Settings,
    manifest: &Manifest,
    layout: &Layout,
) -> Result<String> {
    let session = Session::new(snapshot, settings, default_memory_bytes())?;
    // Gates are no part of what was exported: whoever resumes it may have set them otherwise.
    let options = Options { pictures: 0, groups: 0, gates: None };
    let report = Box::pin(collect(&session, &options)).await?;
    let mut text = format!("---\n{}", front_lines(manifest.rows.values().sum()));
    text.push_str(&configs(manifest));
    if manifest.plan.format == Format::Huggingface {
        text.push_str(&dataset_info(manifest, layout));
    }
    text.push_str("---\n\n# Captioned pictures\n\n");
    let plan = &manifest.plan;
    let pictures = match plan.pictures {
        Pictures::Original => "as they were fetched",
        Pictures::Decoded => "decoded and resized, as PNG",
    };
    let _ = writeln!(text, "Exported by tuwen {}, pictures {pictures}.", plan.tuwen);
    if let Some(predicate) = &plan.predicate {
        let _ = writeln!(text, "Only pairs for which this is true: {}", escaped(predicate));
    }
    text.push('\n');
    let splits = manifest.rows.iter().map(|(split, n)| vec![split.clone(), n.to_string()]);
    write_rows(&mut text, &["split", "rows"], &[false, true], splits);
    if plan.format != Format::Webdataset {
        let columns = layout.schema().fields().iter();
        let columns = columns.map(|f| vec![f.name().clone(), comment(f.name(), plan.pictures)]);
        write_rows(&mut text, &["column", "meaning"], &[false, false], columns);
    }
    text.push_str("# The corpus that they are of\n\n");
    write_sections(&mut text, &report);
    text.truncate(text.trim_end().len());
    text.push('\n');
    Ok(text)
}

/// Which files are which split's.
fn configs(manifest: &Manifest) -> String {
    let mut text = "configs:\n- config_name: default\n  data_files:\n".to_owned();
    for split in manifest.rows.keys() {
        let files = match manifest.plan.format {
            Format::Webdataset => format!("{split}/*.tar"),
            _ => format!("data/{split}-*.parquet"),
        };
        let _ = writeln!(text, "  - split: {split}\n    path: {files}");
    }
    text
}

/// Columns and sizes as the hub shows them.
fn dataset_info(manifest: &Manifest, layout: &Layout) -> String {
    let mut text = "dataset_info:\n  features:\n".to_owned();
    for field in layout.schema().fields() {
        let _ = writeln!(text, "  - name: {}\n    dtype: {}", field.name(), dtype(field));
    }
    text.push_str("  splits:\n");
    let bytes = |split: Option<&str>| -> u64 {
        let of = |path: &str| split.is_none_or(|split| path.starts_with(&format!("data/{split}-")));
        manifest.shards.iter().filter(|shard| of(&shard.path)).map(|shard| shard.bytes).sum()
    };
    for (split, n) in &manifest.rows {
        let n_bytes = bytes(Some(split));
        let _ =
            writeln!(text, "  - name: {split}\n    num_bytes: {n_bytes}\n    num_examples: {n}");
    }
    let bytes = bytes(None);
    let _ = writeln!(text, "  download_size: {bytes}\n  dataset_size: {bytes}");
    text
}
