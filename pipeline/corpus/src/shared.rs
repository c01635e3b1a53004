//! A corpus that shares what another has fetched, so that it is decoded once more (another size, filter or codec) without being
//! asked for again. In: two locations. Out: a corpus whose `pairs` and `originals` are those of the other, which alone writes
//! them. That it shares them stands in a file of its own folder, so that no later command has to be told.

use anyhow::{Context, Result, bail};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::corpus::Corpus;
use crate::location::{local_folder, root_url};

/// The tables that are shared.
const SHARED: [&str; 2] = ["pairs", "originals"];

/// The file that says with whom; Delta readers look into folders of tables only.
const FILE: &str = "_originals_of.json";

#[derive(Serialize, Deserialize)]
struct OriginalsOf {
    /// The folder of the other corpus, as a URL.
    corpus: Url,
    /// The same from the folder of this one, if both lie beneath a folder that may be moved with both in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relative: Option<String>,
}

impl Corpus {
    /// Makes the corpus at `location` share `pairs` and `originals` of the one at `base`. One that does already stays as it is.
    ///
    /// # Errors
    /// There is no corpus at `base`; the one at `location` has pairs of its own, or shares another's; it cannot be written to.
    pub async fn open_or_share(location: &str, base: &str) -> Result<Self> {
        let base = Self::open(base).await?;
        let base = base.base.unwrap_or(base.root);
        let root = root_url(location)?;
        if root == base {
            bail!(
                "corpus `{location}`: expected another corpus to share the originals of, found itself"
            );
        }
        if let Some(folder) = local_folder(&root) {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("corpus `{location}`: cannot make the folder"))?;
        }
        let corpus = Self::at(root);
        match corpus.shared_with().await? {
            Some(known) if known == base => {}
            // The other was moved.
            Some(known) if (Self::at(known.clone())).is_gone().await? => {
                corpus.record(base).await?;
            }
            Some(known) => bail!(
                "corpus `{location}`: expected one that shares the originals of {}, found one that shares those of {}",
                shown(&base),
                shown(&known)
            ),
            None => {
                if corpus.delta(SHARED[0], None).await?.version().is_some() {
                    bail!(
                        "corpus `{location}`: expected one that shares the originals of {}, found one with its own\n\
                         hint: --corpus with a folder that is not there yet",
                        shown(&base)
                    );
                }
                corpus.record(base).await?;
            }
        }
        Self::open_or_create(location).await
    }

    /// Where the corpus should be whose originals it shares, if they are among the tables that are `missing`.
    pub(crate) fn lost_base(&self, missing: &[&str]) -> Option<String> {
        self.base.as_ref().filter(|_| missing.contains(&SHARED[0])).map(shown)
    }

    /// With whom the corpus shares what was fetched, as its folder says.
    pub(crate) async fn shared_with(&self) -> Result<Option<Url>> {
        let (store, path) = self.store().await?;
        let path: Path = path.join(FILE);
        let text = match store.get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {path}")),
        };
        let said: OriginalsOf = serde_json::from_slice(&text).with_context(|| {
            format!("{path}: expected the corpus whose originals this one shares")
        })?;
        let absolute = root_url(said.corpus.as_str())?;
        let Some(relative) = said.relative else { return Ok(Some(absolute)) };
        let relative = self.root.join(&relative).with_context(|| path.to_string())?;
        // The folder of both was moved or copied, or this corpus alone was.
        let is_moved = relative != absolute && !Self::at(relative.clone()).is_gone().await?;
        Ok(Some(if is_moved { relative } else { absolute }))
    }

    /// Writes down whose originals it shares.
    async fn record(&self, base: Url) -> Result<()> {
        let (store, path) = self.store().await?;
        let relative = relative(&self.root, &base);
        let text = serde_json::to_vec(&OriginalsOf { corpus: base, relative })?;
        store.put(&path.join(FILE), text.into()).await?;
        Ok(())
    }

    /// Whether no pairs are there.
    async fn is_gone(&self) -> Result<bool> {
        Ok(self.delta(SHARED[0], None).await?.version().is_none())
    }

    /// Where it lies, as a person writes it.
    pub fn shown(&self) -> String {
        shown(&self.root)
    }

    /// Whether table `name` is another corpus's.
    pub fn is_shared(&self, name: &str) -> bool {
        self.base.is_some() && SHARED.contains(&name)
    }

    /// The folder in which the folder of table `name` lies.
    pub(crate) fn root_of(&self, name: &str) -> &Url {
        self.base.as_ref().filter(|_| self.is_shared(name)).unwrap_or(&self.root)
    }

    /// # Errors
    /// Table `name` is another corpus's.
    pub fn check_own(&self, name: &str) -> Result<()> {
        if self.is_shared(name) {
            let base = shown(self.root_of(name));
            bail!(
                "table `{name}` is shared with corpus {base}, which alone writes it\n\
                 hint: ingest and fetch with --corpus {base}, then `tuwen decode` and `tuwen curate` this corpus"
            );
        }
        Ok(())
    }
}

/// The way from `root` to `base`, if it goes over a folder that is not the topmost.
fn relative(root: &Url, base: &Url) -> Option<String> {
    let top = |url: &Url| url.path_segments()?.next().map(str::to_owned);
    root.make_relative(base).filter(|_| top(root) == top(base))
}

fn shown(root: &Url) -> String {
    match local_folder(root) {
        Some(folder) => folder.display().to_string().trim_end_matches('/').to_owned(),
        None => root.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_other_corpus_is_kept_where_both_may_be_moved() {
        for (root, base, expected) in [
            ("file:///data/a/", "file:///data/b/", Some("../b/")),
            ("file:///data/a/c/", "file:///data/b/", Some("../../b/")),
            ("file:///data/a/", "file:///data/a/b/", Some("b/")),
            ("file:///data/a/", "file:///srv/b/", None),
            ("s3://bucket/x/a/", "s3://bucket/x/b/", Some("../b/")),
            ("s3://bucket/x/a/", "s3://other/x/b/", None),
            ("file:///data/a/", "s3://data/b/", None),
        ] {
            let url = |text: &str| Url::parse(text).unwrap();
            let found = relative(&url(root), &url(base));
            assert_eq!(found.as_deref(), expected, "{root} {base}");
            if let Some(found) = found {
                assert_eq!(url(root).join(&found).unwrap(), url(base));
            }
        }
    }
}
