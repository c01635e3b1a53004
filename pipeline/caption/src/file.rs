//! A tokenizer from its files. In: a `tokenizer.json`, or a folder with one, or with the older files of BERT (`vocab.txt`) or GPT-2
//! (`vocab.json` and `merges.txt`). Out: the tokenizer, its special tokens, its JSON. Never tokenises.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use crate::special::{SpecialTokens, mark};

/// The token of GPT-2 that begins and ends texts.
const END_OF_TEXT: &str = "<|endoftext|>";

/// A tokenizer with what its files say of it.
pub struct TokenizerFile {
    /// Its special tokens are marked as such.
    pub tokenizer: Tokenizer,
    /// Which they are.
    pub special: SpecialTokens,
    /// As `tokenizer.json` has it.
    pub json: Vec<u8>,
}

impl TokenizerFile {
    /// Opens the file, or the first of a folder that is there. Special tokens are those that `tokenizer_config.json` and
    /// `special_tokens_map.json` beside it name, else the ones that BERT, GPT-2 and T5 are known by.
    ///
    /// # Errors
    /// No such file; one that is no tokenizer.
    pub fn open(path: &Path) -> Result<Self> {
        let path = file(path)?;
        let shown = path.display();
        let beside = ["tokenizer_config.json", "special_tokens_map.json"];
        let beside = beside.map(|name| path.with_file_name(name));
        let files = beside.iter().filter(|file| file.exists()).map(|file| read_json(file));
        let files = files.collect::<Result<Vec<Value>>>()?;
        let json = match path.file_name().and_then(|name| name.to_str()) {
            Some("vocab.txt") => bert(&path, &files)?,
            Some("vocab.json") => gpt2(&path)?,
            _ => fs::read(&path)
                .with_context(|| format!("{shown}: expected a tokenizer.json, cannot read it"))?,
        };
        let mut tokenizer = Tokenizer::from_bytes(&json).map_err(|error| {
            anyhow!("{shown}: expected a tokenizer.json of the tokenizers library, found: {error}")
        })?;
        let special = SpecialTokens::of(&tokenizer, &files);
        mark(&mut tokenizer, &special, &files);
        Ok(Self { tokenizer, special, json })
    }

    /// Whether a folder has files of a tokenizer.
    pub fn is_in(folder: &Path) -> bool {
        folder.is_dir() && file(folder).is_ok()
    }
}

/// The file that `path` is, or the one in it.
fn file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let json = path.join("tokenizer.json");
    let bpe = path.join("vocab.json");
    if json.exists() {
        return Ok(json);
    }
    if bpe.exists() && path.join("merges.txt").exists() {
        return Ok(bpe);
    }
    let bert = path.join("vocab.txt");
    if bert.exists() {
        return Ok(bert);
    }
    bail!(
        "{}: expected a tokenizer (tokenizer.json, vocab.json and merges.txt, or vocab.txt), found none",
        path.display()
    )
}

fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{}: expected JSON", path.display()))
}

/// The JSON of BERT's tokenizer, as transformers' `BertTokenizer` makes it from a vocabulary, a token a line.
fn bert(vocab: &Path, files: &[Value]) -> Result<Vec<u8>> {
    let text = fs::read_to_string(vocab).with_context(|| format!("reading {}", vocab.display()))?;
    let ids: Map<String, Value> = text
        .split_terminator('\n')
        .map(|token| token.trim_end_matches('\r').to_owned())
        .zip(0..)
        .map(|(token, id)| (token, json!(id)))
        .collect();
    let said = |key: &str, default: Value| {
        let found = files.iter().map(|file| &file[key]).find(|value| !value.is_null());
        found.cloned().unwrap_or(default)
    };
    let token = |key: &str, default: &str| {
        let found = said(key, json!(default));
        found["content"].as_str().or(found.as_str()).unwrap_or(default).to_owned()
    };
    let (start, end) = (token("cls_token", "[CLS]"), token("sep_token", "[SEP]"));
    let unknown = token("unk_token", "[UNK]");
    let special = [
        token("pad_token", "[PAD]"),
        unknown.clone(),
        start.clone(),
        end.clone(),
        token("mask_token", "[MASK]"),
    ];
    for needed in [&start, &end, &unknown] {
        if !ids.contains_key(needed) {
            bail!("{}: expected the token {needed}, found none", vocab.display());
        }
    }
    let added = special.iter().filter_map(|token| Some(added(token, ids.get(token)?)));
    let added: Vec<Value> = added.collect();
    let template = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let as_special = |token: &str| json!({"id": token, "ids": [ids[token]], "tokens": [token]});
    let sequence = json!({"Sequence": {"id": "A", "type_id": 0}});
    let single = json!([template(&start), sequence, template(&end)]);
    let mut special_tokens = Map::new();
    for token in [&start, &end] {
        special_tokens.insert(token.clone(), as_special(token));
    }
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true,
            "handle_chinese_chars": said("tokenize_chinese_chars", json!(true)),
            "strip_accents": said("strip_accents", Value::Null),
            "lowercase": said("do_lower_case", json!(true)),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special_tokens,
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": ids,
        },
    });
    Ok(serde_json::to_vec(&tokenizer)?)
}

/// The JSON of GPT-2's tokenizer, as transformers' `GPT2Tokenizer` makes it from a vocabulary and merges.
fn gpt2(vocab: &Path) -> Result<Vec<u8>> {
    let ids = read_json(vocab)?;
    let merges = vocab.with_file_name("merges.txt");
    let merges =
        fs::read_to_string(&merges).with_context(|| format!("reading {}", merges.display()))?;
    let merges: Vec<&str> = merges
        .lines()
        .filter(|line| !line.starts_with("#version") && !line.trim().is_empty())
        .collect();
    let end = ids.get(END_OF_TEXT).map(|id| added(END_OF_TEXT, id));
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": end.into_iter().collect::<Vec<_>>(),
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "vocab": ids, "merges": merges,
        },
    });
    Ok(serde_json::to_vec(&tokenizer)?)
}

fn added(token: &str, id: &Value) -> Value {
    json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true})
}
