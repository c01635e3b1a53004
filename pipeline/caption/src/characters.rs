//! Chinese characters to token ids without the tokenizer. In: a tokenizer of BERT's kind. Out: the ids that it gives, some twenty
//! times as fast: to it each Chinese character is a word of its own, whatever stands beside it, so its ids are looked up; what
//! stands between them goes through the tokenizer.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use anyhow::{Result, anyhow};
use serde_json::Value;
use tokenizers::Tokenizer;

/// A character that every such tokenizer knows as one word; it shows where special tokens go.
const PROBE: &str = "的";

/// A tokenizer whose words end at each Chinese character.
pub struct Characters {
    /// Neither cut nor padded.
    tokenizer: Tokenizer,
    /// Special tokens before and after a caption.
    before: Vec<u32>,
    after: Vec<u32>,
    /// Tokens of a caption that are kept, special ones not counted.
    max_content: usize,
    /// The ids of characters seen so far; at most one entry for each Chinese character there is.
    ids: RwLock<HashMap<char, Vec<u32>>>,
}

impl Characters {
    /// `tokenizer` as this, if it is of that kind: BERT's normaliser, which puts blanks around Chinese characters, its
    /// pre-tokeniser, which splits at blanks, and WordPiece, which looks at one word at a time.
    ///
    /// # Errors
    /// The tokenizer cannot be written down, or cannot say anything.
    pub fn of(tokenizer: &Tokenizer, max_length: usize) -> Result<Option<Self>> {
        let json = tokenizer.to_string(false).map_err(|error| anyhow!("{error}"))?;
        let json: Value = serde_json::from_str(&json)?;
        let normalizer = &json["normalizer"];
        let added = json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
        let is_of_the_kind = normalizer["type"] == "BertNormalizer"
            && normalizer["handle_chinese_chars"] == true
            && json["pre_tokenizer"]["type"] == "BertPreTokenizer"
            && json["model"]["type"] == "WordPiece"
            // One that has a Chinese character in it, or takes blanks beside it along, would be torn apart.
            && added.iter().all(|token| {
                token["lstrip"] == false
                    && token["rstrip"] == false
                    && token["single_word"] == false
                    && token["content"].as_str().is_some_and(|text| !text.chars().any(is_chinese))
            });
        if !is_of_the_kind {
            return Ok(None);
        }
        let mut tokenizer = tokenizer.clone();
        tokenizer.with_truncation(None).map_err(|error| anyhow!("{error}"))?;
        tokenizer.with_padding(None);
        let bare = encode(&tokenizer, PROBE, false)?;
        let whole = encode(&tokenizer, PROBE, true)?;
        let place = whole.windows(bare.len()).position(|ids| ids == bare);
        let Some(place) = place.filter(|_| !bare.is_empty()) else { return Ok(None) };
        let (before, after) = (whole[..place].to_vec(), whole[place + bare.len()..].to_vec());
        let Some(max_content) = max_length.checked_sub(before.len() + after.len()) else {
            return Ok(None);
        };
        Ok(Some(Self { tokenizer, before, after, max_content, ids: RwLock::default() }))
    }

    /// The ids of `text`, special tokens included.
    ///
    /// # Errors
    /// The tokenizer's model cannot say the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.before.clone();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            if is_chinese(next) {
                self.push(next, &mut ids)?;
                rest = &rest[next.len_utf8()..];
                continue;
            }
            let end = rest.find(is_chinese).unwrap_or(rest.len());
            let (between, after) = rest.split_at(end);
            if !between.trim().is_empty() {
                ids.extend(encode(&self.tokenizer, between, false)?);
            }
            rest = after;
        }
        ids.truncate(self.before.len() + self.max_content);
        ids.extend(&self.after);
        Ok(ids)
    }

    fn push(&self, character: char, ids: &mut Vec<u32>) -> Result<()> {
        if let Some(known) = self.ids.read().unwrap_or_else(PoisonError::into_inner).get(&character)
        {
            ids.extend(known);
            return Ok(());
        }
        let new = encode(&self.tokenizer, character.encode_utf8(&mut [0; 4]), false)?;
        ids.extend(&new);
        self.ids.write().unwrap_or_else(PoisonError::into_inner).insert(character, new);
        Ok(())
    }
}

fn encode(tokenizer: &Tokenizer, text: &str, special: bool) -> Result<Vec<u32>> {
    let encoding =
        tokenizer.encode_fast(text, special).map_err(|error| anyhow!("{text}: {error}"))?;
    Ok(encoding.get_ids().to_vec())
}

/// What BERT calls a Chinese character (`_is_chinese_char` of its `tokenization.py`): the CJK Unified Ideographs, their extensions A
/// to E, and the compatibility ideographs.
fn is_chinese(c: char) -> bool {
    matches!(
        c,
        '\u{4E00}'..='\u{9FFF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{20000}'..='\u{2A6DF}'
            | '\u{2A700}'..='\u{2B73F}'
            | '\u{2B740}'..='\u{2B81F}'
            | '\u{2B920}'..='\u{2CEAF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{2F800}'..='\u{2FA1F}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let words = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "的", "红", "圆", "##圆", "a", "##b", "12", "!",
            "[", "]", "é", "e",
        ];
        let vocab: serde_json::Map<String, Value> =
            words.iter().zip(0..).map(|(word, id)| ((*word).to_owned(), Value::from(id))).collect();
        let token = |id: u32, content: &str| {
            serde_json::json!({ "id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true })
        };
        let special =
            |id: &str, n: u32| serde_json::json!({ "id": id, "ids": [n], "tokens": [id] });
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [token(2, "[CLS]"), token(3, "[SEP]")],
            "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": null, "lowercase": true },
            "pre_tokenizer": { "type": "BertPreTokenizer" },
            "post_processor": { "type": "TemplateProcessing",
                "single": [ { "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
                            { "Sequence": { "id": "A", "type_id": 0 } },
                            { "SpecialToken": { "id": "[SEP]", "type_id": 0 } } ],
                "pair": [ { "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } } ],
                "special_tokens": { "[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3) } },
            "decoder": null,
            "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocab }
        });
        Tokenizer::from_bytes(json.to_string()).unwrap()
    }

    #[test]
    fn ids_are_those_of_the_tokenizer() {
        let mut whole = tokenizer();
        let truncation = tokenizers::TruncationParams { max_length: 7, ..Default::default() };
        whole.with_truncation(Some(truncation)).unwrap();
        let characters = Characters::of(&whole, 7).unwrap().unwrap();
        let parts = [
            "红", "圆", "的", "龘", "ab", "a", " ", "  ", "12", "!", "É", "e\u{301}", "[SEP]", "[",
            "\u{301}", "，", "𠀀", "豈", "あ", "\u{200b}", "Ａ", "😀",
        ];
        let mut state = 1_u64;
        for _ in 0..3_000 {
            let mut text = String::new();
            for _ in 0..state >> 40 & 7 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                text += parts[(state >> 33) as usize % parts.len()];
            }
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            assert_eq!(
                characters.encode(&text).unwrap(),
                encode(&whole, &text, true).unwrap(),
                "{text:?}"
            );
        }
    }
}
