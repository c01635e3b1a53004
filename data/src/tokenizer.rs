//! The tokenizer of the sample corpus. Out: a `tokenizer.json` in the format of the `tokenizers` library, built like that of
//! BERT: one token a Chinese character, WordPiece for the rest. Never trained: the vocabulary is written down here.

use serde_json::{Map, Value, json};

use crate::scene::{COLOURS, PLACES, RELATIONS, SHAPES};

/// Special tokens, in the order of their ids 0 to 4.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// Characters of the captions that are not in the name of a colour, shape, place or relation, and common punctuation.
const GLUE: &str = "有一个的在是，。、！？：；（）《》“”";

/// The tokens: special ones, printable ASCII in lower case, its letters and digits as word parts, Chinese characters.
pub fn vocabulary() -> Vec<String> {
    let mut tokens: Vec<String> = SPECIAL.map(String::from).to_vec();
    let ascii = ('!'..='~').filter(|c| !c.is_ascii_uppercase());
    tokens.extend(ascii.clone().map(String::from));
    tokens.extend(ascii.filter(char::is_ascii_alphanumeric).map(|c| format!("##{c}")));
    let names =
        COLOURS.iter().map(|colour| colour.name).chain(SHAPES.iter().map(|shape| shape.name()));
    let names = names
        .chain(PLACES.iter().map(|place| place.name))
        .chain(RELATIONS.iter().map(|relation| relation.0));
    for character in names.chain([GLUE]).flat_map(str::chars).map(String::from) {
        if !tokens.contains(&character) {
            tokens.push(character);
        }
    }
    tokens
}

/// The whole file.
pub fn tokenizer_json() -> String {
    let vocabulary = vocabulary();
    let ids: Map<String, Value> =
        vocabulary.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let added: Vec<Value> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                   "special": true})
        })
        .collect();
    let special =
        |token: &str, type_id: u32| json!({"SpecialToken": {"id": token, "type_id": type_id}});
    let sequence = |name: &str, type_id: u32| json!({"Sequence": {"id": name, "type_id": type_id}});
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                       "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)],
            "pair": [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0), sequence("B", 1), special("[SEP]", 1)],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": ids},
    });
    format!("{tokenizer:#}\n")
}
