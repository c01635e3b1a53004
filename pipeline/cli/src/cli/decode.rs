//! `tuwen decode`: originals into images.

use anyhow::Result;
use clap::Args;
use tuwen_corpus::Corpus;
use tuwen_etl::decode::decode;
use tuwen_image::RejectReason;

use crate::cli::cluster::{ClusterFlags, on_engine};
use crate::cli::flags::{CorpusFlags, flag};
use crate::cli::hold::{Ended, Holding};

/// Decode every distinct original to a square of RGB pixels
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen decode
  tuwen decode --corpus corpus-256 --originals-of corpus --size 256 --filter bicubic
  tuwen decode --speed fast
  tuwen decode --retry-rejected corrupt,unsupported_format
  tuwen decode --codec jpeg --set decode.jpeg_quality=95")]
pub(super) struct Decode {
    /// Side of the stored square in pixels
    #[arg(long, value_name = "PX")]
    size: Option<u32>,
    /// bilinear, bicubic or lanczos
    #[arg(long)]
    filter: Option<String>,
    /// exact, or fast: large JPEGs are shrunk while they are decoded
    #[arg(long)]
    speed: Option<String>,
    /// raw, or jpeg: a tenth of the bytes, for slow disks and networks (see `tuwen bench storage`)
    #[arg(long)]
    codec: Option<String>,
    /// Share what another corpus has fetched, and decode it once more into this one
    #[arg(long, value_name = "CORPUS")]
    originals_of: Option<String>,
    /// Turn pictures as their EXIF orientation says
    #[arg(long)]
    apply_orientation: bool,
    /// Try again what was rejected (for these reasons, divided by commas), as after an upgrade
    #[arg(long, value_name = "REASONS", num_args = 0.., value_delimiter = ',', value_parser = RejectReason::of)]
    retry_rejected: Option<Vec<RejectReason>>,
    /// Do not judge the gate (max_rejected_percent: images that could not be decoded, of all)
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    holding: Holding,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Decode {
    pub(super) async fn run(self) -> Result<Ended> {
        let settings = self.corpus.settings(vec![
            ("decode.size", self.size.map(|px| px.to_string())),
            ("decode.filter", self.filter.clone()),
            ("decode.speed", self.speed.clone()),
            ("decode.codec", self.codec.clone()),
            ("decode.apply_orientation", flag(self.apply_orientation)),
            self.cluster.setting(),
        ])?;
        let corpus = match &self.originals_of {
            Some(base) => Corpus::open_or_share(&settings.corpus, base).await?,
            None => Corpus::open(&settings.corpus).await?,
        };
        let corpus = on_engine(corpus, &settings)?;
        let again = match self.retry_rejected {
            Some(reasons) if reasons.is_empty() => RejectReason::ALL.to_vec(),
            reasons => reasons.unwrap_or_default(),
        };
        let most = (!self.force).then_some(settings.max_rejected_percent);
        self.holding
            .run(&corpus, "decode", async |stop, stages| {
                stages.run("decode", decode(&corpus, &settings.decode, &again, most, stop)).await
            })
            .await
    }
}
