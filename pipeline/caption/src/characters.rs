//! Chinese characters to token ids without the tokenizer. In: a tokenizer of BERT's kind. Out: the ids that it gives, some twenty
//! times as fast: to it each Chinese character is a word of its own, whatever stands beside it, so its ids are looked up; what
//! stands between them goes through the tokenizer.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use anyhow::{Result, anyhow};
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::Literal;

/// A character that every such tokenizer knows as one word; it shows where special tokens go.
const PROBE: &str = "的";

/// A tokenizer whose words end at each Chinese character.
pub struct Characters {
    /// Neither cut nor padded.
    tokenizer: Literal,
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
        let tokenizer = Literal::of(&tokenizer)?;
        let bare = tokenizer.ids(PROBE, false)?;
        let whole = tokenizer.ids(PROBE, true)?;
        let place = whole.windows(bare.len()).position(|ids| ids == bare);
        let Some(place) = place.filter(|_| !bare.is_empty()) else { return Ok(None) };
        let (before, after) = (whole[..place].to_vec(), whole[place + bare.len()..].to_vec());
        let Some(max_content) = max_length.checked_sub(before.len() + after.len()) else {
            return Ok(None);
        };
        Ok(Some(Self { tokenizer, before, after, max_content, ids: RwLock::default() }))
    }

    /// The ids of `text`, special tokens around it included, none in it.
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
                ids.extend(self.tokenizer.ids(between, false)?);
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
        let new = self.tokenizer.ids(character.encode_utf8(&mut [0; 4]), false)?;
        ids.extend(&new);
        self.ids.write().unwrap_or_else(PoisonError::into_inner).insert(character, new);
        Ok(())
    }
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
    use crate::literal::tests::{bert, random};

    #[test]
    fn ids_are_those_of_the_tokenizer() {
        let mut whole = bert();
        let truncation = tokenizers::TruncationParams { max_length: 7, ..Default::default() };
        whole.with_truncation(Some(truncation)).unwrap();
        let characters = Characters::of(&whole, 7).unwrap().unwrap();
        whole.set_encode_special_tokens(true);
        let parts = [
            "红", "圆", "的", "龘", "ab", "a", " ", "  ", "12", "!", "É", "e\u{301}", "[SEP]", "[",
            "\u{301}", "，", "𠀀", "豈", "あ", "\u{200b}", "Ａ", "😀", "[CLS]", "]",
        ];
        let mut next = random();
        for _ in 0..3_000 {
            let text: String = (0..next(8)).map(|_| parts[next(parts.len())]).collect();
            let expected = whole.encode_fast(text.as_str(), true).unwrap();
            assert_eq!(characters.encode(&text).unwrap(), expected.get_ids(), "{text:?}");
        }
    }
}
