//! `tuwen decode`: originals into images.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tuwen_corpus::Corpus;

use crate::cli::hold::Holding;
use crate::cli::{Common, flag};

/// Decode every distinct original to a square of RGB pixels
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen decode
  tuwen decode --size 256 --filter bicubic --corpus corpus-256
  tuwen decode --speed fast
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
    /// Turn pictures as their EXIF orientation says
    #[arg(long)]
    apply_orientation: bool,
    #[command(flatten)]
    holding: Holding,
    #[command(flatten)]
    common: Common,
}

impl Decode {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.common.settings(vec![
            ("decode.size", self.size.map(|px| px.to_string())),
            ("decode.filter", self.filter.clone()),
            ("decode.speed", self.speed.clone()),
            ("decode.codec", self.codec.clone()),
            ("decode.apply_orientation", flag(self.apply_orientation)),
        ])?;
        let corpus = Corpus::open(&settings.corpus).await?;
        let most = settings.max_rejected_percent;
        self.holding
            .run(&corpus, "decode", most, async |stop, reports| {
                reports.push(tuwen_etl::decode::decode(&corpus, &settings.decode, stop).await?);
                Ok(())
            })
            .await
    }
}
