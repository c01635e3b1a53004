//! The cache of Hugging Face's libraries on this disk. In: a model's place in it. Out: what it has of the model, and what the model
//! is known not to have. Never asks the hub.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hf_hub::{Cache, CacheRepo, Repo};

use crate::weights::{self, WEIGHT_FILES};

/// Files beside the weights that a folder may have.
pub(super) const SMALL_FILES: [&str; 11] = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
];

/// The snapshot's folder, if the cache has the config and all weights.
pub(super) fn cached(repo: &CacheRepo) -> Option<PathBuf> {
    let config = repo.get("config.json")?;
    let weights = WEIGHT_FILES.iter().find_map(|file| repo.get(file))?;
    let whole = shards(&weights).ok()?.iter().all(|shard| repo.get(shard).is_some());
    whole.then(|| config.parent().map(Path::to_owned))?
}

/// The folder of the snapshot of model `id` at commit `sha`.
pub(super) fn snapshot_at(cache: &Cache, id: &str, sha: &str) -> PathBuf {
    let folder = Repo::model(id.to_owned()).folder_name();
    cache.path().join(folder).join("snapshots").join(sha)
}

/// The small files that `snapshot` lacks and is not known to lack by right.
pub(super) fn unknown_files(snapshot: &Path) -> Vec<&'static str> {
    let is_known = |file: &str| snapshot.join(file).exists() || no_exist(snapshot, file).exists();
    SMALL_FILES.into_iter().filter(|file| !is_known(file)).collect()
}

/// The empty file by which the cache says that a model does not have `file`.
fn no_exist(snapshot: &Path, file: &str) -> PathBuf {
    let sha = snapshot.file_name().unwrap_or_default();
    let root = snapshot.parent().and_then(Path::parent).unwrap_or(snapshot);
    root.join(".no_exist").join(sha).join(file)
}

/// Records that the model does not have `file`, as Python's libraries do.
pub(super) fn mark_missing(snapshot: &Path, file: &str) -> Result<()> {
    let mark = no_exist(snapshot, file);
    let folder = mark.parent().unwrap_or(snapshot);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&mark, ""))
        .with_context(|| format!("writing {}", mark.display()))
}

/// The files that an index names; none if `weights` is not an index.
pub(super) fn shards(weights: &Path) -> Result<Vec<String>> {
    match weights.extension().is_some_and(|extension| extension == "json") {
        true => weights::shards(weights),
        false => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_counts_only_when_it_is_whole() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::new(home.path().to_owned());
        let repo = || cache.repo(Repo::model("owner/model".to_owned()));
        let root = home.path().join("models--owner--model");
        let snapshot = root.join("snapshots/abc");
        std::fs::create_dir_all(root.join("refs")).unwrap();
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::write(root.join("refs/main"), "abc").unwrap();
        let index = r#"{"weight_map": {"x": "part-1.safetensors", "y": "part-2.safetensors"}}"#;
        for (file, text, whole) in [
            ("config.json", "{}", false),
            ("model.safetensors.index.json", index, false),
            ("part-1.safetensors", "", false),
            ("part-2.safetensors", "", true),
        ] {
            std::fs::write(snapshot.join(file), text).unwrap();
            assert_eq!(cached(&repo()), whole.then(|| snapshot.clone()), "with {file}");
        }
    }
}
