//! Models by their Hugging Face id. In: what a setting names. Out: a folder: the one named, or the snapshot of the hub's
//! cache (the same one that Python's libraries use; `HF_HOME` moves it), downloaded if need be. Never downloads what
//! the cache has whole, and never needs a network where the cache has config and weights.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use hf_hub::{Cache, CacheRepo, Repo};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};
use tuwen_corpus::log::BARS;

use self::cache::{SMALL_FILES, cached, mark_missing, shards, snapshot_at, unknown_files};
use crate::weights::WEIGHT_FILES;

mod cache;

/// The hub, unless `HF_ENDPOINT` names another.
const ENDPOINT: &str = "https://huggingface.co";

/// How long connecting may take, and the longest silence within an answer.
#[derive(Clone, Copy)]
struct Patience {
    connect: Duration,
    read: Duration,
}

/// For a model that is not here.
const DOWNLOAD: Patience =
    Patience { connect: Duration::from_secs(20), read: Duration::from_secs(60) };

/// For what a model that is here may lack: nodes behind a firewall have no answer at all.
const COMPLETION: Patience =
    Patience { connect: Duration::from_secs(3), read: Duration::from_secs(3) };

/// How the names of partial files end.
const INCOMPLETE: &str = ".incomplete";

/// A partial file that has not grown for so long is of a download that was killed.
const STALE: Duration = Duration::from_secs(600);

/// Cached models for which the hub was asked: once in a process, whatever came of it.
static COMPLETED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

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
    let endpoint = std::env::var("HF_ENDPOINT").unwrap_or_else(|_| ENDPOINT.to_owned());
    if let Some(snapshot) = cached(&cache.repo(Repo::model(name.to_owned()))) {
        complete(name, &endpoint, cache, &snapshot);
        return Ok(snapshot);
    }
    let place = cache.path().clone();
    let downloaded = if is_offline() {
        Err(anyhow!("HF_HUB_OFFLINE forbids it"))
    } else {
        let hub = Hub::new(name, &endpoint, cache, DOWNLOAD)?;
        runtime()?.block_on(hub.download())
    };
    downloaded.map_err(|error| {
        anyhow!(
            "{name}: expected a folder, or a model of the Hugging Face hub; found neither here nor in the cache {}, and \
             downloading it failed: {}\n\
             hint: where there is a network, `hf download {name}` puts it into such a cache, which HF_HOME names here once \
             it is copied; HF_ENDPOINT names a mirror; a folder with its files does as well; preset scratch needs none",
            place.display(),
            one_line(&error)
        )
    })
}

