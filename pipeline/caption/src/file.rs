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

/// Classes of transformers that read a `vocab.txt` as `BertTokenizer` does.
const BERT_CLASSES: [&str; 6] = [
    "BertTokenizer",
    "BertTokenizerFast",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "ElectraTokenizer",
    "ElectraTokenizerFast",
];

/// Classes of transformers that read a `vocab.json` as `GPT2Tokenizer` does.
const GPT2_CLASSES: [&str; 2] = ["GPT2Tokenizer", "GPT2TokenizerFast"];

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
    /// No such file; one that is no tokenizer; without a `tokenizer.json`, a class that is neither BERT's nor GPT-2's.
    pub fn open(path: &Path) -> Result<Self> {
        let path = file(path)?;
        let shown = path.display();
        let beside = ["tokenizer_config.json", "special_tokens_map.json"];
        let beside = beside.map(|name| path.with_file_name(name));
        let files = beside.iter().filter(|file| file.exists()).map(|file| read_json(file));
        let files = files.collect::<Result<Vec<Value>>>()?;
        let json = match path.file_name().and_then(|name| name.to_str()) {
            Some("vocab.txt") => bert(&path, &files)?,
            Some("vocab.json") => gpt2(&path, &files)?,
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

/// What the first of `files` that says something under `key` says.
fn said<'a>(files: &'a [Value], key: &str) -> Option<&'a Value> {
    files.iter().map(|file| &file[key]).find(|value| !value.is_null())
}

/// Refuses a vocabulary that another class of transformers would make another tokenizer of.
fn check_class(vocab: &Path, files: &[Value], expected: &[&str]) -> Result<()> {
    let class = said(files, "tokenizer_class").and_then(Value::as_str);
    if let Some(class) = class.filter(|class| !expected.contains(class)) {
        bail!(
            "{}: tokenizer_class: expected {}, found {class}\n\
             hint: transformers writes its tokenizer.json, which is read of any class: \
             AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)",
            vocab.display(),
            expected.join(", ")
        );
    }
    Ok(())
}

/// The JSON of BERT's tokenizer, as transformers' `BertTokenizer` makes it from a vocabulary, a token a line.
fn bert(vocab: &Path, files: &[Value]) -> Result<Vec<u8>> {
    check_class(vocab, files, &BERT_CLASSES)?;
    let text = fs::read_to_string(vocab).with_context(|| format!("reading {}", vocab.display()))?;
    let ids: Map<String, Value> = text
        .split_terminator('\n')
        .map(|token| token.trim_end_matches('\r').to_owned())
        .zip(0..)
        .map(|(token, id)| (token, json!(id)))
        .collect();
    let said = |key: &str, default: Value| said(files, key).cloned().unwrap_or(default);
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
    let added = added_tokens(vocab, files, &ids, &special)?;
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
fn gpt2(vocab: &Path, files: &[Value]) -> Result<Vec<u8>> {
    check_class(vocab, files, &GPT2_CLASSES)?;
    let Value::Object(ids) = read_json(vocab)? else {
        bail!("{}: expected a JSON object", vocab.display())
    };
    let merges = vocab.with_file_name("merges.txt");
    let merges =
        fs::read_to_string(&merges).with_context(|| format!("reading {}", merges.display()))?;
    let merges: Vec<&str> = merges
        .lines()
        .filter(|line| !line.starts_with("#version") && !line.trim().is_empty())
        .collect();
    let added = added_tokens(vocab, files, &ids, &[END_OF_TEXT.to_owned()])?;
    let prefix = said(files, "add_prefix_space").is_some_and(|value| *value == true);
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": added,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "vocab": ids, "merges": merges,
        },
    });
    Ok(serde_json::to_vec(&tokenizer)?)
}

