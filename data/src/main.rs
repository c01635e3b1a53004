//! The command `tuwen-sample`. In: arguments. Out: a sample corpus, a server for its pictures, or the demo.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use tuwen_sample::corpus::Corpus;
use tuwen_sample::crawl::CrawlOptions;
use tuwen_sample::scene::SceneOptions;
use tuwen_sample::serve::FileServer;

mod demo;

/// Scenes with Chinese captions, and everything that a crawl brings.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Draw scenes and write the corpus: CSV files, pictures, tokenizer, manifest
    Make(MakeArgs),
    /// Serve a folder of pictures on 127.0.0.1
    Serve(ServeArgs),
    /// The whole way: make, serve, `tuwen run`, `tuwen sql`, `tuwen train`, `tuwen caption`
    Demo(demo::DemoArgs),
}

#[derive(Args)]
struct MakeArgs {
    /// Scenes with an honest caption and file; the mishaps come on top
    #[arg(long, default_value_t = 3000)]
    scenes: usize,
    /// The folder to write into
    #[arg(long)]
    out: PathBuf,
    /// Everything follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Two things and their relation in each scene
    #[arg(long)]
    two_objects: bool,
    /// No mishaps
    #[arg(long)]
    clean: bool,
    /// Shortest side of a picture in pixels
    #[arg(long, default_value_t = 160)]
    min_px: u32,
    /// Longest side of a picture in pixels
    #[arg(long, default_value_t = 420)]
    max_px: u32,
    /// Where the pictures will be served
    #[arg(long, default_value = "http://127.0.0.1:8765")]
    base_url: String,
}

#[derive(Args)]
struct ServeArgs {
    /// The folder of pictures
    #[arg(long)]
    dir: PathBuf,
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8765)]
    port: u16,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Make(args) => make(&args),
        Command::Serve(args) => serve(&args),
        Command::Demo(args) => args.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn make(args: &MakeArgs) -> Result<()> {
    ensure!(
        (16..=args.max_px).contains(&args.min_px),
        "--min-px {}: expected 16 to --max-px {}",
        args.min_px,
        args.max_px
    );
    let scene =
        SceneOptions { min_px: args.min_px, max_px: args.max_px, two_objects: args.two_objects };
    let options = CrawlOptions { scenes: args.scenes, seed: args.seed, clean: args.clean, scene };
    options.check()?;
    let written = Corpus::new(&options).write(&args.out, args.base_url.trim_end_matches('/'));
    let written = written.with_context(|| format!("making {}", args.out.display()))?;
    let out = args.out.display();
    eprintln!("{out}: {} rows, {} pictures written", written.rows, written.pictures);
    Ok(())
}

fn serve(args: &ServeArgs) -> Result<()> {
    let server = FileServer::start(&args.dir, args.port)?;
    eprintln!("{} serves {}", server.base_url(), args.dir.display());
    server.wait();
    Ok(())
}
