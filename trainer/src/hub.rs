//! Models by their Hugging Face id. In: what a setting names. Out: a folder: the one named, or the snapshot of the hub's
//! cache (the same one that Python's libraries use; `HF_HOME` moves it), downloaded if need be. Never downloads what
//! the cache has whole.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use hf_hub::{Cache, CacheRepo, Repo};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use crate::weights::WEIGHT_FILES;

/// The hub, unless `HF_ENDPOINT` names another.
const ENDPOINT: &str = "https://huggingface.co";

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest silence within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Files beside the weights that a folder may have.
const SMALL_FILES: [&str; 10] = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
];

/// The folder that `name` stands for: itself, or, where no such folder is and `name` looks like `owner/model`, the hub's.
///
/// # Errors
/// A model that the cache does not have whole and that cannot be downloaded.
pub fn folder(name: &str) -> Result<PathBuf> {
    let path = PathBuf::from(name);
    if path.exists() || !is_id(name) {
        return Ok(path);
    }
    let cache = Cache::from_env();
    if let Some(snapshot) = cached(&cache.repo(Repo::model(name.to_owned()))) {
        return Ok(snapshot);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let endpoint = std::env::var("HF_ENDPOINT").unwrap_or_else(|_| ENDPOINT.to_owned());
    let downloaded = if is_offline() {
        Err(anyhow!("HF_HUB_OFFLINE forbids it"))
    } else {
        runtime.block_on(download(name, &endpoint, &cache))
    };
    downloaded.map_err(|error| {
        anyhow!(
            "{name}: expected a folder, or a model of the Hugging Face hub; found neither here nor in the cache {}, and \
             downloading it failed: {}\n\
             hint: where there is a network, `hf download {name}` puts it into such a cache, which HF_HOME names here once \
             it is copied; HF_ENDPOINT names a mirror; a folder with its files does as well; preset scratch needs none",
            cache.path().display(),
            one_line(&error)
        )
    })
}

/// As Python's libraries take it.
fn is_offline() -> bool {
    let said = std::env::var("HF_HUB_OFFLINE").unwrap_or_default().to_uppercase();
    ["1", "ON", "YES", "TRUE"].contains(&said.as_str())
}

fn is_id(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    name.split_once('/').is_some_and(|(owner, model)| part(owner) && part(model))
}

/// The snapshot's folder, if the cache has the config and all weights.
fn cached(repo: &CacheRepo) -> Option<PathBuf> {
    let config = repo.get("config.json")?;
    let weights = WEIGHT_FILES.iter().find_map(|file| repo.get(file))?;
    let whole = shards(&weights).ok()?.iter().all(|shard| repo.get(shard).is_some());
    whole.then(|| config.parent().map(Path::to_owned))?
}

/// Downloads config, weights and what small files there are, at the newest commit, into the cache's layout: a file is written
/// under a name of this download's own and renamed, and the reference that makes the snapshot known comes last.
async fn download(id: &str, endpoint: &str, cache: &Cache) -> Result<PathBuf> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .build()?;
    let request = |url: String| {
        let request = client.get(url);
        match cache.token() {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    };
    let info = request(format!("{endpoint}/api/models/{id}")).send().await?.error_for_status()?;
    let info: Info = serde_json::from_slice(&info.bytes().await?).context("the hub's answer")?;
    let there: Vec<_> = info.siblings.into_iter().map(|file| file.rfilename).collect();
    let has = |file: &&str| there.iter().any(|there| there == file);
    let weights = WEIGHT_FILES.into_iter().find(has).with_context(|| {
        format!("expected one of {}, found {}", WEIGHT_FILES.join(", "), there.join(", "))
    })?;

    let repo = Repo::model(id.to_owned());
    let snapshot = cache.path().join(repo.folder_name()).join("snapshots").join(&info.sha);
    std::fs::create_dir_all(&snapshot)
        .with_context(|| format!("creating {}", snapshot.display()))?;
    let get = async |file: &str| -> Result<()> {
        let target = snapshot.join(file);
        if target.exists() {
            return Ok(());
        }
        let url = format!("{endpoint}/{id}/resolve/{}/{file}", info.sha);
        save(request(url), &target).await.with_context(|| file.to_owned())
    };
    for file in SMALL_FILES.into_iter().filter(has).chain([weights]) {
        get(file).await?;
    }
    for shard in shards(&snapshot.join(weights))? {
        get(&shard).await?;
    }
    cache.repo(repo).create_ref(&info.sha).context("writing the reference")?;
    Ok(snapshot)
}

/// Writes what `request` answers beside `target` and renames it then. The other file's name is of this download alone: another one
/// of the same model writes into its own.
async fn save(request: reqwest::RequestBuilder, target: &Path) -> Result<()> {
    let mut response = request.send().await?.error_for_status()?;
    let folder = target.parent().unwrap_or(Path::new("."));
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut partial = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".incomplete")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .with_context(|| format!("creating a file in {}", folder.display()))?;
    let style = ProgressStyle::with_template("{msg}  {bar:30} {bytes}/{total_bytes}  eta {eta}");
    let bar = ProgressBar::new(response.content_length().unwrap_or(0));
    bar.set_style(style.context("a progress bar's template")?);
    bar.set_message(name);
    while let Some(chunk) = response.chunk().await? {
        partial.write_all(&chunk).with_context(|| partial.path().display().to_string())?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    partial.as_file().sync_all().with_context(|| partial.path().display().to_string())?;
    partial.persist(target).with_context(|| target.display().to_string())?;
    Ok(())
}

/// The hub's answer about a model, as far as it is needed.
#[derive(Deserialize)]
struct Info {
    /// The newest commit.
    sha: String,
    siblings: Vec<Sibling>,
}

/// A file of it.
#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// The files that an index names; none if `weights` is not an index.
fn shards(weights: &Path) -> Result<Vec<String>> {
    match weights.extension().is_some_and(|extension| extension == "json") {
        true => crate::weights::shards(weights),
        false => Ok(Vec::new()),
    }
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinguished_from_paths() {
        for id in ["google/vit-base-patch16-224", "yuanzhoulvpi/gpt2_chinese", "a/b.c"] {
            assert!(is_id(id), "{id}");
        }
        for path in ["model", "./a/b", "../a", "/a/b", "a/b/c", "a/", "a b/c", "~/x"] {
            assert!(!is_id(path), "{path}");
        }
    }

    /// Answers each of `answers` once by its path, on one connection each.
    fn serve(answers: Vec<(&'static str, String)>) -> (String, std::thread::JoinHandle<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            for _ in 0..answers.len() {
                let mut stream = listener.accept().unwrap().0;
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap();
                let path = request.split(' ').nth(1).unwrap();
                let body = &answers.iter().find(|(answer, _)| *answer == path).unwrap().1;
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
                write!(stream, "{head} {}\r\n\r\n{body}", body.len()).unwrap();
            }
        });
        (address, thread)
    }

    /// Answers with `body` and promises more of it.
    fn serve_cut(body: &'static str) -> (String, std::thread::JoinHandle<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut request = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut request).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{body}").unwrap();
        });
        (address, thread)
    }

    #[test]
    fn a_download_ends_in_the_cache() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::new(home.path().to_owned());
        let info = r#"{"sha": "abc", "siblings": [{"rfilename": "config.json"}, {"rfilename": "README.md"},
            {"rfilename": "model.safetensors"}]}"#;
        let (address, server) = serve(vec![
            ("/api/models/owner/model", info.to_owned()),
            ("/owner/model/resolve/abc/config.json", "{}".to_owned()),
            ("/owner/model/resolve/abc/model.safetensors", "weights".to_owned()),
        ]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let snapshot = runtime.block_on(download("owner/model", &address, &cache)).unwrap();
        server.join().unwrap();
        assert_eq!(std::fs::read(snapshot.join("model.safetensors")).unwrap(), b"weights");
        assert_eq!(cached(&cache.repo(Repo::model("owner/model".to_owned()))), Some(snapshot));

        let gone = runtime.block_on(download("owner/other", &address, &cache)).unwrap_err();
        assert!(!one_line(&gone).contains('\n'));
    }

    #[test]
    fn downloads_of_one_model_share_no_partial_file() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("model.safetensors");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let whole = "weights".repeat(99);
        // The first ends in the middle; the second comes while its file is there; both are of one name.
        let (address, server) = serve(vec![("/whole", whole.clone())]);
        let (cut, cutting) = serve_cut("half");
        let client = reqwest::Client::new();
        let ends = runtime.block_on(async {
            tokio::join!(
                save(client.get(format!("{cut}/cut")), &target),
                save(client.get(format!("{address}/whole")), &target)
            )
        });
        server.join().unwrap();
        cutting.join().unwrap();
        assert!(ends.0.is_err() && ends.1.is_ok(), "{ends:?}");
        assert_eq!(std::fs::read_to_string(&target).unwrap(), whole);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "a partial file is left");
    }

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
