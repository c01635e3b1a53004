//! Special tokens: those that stand for a caption's start, its end, and for nothing. In: a tokenizer, and what the files beside it
//! call them. Out: which tokens they are; ids that end. Never makes a token up: one that the tokenizer does not have is none.

use serde_json::Value;
use tokenizers::{AddedToken, Tokenizer};

/// The names of special tokens in `tokenizer_config.json` and `special_tokens_map.json`.
const NAMES: [&str; 7] =
    ["bos_token", "cls_token", "eos_token", "sep_token", "pad_token", "unk_token", "mask_token"];

/// A token and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialToken {
    /// As it is written.
    pub content: String,
    /// In the vocabulary.
    pub id: u32,
}

/// The special tokens of a tokenizer; none where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a caption.
    pub start: Option<SpecialToken>,
    /// Ends a caption.
    pub end: Option<SpecialToken>,
    /// Fills short captions.
    pub pad: Option<SpecialToken>,
    /// Stands for what the tokenizer cannot say.
    pub unknown: Option<SpecialToken>,
    /// Stands for a word to be guessed.
    pub mask: Option<SpecialToken>,
}

impl SpecialTokens {
    /// Those that `files` (what is in the JSON files beside the tokenizer; the first counts) name, else the ones that BERT, GPT-2 and
    /// T5 are known by.
    pub(crate) fn of(tokenizer: &Tokenizer, files: &[Value]) -> Self {
        let find = |keys: &[&str], known: &[&str]| {
            let named =
                keys.iter().flat_map(|key| files.iter().filter_map(move |file| token(&file[*key])));
            let id_of = |content: &str| {
                let id = tokenizer.token_to_id(content)?;
                Some(SpecialToken { content: content.to_owned(), id })
            };
            named.chain(known.iter().copied()).find_map(id_of)
        };
        Self {
            start: find(&["bos_token", "cls_token"], &["[CLS]", "<s>", "<|endoftext|>"]),
            end: find(&["eos_token", "sep_token"], &["[SEP]", "</s>", "<|endoftext|>"]),
            pad: find(&["pad_token"], &["[PAD]", "<pad>"]),
            unknown: find(&["unk_token"], &["[UNK]", "<unk>"]),
            mask: find(&["mask_token"], &["[MASK]", "<mask>"]),
        }
    }
}

/// Marks as special what `files` name, as transformers does when it loads a tokenizer: none of it is part of a caption's text.
pub(crate) fn mark(tokenizer: &mut Tokenizer, special: &SpecialTokens, files: &[Value]) {
    let named = files.iter().flat_map(|file| {
        let more = ["additional_special_tokens", "extra_special_tokens"].into_iter();
        let more = more.flat_map(|key| all(&file[key]));
        NAMES.into_iter().map(|key| &file[key]).chain(more).filter_map(token)
    });
    let found = [&special.start, &special.end, &special.pad, &special.unknown, &special.mask];
    let found = found.into_iter().flatten().map(|token| token.content.as_str());
    let known: Vec<AddedToken> = named
        .chain(found)
        .filter(|content| tokenizer.token_to_id(content).is_some())
        .map(|content| AddedToken::from(content, true))
        .collect();
    let marked = tokenizer.get_added_tokens_decoder();
    let is_marked = |token: &AddedToken| {
        marked.values().any(|other| other.content == token.content && other.special)
    };
    let new: Vec<AddedToken> = known.into_iter().filter(|token| !is_marked(token)).collect();
    if !new.is_empty() {
        // Fails only where a new token's id would be taken: these have theirs.
        let _ = tokenizer.add_special_tokens(new);
    }
}

/// What a list or, by names of their own, an object has.
fn all(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(all) => all.iter().collect(),
        Value::Object(named) => named.values().collect(),
        _ => Vec::new(),
    }
}

/// A token as the files write it: its text, or an object with it.
fn token(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// Makes the ids of a caption end: `ids`, cut to `max_length`, get `end` as their last unless they have it.
pub fn end_ids<T: Copy + PartialEq>(ids: &mut Vec<T>, end: T, max_length: usize) {
    ids.truncate(max_length);
    if ids.last() == Some(&end) {
        return;
    }
    ids.truncate(max_length.saturating_sub(1));
    ids.push(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_end_once_and_within_their_length() {
        for (ids, max_length, expected) in [
            (vec![5, 6], 4, vec![5, 6, 9]),
            (vec![5, 6, 9], 4, vec![5, 6, 9]),
            (vec![5, 6, 7, 8], 4, vec![5, 6, 7, 9]),
            (vec![5, 6, 7, 8, 9], 4, vec![5, 6, 7, 9]),
            (vec![5, 6, 7, 9, 9], 4, vec![5, 6, 7, 9]),
            (vec![], 4, vec![9]),
            (vec![5], 1, vec![9]),
        ] {
            let mut found = ids.clone();
            end_ids(&mut found, 9, max_length);
            assert_eq!(found, expected, "{ids:?}");
        }
    }
}