/// The `special` tokens of the vocabulary `ids`, and the tokens beside it: those of `added_tokens_decoder` in `tokenizer_config.json`,
/// else of `added_tokens.json`. As in transformers the latter decide, and get the ids after the vocabulary's, in their order.
fn added_tokens(
    vocab: &Path,
    files: &[Value],
    ids: &Map<String, Value>,
    special: &[String],
) -> Result<Vec<Value>> {
    let older = vocab.with_file_name("added_tokens.json");
    let mut beside: Vec<(u64, Value)> = Vec::new();
    if let Some(Value::Object(tokens)) = said(files, "added_tokens_decoder") {
        for (id, token) in tokens {
            let id = id.parse::<u64>().with_context(|| format!("added_tokens_decoder: `{id}`"))?;
            beside.push((id, token.clone()));
        }
    } else if older.exists()
        && let Value::Object(tokens) = read_json(&older)?
    {
        for (content, id) in &tokens {
            beside.push((id.as_u64().unwrap_or(u64::MAX), json!({"content": content})));
        }
    }
    beside.sort_by_key(|(id, _)| *id);
    let is_beside = |token: &String| beside.iter().any(|(_, other)| other["content"] == *token);
    let special = special.iter().filter(|token| ids.contains_key(*token) && !is_beside(token));
    let special = special.map(|token| json!({"content": token, "special": true}));
    let mut next = ids.len();
    let mut added = Vec::new();
    for token in special.chain(beside.iter().map(|(_, token)| token.clone())) {
        let Some(content) = token["content"].as_str() else {
            bail!("{}: expected the content of an added token, found {token}", vocab.display())
        };
        let id = ids.get(content).cloned().unwrap_or_else(|| {
            next += 1;
            json!(next - 1)
        });
        let is_special = token["special"] == true;
        added.push(json!({
            "id": id, "content": content, "special": is_special,
            "single_word": token["single_word"] == true, "lstrip": token["lstrip"] == true,
            "rstrip": token["rstrip"] == true,
            "normalized": token["normalized"].as_bool().unwrap_or(!is_special),
        }));
    }
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a vocabulary of GPT-2's, and `files` beside it.
    fn gpt2_folder(files: &[(&str, Value)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let ids = json!({"a": 0, "b": 1, "Ġ": 2, "<": 3, ">": 4, "Ġa": 5, "<|endoftext|>": 6});
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        write("vocab.json", ids.to_string());
        write("merges.txt", "#version: 0.2\nĠ a\n".to_owned());
        files.iter().for_each(|(name, value)| write(name, value.to_string()));
        folder
    }

    /// The ids of `text`, and what they say without special tokens.
    fn read(folder: &Path, text: &str) -> (Vec<u32>, String) {
        let tokenizer = TokenizerFile::open(folder).unwrap().tokenizer;
        let ids = tokenizer.encode(text, true).unwrap().get_ids().to_vec();
        let text = tokenizer.decode(&ids, true).unwrap();
        (ids, text)
    }

    /// Expected is what transformers' `GPT2Tokenizer` (version 5) makes of the same folders.
    #[test]
    fn the_files_beside_a_vocabulary_count() {
        let config = |more: Value| {
            let mut config = json!({"tokenizer_class": "GPT2Tokenizer"});
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ("tokenizer_config.json", config)
        };
        let decoder = json!({"added_tokens_decoder": {"7": {"content": "<b>", "lstrip": true, "normalized": false, "special": true}}});
        let older = ("added_tokens.json", json!({"<b>": 9, "<a>": 8}));
        for (files, ids, text) in [
            (vec![], vec![0, 5, 2, 3, 1, 4], "a a <b>"),
            (vec![config(json!({"add_prefix_space": true}))], vec![5, 5, 2, 3, 1, 4], " a a <b>"),
            (vec![older.clone()], vec![0, 5, 2, 8], "a a <b>"),
            (vec![config(decoder.clone())], vec![0, 5, 7], "a a"),
            (vec![config(decoder), older], vec![0, 5, 7], "a a"),
        ] {
            let folder = gpt2_folder(&files);
            assert_eq!(read(folder.path(), "a a <b>"), (ids, text.to_owned()), "{files:?}");
        }
    }

    #[test]
    fn a_vocabulary_of_another_class_is_refused_by_name() {
        let class = |class: &str| ("tokenizer_config.json", json!({"tokenizer_class": class}));
        for name in ["CLIPTokenizer", "RobertaTokenizer", "Qwen2Tokenizer", "BertTokenizer"] {
            let folder = gpt2_folder(&[class(name)]);
            let error = TokenizerFile::open(folder.path()).err().unwrap().to_string();
            let expected =
                format!("tokenizer_class: expected GPT2Tokenizer, GPT2TokenizerFast, found {name}");
            assert!(error.contains(&expected), "{error}");
        }
        assert!(TokenizerFile::open(gpt2_folder(&[class("GPT2TokenizerFast")]).path()).is_ok());
    }

    #[test]
    fn extra_special_tokens_may_have_names() {
        let named = json!({"extra_special_tokens": {"image_token": "a"}});
        let folder = gpt2_folder(&[("tokenizer_config.json", named)]);
        assert_eq!(read(folder.path(), "ab").1, "b");
    }
}
