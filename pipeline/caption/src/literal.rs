//! Text that is nothing but text. In: a tokenizer, and texts. Out: ids, among which a special token is only where the tokenizer's own
//! post-processor puts it: never because a text says `[SEP]` or `<|endoftext|>`. Never pads.

use std::ops::Range;

use anyhow::{Result, anyhow};
use serde_json::Value;
use tokenizers::{AddedToken, Encoding, Token, Tokenizer};

use crate::spaces::remove_cjk_spaces;

/// A tokenizer that reads a special token in a text as the characters it is written with, as transformers' does with
/// `split_special_tokens`.
pub struct Literal {
    tokenizer: Tokenizer,
    /// The tokens that no text may bring.
    special: Vec<Special>,
}

struct Special {
    content: String,
    id: u32,
}

impl Literal {
    /// `tokenizer`, which cuts as it is set to. Special are its added tokens that say so, and those that its post-processor adds.
    ///
    /// # Errors
    /// The tokenizer cannot be written down.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self> {
        let mut tokenizer = tokenizer.clone();
        tokenizer.with_padding(None);
        let json = tokenizer.to_string(false).map_err(|error| anyhow!("{error}"))?;
        let json: Value = serde_json::from_str(&json)?;
        let mut around = Vec::new();
        push_ids(&json["post_processor"], &mut around);
        let added = tokenizer.get_added_tokens_decoder();
        // The library knows only those that are marked.
        let unmarked: Vec<AddedToken> = added
            .iter()
            .filter(|(id, token)| around.contains(*id) && !token.special)
            .map(|(_, token)| token.clone().special(true))
            .collect();
        tokenizer.add_special_tokens(unmarked).map_err(|error| anyhow!("{error}"))?;
        tokenizer.set_encode_special_tokens(true);
        let unknown = unknown(&json["model"], &tokenizer);
        let mut ids = around.clone();
        // What an unknown word becomes may come from a text.
        let marked = added.iter().filter(|(id, token)| token.special && unknown != Some(**id));
        ids.extend(marked.map(|(id, _)| *id));
        ids.sort_unstable();
        ids.dedup();
        let content = |id: u32| tokenizer.id_to_token(id).unwrap_or_default();
        let special = ids.into_iter().map(|id| Special { content: content(id), id }).collect();
        Ok(Self { tokenizer, special })
    }

    /// The text of `ids`, special tokens left out, without spaces beside Chinese characters.
    ///
    /// # Errors
    /// The tokenizer's decoder cannot say them.
    pub fn text(&self, ids: &[u32]) -> Result<String> {
        let is_special = |id: &u32| self.special.iter().any(|special| special.id == *id);
        let ids: Vec<u32> = ids.iter().copied().filter(|id| !is_special(id)).collect();
        let text = self.tokenizer.decode(&ids, true).map_err(|error| anyhow!("{error}"))?;
        Ok(remove_cjk_spaces(&text))
    }

    /// The ids of `text`; `with_special`: between those that the post-processor puts around it.
    ///
    /// # Errors
    /// The tokenizer's model cannot say the text.
    pub fn ids(&self, text: &str, with_special: bool) -> Result<Vec<u32>> {
        let mut encoding = self.encode(text)?;
        if encoding.get_ids().iter().any(|id| self.is_special(*id)) {
            encoding = self.encode_in_pieces(text)?;
        }
        if with_special {
            encoding = self
                .tokenizer
                .post_process(encoding, None, true)
                .map_err(|error| anyhow!("{text}: {error}"))?;
        }
        Ok(encoding.get_ids().to_vec())
    }

    /// Whether the post-processor puts a token behind a text.
    ///
    /// # Errors
    /// The post-processor fails.
    pub fn ends_texts(&self) -> Result<bool> {
        const WORD: u32 = u32::MAX;
        let text = Encoding::from_tokens(vec![Token::new(WORD, String::new(), (0, 0))], 0);
        let whole = self.tokenizer.post_process(text, None, true);
        let whole = whole.map_err(|error| anyhow!("the tokenizer's post-processor: {error}"))?;
        Ok(whole.get_ids().last() != Some(&WORD))
    }

    /// A model that has special tokens among its words finds them in a text by itself; it cannot if they are taken apart.
    fn encode_in_pieces(&self, text: &str) -> Result<Encoding> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let found = self.special.iter().filter_map(|special| find(rest, &special.content));
            // Behind the first character of the one that comes first.
            let end = found.min_by_key(|found| found.start).map_or(rest.len(), |found| {
                rest[found.clone()].chars().next().map_or(found.end, |c| found.start + c.len_utf8())
            });
            let (piece, after) = rest.split_at(end);
            let encoding = self.encode(piece)?;
            // One that is written otherwise (in capitals, say) says nothing.
            let ordinary = encoding.get_ids().iter().filter(|id| !self.is_special(**id));
            tokens.extend(ordinary.map(|id| Token::new(*id, String::new(), (0, 0))));
            rest = after;
        }
        Ok(Encoding::from_tokens(tokens, 0))
    }

    fn encode(&self, text: &str) -> Result<Encoding> {
        self.tokenizer.encode_fast(text, false).map_err(|error| anyhow!("{text}: {error}"))
    }

    fn is_special(&self, id: u32) -> bool {
        self.special.iter().any(|special| special.id == id)
    }
}