/// Asks the hub, the first time in this process, for what the snapshot of model `id` lacks and is not known to lack by right. Where
/// it does not say, the snapshot is used as it is.
fn complete(id: &str, endpoint: &str, cache: Cache, snapshot: &Path) {
    let missing = unknown_files(snapshot);
    let mut completed = COMPLETED.lock().unwrap_or_else(PoisonError::into_inner);
    if missing.is_empty() || !completed.insert(id.to_owned()) {
        return;
    }
    let asked = || {
        if is_offline() {
            return Err(anyhow!("HF_HUB_OFFLINE forbids to ask"));
        }
        let hub = Hub::new(id, endpoint, cache, COMPLETION)?;
        let runtime = runtime()?;
        let asked = runtime.block_on(hub.complete(snapshot, &missing));
        // A name may still be looked up, which nobody waits for.
        runtime.shutdown_background();
        asked
    };
    if let Err(error) = asked() {
        tracing::warn!(
            "{id}: the cache does not have {}, nor whether the model has: it is used without: {}",
            missing.join(", "),
            one_line(&error)
        );
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
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

/// A model of the hub, and the cache for it.
struct Hub<'a> {
    id: &'a str,
    endpoint: &'a str,
    cache: Cache,
    client: reqwest::Client,
}

impl<'a> Hub<'a> {
    fn new(id: &'a str, endpoint: &'a str, cache: Cache, patience: Patience) -> Result<Self> {
        let client = reqwest::Client::builder()
            .connect_timeout(patience.connect)
            .read_timeout(patience.read)
            .build()?;
        Ok(Self { id, endpoint, cache, client })
    }

    fn repo(&self) -> CacheRepo {
        self.cache.repo(Repo::model(self.id.to_owned()))
    }

    fn request(&self, url: String) -> RequestBuilder {
        let request = self.client.get(url);
        match self.cache.token() {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Downloads those of `files` that the model has at the commit of `snapshot`, and records which it has not, as Python's
    /// libraries do.
    async fn complete(&self, snapshot: &Path, files: &[&str]) -> Result<()> {
        let mut refused = Ok(());
        for file in files {
            let response = self.request(self.url(snapshot, file)).send().await?;
            if is_no_file(&response) {
                mark_missing(snapshot, file)?;
                continue;
            }
            match response.error_for_status() {
                Ok(response) => {
                    let saved = save(response, &snapshot.join(file)).await;
                    saved.with_context(|| (*file).to_owned())?;
                }
                // A mirror may not say that it is the file alone that is not there, and have the next.
                Err(error) => refused = refused.and(Err(error.into())),
            }
        }
        refused
    }

    /// Downloads config, weights and what small files there are, at the newest commit, into the cache's layout: a file is written
    /// under a name of this download's own and renamed, and the reference that makes the snapshot known comes last.
    async fn download(&self) -> Result<PathBuf> {
        let (id, endpoint) = (self.id, self.endpoint);
        let info = self.request(format!("{endpoint}/api/models/{id}")).send().await?;
        let info = info.error_for_status()?.bytes().await?;
        let info: Info = serde_json::from_slice(&info).context("the hub's answer")?;
        let there: Vec<_> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        let has = |file: &str| there.iter().any(|there| there == file);
        let weights = WEIGHT_FILES.into_iter().find(|file| has(file)).with_context(|| {
            format!("expected one of {}, found {}", WEIGHT_FILES.join(", "), there.join(", "))
        })?;

        let snapshot = snapshot_at(&self.cache, id, &info.sha);
        std::fs::create_dir_all(&snapshot)
            .with_context(|| format!("creating {}", snapshot.display()))?;
        for file in SMALL_FILES {
            if has(file) {
                self.get(&snapshot, file).await?;
            } else {
                mark_missing(&snapshot, file)?;
            }
        }
        self.get(&snapshot, weights).await?;
        for shard in shards(&snapshot.join(weights))? {
            self.get(&snapshot, &shard).await?;
        }
        self.repo().create_ref(&info.sha).context("writing the reference")?;
        Ok(snapshot)
    }

    /// Downloads a file of the snapshot that is not there yet.
    async fn get(&self, snapshot: &Path, file: &str) -> Result<()> {
        let target = snapshot.join(file);
        if target.exists() {
            return Ok(());
        }
        let response = self.request(self.url(snapshot, file)).send().await?;
        save(response.error_for_status()?, &target).await.with_context(|| file.to_owned())
    }

    /// Where a file of the snapshot is, whose folder is called after its commit.
    fn url(&self, snapshot: &Path, file: &str) -> String {
        let sha = snapshot.file_name().unwrap_or_default().to_string_lossy();
        format!("{}/{}/resolve/{sha}/{file}", self.endpoint, self.id)
    }
}

/// Whether the hub says that the model is there, but not this file. What else answers 404, such as a proxy, says nothing of the model.
fn is_no_file(response: &Response) -> bool {
    let code = response.headers().get("x-error-code");
    response.status() == StatusCode::NOT_FOUND && code.is_some_and(|code| code == "EntryNotFound")
}

/// Writes what the hub answered beside `target` and renames it then. The other file's name is of this download alone: another one
/// of the same model writes into its own. What killed downloads left is removed.
async fn save(mut response: Response, target: &Path) -> Result<()> {
    let folder = target.parent().unwrap_or(Path::new("."));
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    remove_stale(folder).with_context(|| format!("clearing {}", folder.display()))?;
    let mut partial = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(INCOMPLETE)
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .with_context(|| format!("creating a file in {}", folder.display()))?;
    let style = ProgressStyle::with_template("{msg}  {bar:30} {bytes}/{total_bytes}  eta {eta}");
    let bar = BARS.add(ProgressBar::new(response.content_length().unwrap_or(0)));
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

/// Removes partial files that nobody writes any more.
fn remove_stale(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().ends_with(INCOMPLETE) {
            continue;
        }
        // Gone already: another download was done with it.
        let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else {
            continue;
        };
        if modified.elapsed().is_ok_and(|age| age > STALE) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
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

    /// Answers each of `answers` once by its path, on one connection each; `404` is that there is no such file, `proxy` a 404 that is not
    /// the hub's.
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
                let status = match body.as_str() {
                    "404" => "404 Not Found\r\nX-Error-Code: EntryNotFound",
                    "proxy" => "404 Not Found",
                    _ => "200 OK",
                };
                let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length:");
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
        let hub = Hub::new("owner/model", &address, cache.clone(), DOWNLOAD).unwrap();
        let snapshot = runtime.block_on(hub.download()).unwrap();
        server.join().unwrap();
        assert_eq!(std::fs::read(snapshot.join("model.safetensors")).unwrap(), b"weights");
        assert_eq!(cached(&hub.repo()), Some(snapshot.clone()));
        assert!(unknown_files(&snapshot).is_empty());

        let other = Hub::new("owner/other", &address, cache, DOWNLOAD).unwrap();
        let gone = runtime.block_on(other.download()).unwrap_err();
        assert!(!one_line(&gone).contains('\n'));
    }

    /// As `ViTModel.from_pretrained` leaves a model in the cache.
    #[test]
    fn what_a_cached_model_lacks_is_asked_for_once() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("models--owner--model");
        let snapshot = root.join("snapshots/abc");
        std::fs::create_dir_all(&snapshot).unwrap();
        for file in SMALL_FILES.into_iter().filter(|file| !file.starts_with("pre")) {
            std::fs::write(snapshot.join(file), "{}").unwrap();
        }
        std::fs::remove_file(snapshot.join("vocab.txt")).unwrap();
        let cache = Cache::new(home.path().to_owned());
        let missing = unknown_files(&snapshot);
        assert_eq!(missing, ["preprocessor_config.json", "vocab.txt"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let completed = |vocab: &str| {
            let (address, server) = serve(vec![
                ("/owner/model/resolve/abc/preprocessor_config.json", "{\"size\": 8}".to_owned()),
                ("/owner/model/resolve/abc/vocab.txt", vocab.to_owned()),
            ]);
            let hub = Hub::new("owner/model", &address, cache.clone(), COMPLETION).unwrap();
            let completed = runtime.block_on(hub.complete(&snapshot, &missing));
            server.join().unwrap();
            completed
        };
        assert!(completed("proxy").is_err());
        assert_eq!(unknown_files(&snapshot), ["vocab.txt"]);
        completed("404").unwrap();
        let found = std::fs::read(snapshot.join("preprocessor_config.json")).unwrap();
        assert_eq!(found, b"{\"size\": 8}");
        assert!(root.join(".no_exist/abc/vocab.txt").exists());
        assert!(unknown_files(&snapshot).is_empty());
    }

    #[test]
    fn a_hub_that_does_not_answer_is_asked_once() {
        let home = tempfile::tempdir().unwrap();
        let snapshot = home.path().join("models--owner--silent/snapshots/abc");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let ask = || {
            let cache = Cache::new(home.path().to_owned());
            complete("owner/silent", &endpoint, cache, &snapshot);
        };
        let clock = std::time::Instant::now();
        ask();
        assert!(clock.elapsed() < DOWNLOAD.read / 2);
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_ok(), "it was not asked");
        ask();
        assert!(listener.accept().is_err(), "it was asked again");
    }

    #[test]
    fn what_a_killed_download_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] =
            [".a.x.incomplete", ".a.y.incomplete"].map(|name| folder.path().join(name));
        for (path, age) in [(&old, STALE * 2), (&new, Duration::ZERO)] {
            let file = std::fs::File::create(path).unwrap();
            file.set_modified(std::time::SystemTime::now() - age).unwrap();
        }
        remove_stale(folder.path()).unwrap();
        assert!(!old.exists() && new.exists());
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
        let get = async |url: String| save(client.get(url).send().await?, &target).await;
        let ends = runtime.block_on(async {
            tokio::join!(get(format!("{cut}/cut")), get(format!("{address}/whole")))
        });
        server.join().unwrap();
        cutting.join().unwrap();
        assert!(ends.0.is_err() && ends.1.is_ok(), "{ends:?}");
        assert_eq!(std::fs::read_to_string(&target).unwrap(), whole);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "a partial file is left");
    }
}
