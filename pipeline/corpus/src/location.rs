//! Where a corpus lies. In: a path or URL as a person writes it. Out: the URL of its folder, which Delta can open: a folder of
//! this machine, or a prefix in an object store. Never reads a file.

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Once};

use anyhow::{Context, Result, anyhow, bail};
use deltalake::logstore::{
    LogStore, LogStoreFactory, ObjectStoreFactory, ObjectStoreRef, StorageConfig, default_logstore,
    logstore_factories, object_store_factories,
};
use deltalake::{DeltaResult, DeltaTableError};
use object_store::local::LocalFileSystem;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

/// Scheme of a folder whose path Delta's kernel cannot carry: it decodes the paths of `file` twice, and takes a backslash for a slash.
/// The host is the whole path, percent-encoded, and the root of a store of its own, so that the kernel sees what lies below it alone.
const FOLDER_SCHEME: &str = "folder";

/// End of such a host. The kernel sorts what it lists if the scheme is `file` or the host has this, by which it knows stores that do not
/// list in order; neither does a file system.
const UNSORTED: &str = "--x-s3";

/// Schemes of object stores that can put a file only if none is there, which is what makes a Delta commit atomic.
const STORE_SCHEMES: [&str; 6] = ["s3", "s3a", "gs", "az", "abfs", "abfss"];

/// Prefixes of the environment variables that hold a store's address and credentials; object_store lists them (`AmazonS3ConfigKey`
/// and its sisters).
const STORE_VARIABLES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// The URL of the corpus at `location`, with a slash at its end.
///
/// # Errors
/// Neither a path nor a URL of a known scheme; or a path goes up (`..`) from a folder that is not there.
pub fn root_url(location: &str) -> Result<Url> {
    register_stores();
    let invalid = || anyhow!("corpus `{location}` is not a path");
    let is_url = location.contains("://") || location.starts_with("file:/");
    let url = is_url.then(|| Url::parse(location).ok()).flatten();
    let folder = match url {
        None => absolute(Path::new(location)).map_err(|_| invalid())?,
        Some(url) if url.scheme() == "file" => url.to_file_path().map_err(|()| invalid())?,
        Some(mut url)
            if [&STORE_SCHEMES[..], &[FOLDER_SCHEME]].concat().contains(&url.scheme()) =>
        {
            if !url.path().ends_with('/') {
                url.set_path(&format!("{}/", url.path()));
            }
            return Ok(url);
        }
        Some(url) => bail!(
            "corpus `{location}`: expected a folder or a URL of scheme file, {}, found scheme `{}`",
            STORE_SCHEMES.join(", "),
            url.scheme()
        ),
    };
    let path = folder.to_str().with_context(|| format!("corpus `{location}` is not UTF-8"))?;
    if path.contains(|c: char| matches!(c, '%' | '\\') || c.is_ascii_control()) {
        let host = utf8_percent_encode(path, NON_ALPHANUMERIC);
        return Ok(Url::parse(&format!("{FOLDER_SCHEME}://{host}{UNSORTED}/"))?);
    }
    Url::from_directory_path(&folder).map_err(|()| invalid())
}

/// `path` from the root on, without `..`: what a symbolic link before it leads to is asked of the file system.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    let mut absolute = PathBuf::new();
    for part in std::path::absolute(path)?.components() {
        match part {
            Component::ParentDir => {
                absolute = absolute.canonicalize()?;
                absolute.pop();
            }
            part => absolute.push(part),
        }
    }
    Ok(absolute)
}

/// The folder of this machine that `url` is, one of [`root_url`] or below it; none in an object store.
pub fn local_folder(url: &Url) -> Option<PathBuf> {
    if url.scheme() != FOLDER_SCHEME {
        return url.to_file_path().ok();
    }
    let root = percent_decode_str(url.host_str()?.strip_suffix(UNSORTED)?).decode_utf8().ok()?;
    Some(Path::new(root.as_ref()).join(url.path().trim_start_matches('/')))
}