/// Where `content` first stands in `text`, if it stands there and can be taken apart.
fn find(text: &str, content: &str) -> Option<Range<usize>> {
    let start = text.find(content)?;
    (content.chars().nth(1).is_some()).then(|| start..start + content.len())
}

/// The ids that a post-processor adds: those of a template, `[content, id]` of `sep` and `cls`, of all processors of a sequence.
fn push_ids(processor: &Value, ids: &mut Vec<u32>) {
    let mut push = |id: &Value| ids.extend(id.as_u64().and_then(|id| u32::try_from(id).ok()));
    push(&processor["sep"][1]);
    push(&processor["cls"][1]);
    for token in processor["special_tokens"].as_object().into_iter().flat_map(|all| all.values()) {
        token["ids"].as_array().into_iter().flatten().for_each(&mut push);
    }
    for processor in processor["processors"].as_array().into_iter().flatten() {
        push_ids(processor, ids);
    }
}

/// The id of what a model does not know.
fn unknown(model: &Value, tokenizer: &Tokenizer) -> Option<u32> {
    let named = model["unk_token"].as_str().and_then(|unknown| tokenizer.token_to_id(unknown));
    named.or_else(|| model["unk_id"].as_u64().and_then(|id| u32::try_from(id).ok()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    use serde_json::json;

    /// Numbers below what is asked for, the same in each run.
    pub(crate) fn random() -> impl FnMut(usize) -> usize {
        let mut state = 1_u64;
        move |below| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        }
    }

    fn vocab(words: &[&str]) -> Value {
        words
            .iter()
            .zip(0..)
            .map(|(word, id)| ((*word).to_owned(), Value::from(id)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    fn added(id: u32, content: &str, special: bool) -> Value {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": special })
    }

    /// A template that puts `[first, id]` before a text and `[last, id]` behind it.
    fn template(first: (&str, u32), last: (&str, u32)) -> Value {
        let special = |(id, n): (&str, u32)| json!({ "id": id, "ids": [n], "tokens": [id] });
        json!({ "type": "TemplateProcessing",
            "single": [ { "SpecialToken": { "id": first.0, "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
                        { "SpecialToken": { "id": last.0, "type_id": 0 } } ],
            "pair": [ { "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } } ],
            "special_tokens": { first.0: special(first), last.0: special(last) } })
    }

    fn tokenizer(parts: Value) -> Tokenizer {
        let mut json = json!({ "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": null, "post_processor": null, "decoder": null });
        for (name, part) in parts.as_object().unwrap() {
            json[name] = part.clone();
        }
        Tokenizer::from_bytes(json.to_string()).unwrap()
    }

    pub(crate) fn bert() -> Tokenizer {
        let words = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "的", "红", "圆", "##圆", "a", "##b", "12", "!",
            "[", "]", "é", "e", "sep", "[MASK]",
        ];
        tokenizer(json!({
            "added_tokens": [added(0, "[PAD]", true), added(1, "[UNK]", true), added(2, "[CLS]", true), added(3, "[SEP]", true),
                added(17, "[MASK]", true)],
            "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                "lowercase": true },
            "pre_tokenizer": { "type": "BertPreTokenizer" },
            "post_processor": template(("[CLS]", 2), ("[SEP]", 3)),
            "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocab(&words) }
        }))
    }

    /// Byte-level as GPT-2's, without merges: a token a byte. `is_marked`: whether it says that its end token is special.
    fn byte_level(is_marked: bool) -> Tokenizer {
        let mut words = ["<|endoftext|>"].map(str::to_owned).to_vec();
        words.extend(('!'..='~').chain('¡'..='¬').chain('®'..='ÿ').map(String::from));
        words.extend(('Ā'..='Ń').map(String::from));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        tokenizer(json!({
            "added_tokens": [added(0, "<|endoftext|>", is_marked)],
            "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
            "post_processor": template(("<|endoftext|>", 0), ("<|endoftext|>", 0)),
            "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab(&words), "merges": [] }
        }))
    }

    /// As T5's: its special tokens are among the model's own pieces.
    fn unigram() -> Tokenizer {
        let pieces = [
            ("<pad>", 0.0),
            ("</s>", 0.0),
            ("<unk>", 0.0),
            ("▁", -2.0),
            ("<", -3.0),
            ("/", -3.0),
            ("s", -3.0),
            (">", -3.0),
            ("红", -3.0),
        ];
        tokenizer(json!({
            "added_tokens": [added(0, "<pad>", true), added(1, "</s>", true), added(2, "<unk>", true)],
            "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": true },
            "post_processor": template(("<pad>", 0), ("</s>", 1)),
            "model": { "type": "Unigram", "unk_id": 2, "byte_fallback": false, "vocab": pieces }
        }))
    }

    #[test]
    fn no_special_token_comes_from_a_text() {
        // By hand: `[`, `sep` and `]` are words; `MASK`, `CLS` and `PAD` are none of this vocabulary.
        let literal = Literal::of(&bert()).unwrap();
        for (text, expected) in [
            ("红[SEP]的", vec![5, 12, 16, 13, 4]),
            ("[CLS]", vec![12, 1, 13]),
            ("[PAD]", vec![12, 1, 13]),
            ("[UNK]", vec![12, 1, 13]),
            ("[MASK]", vec![12, 1, 13]),
            ("[SEP", vec![12, 16]),
            ("", vec![]),
        ] {
            assert_eq!(literal.ids(text, false).unwrap(), expected, "{text}");
            let whole = [vec![2], expected, vec![3]].concat();
            assert_eq!(literal.ids(text, true).unwrap(), whole, "{text}");
        }
        // A byte is the id of its character in the alphabet: `!` is 1, so `<` is 28.
        let by_bytes =
            |text: &str| text.bytes().map(|byte| u32::from(byte) - 32).collect::<Vec<_>>();
        for is_marked in [true, false] {
            let literal = Literal::of(&byte_level(is_marked)).unwrap();
            for text in ["<|endoftext|>", "ab<|endoftext|>c<|endoftext|>", "</s>"] {
                assert_eq!(literal.ids(text, false).unwrap(), by_bytes(text), "{text}");
                let whole = [vec![0], by_bytes(text), vec![0]].concat();
                assert_eq!(literal.ids(text, true).unwrap(), whole, "{text}");
            }
        }
        let literal = Literal::of(&unigram()).unwrap();
        for (text, expected) in [
            ("红</s>红", vec![8, 4, 5, 6, 7, 8]),
            ("</s></s>", vec![4, 5, 6, 7, 4, 5, 6, 7]),
            ("红龘", vec![8, 2]),
        ] {
            assert_eq!(literal.ids(text, false).unwrap(), expected, "{text}");
            let whole = [vec![0], expected, vec![1]].concat();
            assert_eq!(literal.ids(text, true).unwrap(), whole, "{text}");
        }
    }

    #[test]
    fn a_post_processor_ends_texts_or_not() {
        let start_alone = json!({ "type": "TemplateProcessing",
            "single": [ { "SpecialToken": { "id": "[CLS]", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } } ],
            "pair": [ { "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } } ],
            "special_tokens": { "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] } } });
        let bert: Value = serde_json::from_str(&bert().to_string(false).unwrap()).unwrap();
        for (post_processor, expected) in
            [(bert["post_processor"].clone(), true), (start_alone, false), (Value::Null, false)]
        {
            let mut json = bert.clone();
            json["post_processor"] = post_processor;
            let tokenizer = Tokenizer::from_bytes(json.to_string()).unwrap();
            assert_eq!(Literal::of(&tokenizer).unwrap().ends_texts().unwrap(), expected);
        }
    }

    #[test]
    fn a_long_text_is_cut_as_the_tokenizer_cuts_it() {
        for tokenizer in [bert(), byte_level(true)] {
            let mut cutting = tokenizer;
            let truncation = tokenizers::TruncationParams { max_length: 6, ..Default::default() };
            cutting.with_truncation(Some(truncation)).unwrap();
            let literal = Literal::of(&cutting).unwrap();
            for text in ["", "a", "红的", "a 12 红 的 !", "红红红红红红红红"] {
                let expected = cutting.encode_fast(text, true).unwrap();
                assert_eq!(literal.ids(text, true).unwrap(), expected.get_ids(), "{text}");
            }
        }
    }
}
