//! Token ids to the labels of a batch. In: captions' ids as the corpus has them. Out: rows of one width, each of which ends, since a
//! model that never sees captions end never ends one. Never moves anything to a device.

use anyhow::{Result, bail};
use tuwen_caption::end_ids;
use tuwen_settings::TrainSettings;
use tuwen_stream::Batch;

use crate::captioner::IGNORED;
use crate::config::ModelConfig;

/// Labels of `b` captions, row by row: `[b, t]`.
#[derive(Debug, PartialEq)]
pub(crate) struct Labels {
    pub(crate) ids: Vec<i64>,
    /// t.
    pub(crate) width_tokens: usize,
}

/// The labels of `batch`: each caption, cut to `train.max_length`, ends with the decoder's end token, whatever the corpus's tokenizer
/// puts there. Padding is ignored in the loss, or, if it is to count, reaches up to `train.max_length`, as in the original.
///
/// # Errors
/// Token ids or lengths the model does not have.
pub(crate) fn labels(
    batch: &Batch,
    config: &ModelConfig,
    settings: &TrainSettings,
) -> Result<Labels> {
    let mut rows = Vec::with_capacity(batch.len());
    for (i, &n) in batch.lengths.iter().enumerate() {
        let mut row = batch.input_ids[i * batch.width_tokens..][..n as usize].to_vec();
        if let Some(id) = row.iter().find(|&&id| id < 0 || id >= config.decoder.vocab_size) {
            bail!(
                "example {}: expected token ids below {}, found {id}\nhint: was the corpus curated with this tokenizer?",
                batch.example_ids[i],
                config.decoder.vocab_size
            );
        }
        end_ids(&mut row, config.ids.eos, settings.max_length);
        rows.push(row);
    }
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let (width_tokens, padding) = if settings.count_padding_in_loss {
        (settings.max_length, config.ids.pad)
    } else {
        (longest, IGNORED)
    };
    if width_tokens as i64 > config.decoder.n_positions {
        bail!(
            "captions of {width_tokens} tokens: the decoder holds {}\nhint: train.max_length cuts them",
            config.decoder.n_positions
        );
    }
    for row in &mut rows {
        row.resize(width_tokens, padding);
    }
    Ok(Labels { ids: rows.concat(), width_tokens })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SpecialIds;

    #[test]
    fn labels_end_whatever_the_corpus_has() {
        let tiny = TrainSettings::preset("tiny").unwrap();
        let ids = SpecialIds { start: 1, eos: 2, pad: 0 };
        let config = ModelConfig::from_settings(&tiny, 50, ids).unwrap();
        // Two captions: one that ends, and one that does not.
        let batch = Batch {
            example_ids: vec![Default::default(); 2],
            input_ids: vec![1, 7, 2, 0, 7, 8, 9, 6],
            lengths: vec![3, 4],
            width_tokens: 4,
            ..Batch::default()
        };
        for (max_length, count_padding_in_loss, expected) in [
            (9, false, vec![1, 7, 2, IGNORED, IGNORED, 7, 8, 9, 6, 2]),
            (6, true, vec![1, 7, 2, 0, 0, 0, 7, 8, 9, 6, 2, 0]),
            (4, false, vec![1, 7, 2, IGNORED, 7, 8, 9, 2]),
            (2, false, vec![1, 2, 7, 2]),
        ] {
            let settings = TrainSettings { max_length, count_padding_in_loss, ..tiny.clone() };
            let labels = labels(&batch, &config, &settings).unwrap();
            assert_eq!(labels.ids, expected, "at most {max_length}");
            assert_eq!(labels.ids.len(), 2 * labels.width_tokens);
        }
    }
}