/// The URL of table `name` of the corpus at `location`.
///
/// # Errors
/// As [`root_url`].
pub fn table_url(location: &str, name: &str) -> Result<Url> {
    Ok(root_url(location)?.join(&format!("{name}/"))?)
}

/// The store that `url` lies in, whole.
///
/// # Errors
/// No such store, or the environment does not say how it is reached.
pub(crate) fn open_store(url: &Url) -> Result<ObjectStoreRef> {
    if url.scheme() == "file" {
        return Ok(Arc::new(LocalFileSystem::new()));
    }
    Ok(Stores.parse_url_opts(url, &StorageConfig::default())?.0)
}

/// Makes the stores known to Delta; its own crates for object stores would bring the vendors' whole client libraries.
fn register_stores() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for scheme in STORE_SCHEMES.into_iter().chain([FOLDER_SCHEME]) {
            let url = Url::parse(&format!("{scheme}://")).expect("a scheme makes a URL");
            object_store_factories().insert(url.clone(), Arc::new(Stores));
            logstore_factories().insert(url, Arc::new(Stores));
        }
    });
}

/// Opens object stores with what the environment says of them, and folders of [`FOLDER_SCHEME`].
struct Stores;

impl ObjectStoreFactory for Stores {
    fn parse_url_opts(
        &self,
        url: &Url,
        config: &StorageConfig,
    ) -> DeltaResult<(ObjectStoreRef, object_store::path::Path)> {
        if url.scheme() == FOLDER_SCHEME {
            return Ok((folder_store(url)?, object_store::path::Path::from_url_path(url.path())?));
        }
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| STORE_VARIABLES.iter().any(|prefix| name.starts_with(prefix)))
            .map(|(name, value)| (name.to_lowercase(), value));
        let options = variables.chain(config.raw.clone());
        let (store, path) = object_store::parse_url_opts(url, options)?;
        Ok((Arc::new(store), path))
    }
}

/// The store of a corpus's folder, which must be there.
fn folder_store(url: &Url) -> DeltaResult<ObjectStoreRef> {
    let root = url.join("/").ok().and_then(|root| local_folder(&root));
    let root = root.ok_or_else(|| DeltaTableError::InvalidTableLocation(url.to_string()))?;
    Ok(Arc::new(LocalFileSystem::new_with_prefix(root)?))
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
            ("/a:b", "file:///a:b/"),
            ("/usr/bin/../a", "file:///usr/a/"),
            ("/data[1]/图", "file:///data[1]/%E5%9B%BE/"),
            ("file:///a", "file:///a/"),
            ("file:/a", "file:///a/"),
            ("file:///a%20b", "file:///a%20b/"),
            ("/a%20b", "folder://%2Fa%2520b--x-s3/"),
            ("file:///a%2520b", "folder://%2Fa%2520b--x-s3/"),
            ("s3://bucket/corpus", "s3://bucket/corpus/"),
            ("gs://bucket", "gs://bucket/"),
        ] {
            assert_eq!(root_url(location).unwrap().as_str(), expected);
        }
        assert_eq!(table_url("s3://b/c", "images").unwrap().as_str(), "s3://b/c/images/");
        assert!(root_url("/no such/../a").is_err());
        assert!(root_url("ftp://a/b").unwrap_err().to_string().contains("found scheme `ftp`"));
    }

    #[test]
    fn a_local_url_is_its_folder_again() {
        for path in ["/a/b", "/a b/图", "/a%20b", "/a\\b%", "/a\tb", "/a#b?c", "/a:b"] {
            let url = table_url(path, "pairs").unwrap();
            assert_eq!(local_folder(&url).unwrap(), Path::new(path).join("pairs/"), "{url}");
        }
        assert_eq!(local_folder(&root_url("s3://bucket/corpus").unwrap()), None);
    }
}
