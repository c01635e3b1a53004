//! Where a corpus lies. In: a path or URL as a person writes it. Out: the URL of its folder, which Delta can open: a folder of
//! this machine, or a prefix in an object store. Never reads anything.

use std::path::Path;
use std::sync::{Arc, Once};

use anyhow::{Context, Result, anyhow, bail};
use deltalake::DeltaResult;
use deltalake::logstore::{
    LogStore, LogStoreFactory, ObjectStoreFactory, ObjectStoreRef, StorageConfig, default_logstore,
    logstore_factories, object_store_factories,
};
use url::Url;

/// Schemes of object stores that can put a file only if none is there, which is what makes a Delta commit atomic.
const STORE_SCHEMES: [&str; 6] = ["s3", "s3a", "gs", "az", "abfs", "abfss"];

/// Prefixes of the environment variables that hold a store's address and credentials; object_store lists them (`AmazonS3ConfigKey`
/// and its sisters).
const STORE_VARIABLES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// The URL of the corpus at `location`, with a slash at its end.
///
/// # Errors
/// Neither a path nor a URL of a known scheme.
pub fn root_url(location: &str) -> Result<Url> {
    let Ok(mut url) = Url::parse(location) else {
        let path = std::path::absolute(Path::new(location))
            .with_context(|| format!("corpus `{location}` is not a path"))?;
        return Url::from_directory_path(&path)
            .map_err(|()| anyhow!("corpus `{location}` is not a path"));
    };
    if STORE_SCHEMES.contains(&url.scheme()) {
        register_stores();
    } else if url.scheme() != "file" {
        bail!(
            "corpus `{location}`: expected a folder or a URL of scheme file, {}, found scheme `{}`",
            STORE_SCHEMES.join(", "),
            url.scheme()
        );
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// The URL of table `name` of the corpus at `location`.
///
/// # Errors
/// As [`root_url`].
pub fn table_url(location: &str, name: &str) -> Result<Url> {
    Ok(root_url(location)?.join(&format!("{name}/"))?)
}

/// Makes the object stores known to Delta; its own crates for them would bring the vendors' whole client libraries.
fn register_stores() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for scheme in STORE_SCHEMES {
            let url = Url::parse(&format!("{scheme}://")).expect("a scheme makes a URL");
            object_store_factories().insert(url.clone(), Arc::new(Stores));
            logstore_factories().insert(url, Arc::new(Stores));
        }
    });
}

/// Opens object stores with what the environment says of them.
struct Stores;

impl ObjectStoreFactory for Stores {
    fn parse_url_opts(
        &self,
        url: &Url,
        config: &StorageConfig,
    ) -> DeltaResult<(ObjectStoreRef, object_store::path::Path)> {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| STORE_VARIABLES.iter().any(|prefix| name.starts_with(prefix)))
            .map(|(name, value)| (name.to_lowercase(), value));
        let options = variables.chain(config.raw.clone());
        let (store, path) = object_store::parse_url_opts(url, options)?;
        Ok((Arc::new(store), path))
    }
}

impl LogStoreFactory for Stores {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed_store, root_store, location, options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls_become_folders() {
        for (location, expected) in [
            ("/a/b", "file:///a/b/"),
            ("/a/b/", "file:///a/b/"),
            ("file:///a", "file:///a/"),
            ("s3://bucket/corpus", "s3://bucket/corpus/"),
            ("gs://bucket", "gs://bucket/"),
        ] {
            assert_eq!(root_url(location).unwrap().as_str(), expected);
        }
        assert_eq!(table_url("s3://b/c", "images").unwrap().as_str(), "s3://b/c/images/");
        assert!(root_url("ftp://a/b").unwrap_err().to_string().contains("found scheme `ftp`"));
    }
}
