//! A store whose answers are lost: what was put is there, and the client, which asks again, is told that somebody else put it. NFS does
//! so (a link whose answer got lost), and clients of object stores that repeat a request after an answer of 5xx.

use std::fmt;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use deltalake::DeltaResult;
use deltalake::logstore::{
    ObjectStoreFactory, ObjectStoreRef, StorageConfig, object_store_factories,
};
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tuwen_corpus::maintenance::{Depth, optimize, verify};
use tuwen_corpus::{Asked, Lease};
use tuwen_etl::fetch::Origin;
use url::Url;

use crate::corpus::{Crawl, png};

static STORE: LazyLock<Arc<InMemory>> = LazyLock::new(|| Arc::new(InMemory::new()));

#[derive(Debug)]
struct Forgetful(Arc<InMemory>);

impl fmt::Display for Forgetful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store whose answers are lost")
    }
}

#[async_trait]
impl ObjectStore for Forgetful {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let is_conditional = options.mode == PutMode::Create;
        let answer = self.0.put_opts(location, payload, options).await?;
        if is_conditional {
            let (path, source) = (location.to_string(), "it was put before".into());
            return Err(object_store::Error::AlreadyExists { path, source });
        }
        Ok(answer)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

struct Factory;

impl ObjectStoreFactory for Factory {
    fn parse_url_opts(&self, url: &Url, _: &StorageConfig) -> DeltaResult<(ObjectStoreRef, Path)> {
        let store = Arc::new(Forgetful(Arc::clone(&STORE)));
        Ok((store, Path::from_url_path(url.path())?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_a_commit() {
    let mut crawl = Crawl::new();
    crawl.settings.corpus = "az://container/corpus".to_owned();
    // Known to Delta from then on, with the project's own stores, one of which is replaced.
    tuwen_corpus::location::root_url(&crawl.settings.corpus).unwrap();
    object_store_factories().insert(Url::parse("az://").unwrap(), Arc::new(Factory));

    let pictures = crawl.folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    crawl.settings.decode.size = 16;
    crawl.settings.decode.chunk_images = 2;
    let mut rows = Vec::new();
    for i in 0..12_u8 {
        let name = format!("train-{i}.png");
        std::fs::write(pictures.join(&name), png(20 * i)).unwrap();
        rows.push(format!("红圆{i},,{name}"));
    }
    let csv = crawl.csv("crawl.csv", &rows);
    for report in crawl.run(std::slice::from_ref(&csv), Origin::Folder(pictures)).await {
        assert_eq!((report.rows_out, report.known), (12, 0), "{report:?}");
    }
    let corpus = crawl.corpus().await;
    let optimized = optimize(&corpus, &crawl.stop).await.unwrap();
    assert_eq!(optimized.tables["images"].files_after, 1, "{optimized:?}");
    let report = verify(&corpus, Depth::Pages).await.unwrap();
    assert!(report.whole, "{}", report.text());
    let n_images = crawl.query("select count(*), count(distinct image_id) from images").await;
    assert_eq!(n_images, [["12", "12"]]);

    // A lease is as good.
    let ask = async || Lease::ask(&corpus, "etl", "run", std::time::Duration::ZERO).await.unwrap();
    let Asked::Granted(lease) = ask().await else { panic!("refused its own lease") };
    assert!(matches!(ask().await, Asked::Held(_)));
    lease.release().await;
    assert!(matches!(ask().await, Asked::Granted(_)));
}
