//! Captions for picture files. In: paths and a model. Out: one line a picture. Never stops at an unreadable picture: it is
//! reported on stderr, and the next one is captioned.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tuwen_corpus::id::{hex, id_of};
use tuwen_image::decode_image;
use tuwen_settings::{DecodeSettings, TrainSettings};

use crate::caption_corpus::draw_key;
use crate::generate::{GenerateOptions, generate_keyed};
use crate::model::Model;
use crate::pixels::Crop;

/// How captions are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The caption; with several pictures the path, a tab, the caption.
    Lines,
    /// One JSON object a line: file, caption, score.
    Json,
}

/// Captions `files` to `out`, `settings.eval_batch_size` at a time; returns how many could not be read.
///
/// # Errors
/// `out` cannot be written; an unreadable picture is no error.
pub fn caption(
    model: &Model,
    files: &[PathBuf],
    decode: &DecodeSettings,
    settings: &TrainSettings,
    format: Format,
    out: &mut impl Write,
) -> Result<usize> {
    let options = GenerateOptions::from(settings);
    let views = model.views();
    let mut unreadable = 0;
    for chunk in files.chunks(settings.eval_batch_size.max(1)) {
        let (mut read, mut keys, mut pixels) = (Vec::new(), Vec::new(), Vec::new());
        for file in chunk {
            match picture(file, decode) {
                Ok((key, picture)) => {
                    read.push(file);
                    keys.push(key);
                    pixels.extend_from_slice(&picture);
                }
                Err(error) => {
                    unreadable += 1;
                    tracing::warn!("{}: {error:#}", file.display());
                }
            }
        }
        if read.is_empty() {
            continue;
        }
        let side = decode.size as usize;
        let pixels = model.pixels(&pixels, read.len(), side, Crop::whole(side));
        let captions = generate_keyed(&model.captioner, &views, &pixels, &options, &keys);
        for (file, generated) in read.iter().zip(captions) {
            let text = model.text.decode(&generated.ids)?;
            match format {
                Format::Json => writeln!(
                    out,
                    "{}",
                    json!({"file": file.display().to_string(), "caption": text, "score": generated.score})
                ),
                Format::Lines if files.len() == 1 => writeln!(out, "{text}"),
                Format::Lines => writeln!(out, "{}\t{text}", file.display()),
            }
            .context("writing captions")?;
        }
        out.flush().context("writing captions")?;
    }
    Ok(unreadable)
}

/// The key of a file's draws, and its pixels as the pipeline stores them: `[size, size, 3]`.
fn picture(file: &Path, decode: &DecodeSettings) -> Result<(u64, Vec<u8>)> {
    let bytes = std::fs::read(file).context("reading")?;
    match decode_image(&bytes, decode) {
        Ok(image) => Ok((draw_key(&hex(id_of(&bytes)))?, image.pixels)),
        Err(rejected) => bail!("{rejected}"),
    }
}
