//! The demo: the whole way on a sample crawl, as a user goes it. In: how many scenes, a folder. Out: on stdout what `tuwen`
//! says, what the model says of pictures it has never seen, and one JSON object as the last line. Fails if a row's fate is not
//! what the manifest says. Never takes a short cut: every step is a call of the command `tuwen`, over real HTTP.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use tuwen_sample::corpus::{Corpus, Truth};
use tuwen_sample::crawl::CrawlOptions;
use tuwen_sample::scene::SceneOptions;
use tuwen_sample::serve::FileServer;

use self::command::{Tuwen, say};

mod answers;
mod command;
mod fates;

/// Lines of the table of answers.
const SHOWN: usize = 20;

/// Sides of the demo's pictures in pixels.
const SIDES_PX: (u32, u32) = (160, 420);

/// What the demo asks the corpus.
const QUERIES: [&str; 3] = [
    "select coalesce(split, 'rejected') as split, coalesce(reject_reason, '') as reason, count(*) as pairs \
     from examples group by split, reject_reason order by split desc, pairs desc, reason",
    "select coalesce(format, 'none') as format, coalesce(color, '') as color, count(*) as images, \
     count(reject_reason) as rejected, round(avg(width * height / 1e6) filter (where reject_reason is null), 3) as mean_mpx \
     from images group by format, color order by images desc, format, color",
    "select pairs.text as crawled, examples.text as clean \
     from pairs join examples on example_id = pair_id \
     where split is not null and pairs.text <> examples.text order by source, source_line limit 8",
];

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Scenes with an honest caption and file; the mishaps come on top
    #[arg(long, default_value_t = 3000)]
    scenes: usize,
    /// The folder of the demo; its corpus and model are made anew each time
    #[arg(long, default_value = "demo")]
    dir: PathBuf,
    /// Everything follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The command `tuwen` [default: the one beside this command]
    #[arg(long, value_name = "PATH")]
    tuwen: Option<PathBuf>,
    /// Passes over the training split [default: the preset's]
    #[arg(long)]
    epochs: Option<u64>,
}

impl DemoArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let started = Instant::now();
        let tuwen = Tuwen::find(self.tuwen.as_deref())?;
        let (corpus_dir, model_dir) = (self.path("corpus"), self.path("model"));

        let (server, truths) = self.make()?;
        let crawl = [self.path("train.csv"), self.path("test.csv")];
        let tokenizer = self.path("tokenizer.json");
        tuwen.show(&[
            &["run", &crawl[0], &crawl[1], "--corpus", &corpus_dir],
            &["--tokenizer", &tokenizer, "--allow-private-hosts"][..],
        ])?;
        drop(server);

        for query in QUERIES {
            tuwen.show(&[&["sql", query, "--corpus", &corpus_dir]])?;
        }
        let fates = fates::check(&tuwen, &corpus_dir, &truths)?;
        say(&format!("all {} rows ended where they should\n", fates.pairs))?;

        let epochs = self.epochs.map(|epochs| format!("train.epochs={epochs}"));
        let set: Vec<&str> = epochs.iter().flat_map(|epochs| ["--set", epochs]).collect();
        let train = tuwen.last_json(&[
            &["train", "--preset", "tiny", "--corpus", &corpus_dir, "--tokenizer", &tokenizer],
            &["--out", &model_dir, "--device", "cpu", "--json"],
            &set,
        ])?;
        let answers = answers::ask(&tuwen, &model_dir, &self.dir.join("images"), &truths)?;
        say(&answers.table(SHOWN))?;

        let rates = answers.rates();
        say(&rates.sentence())?;
        let last = json!({
            "pairs": fates.pairs,
            "examples": fates.examples,
            "rejected": fates.pairs - fates.examples,
            "exact_match": rates.exact,
            "colour": rates.colour,
            "shape": rates.shape,
            "position": rates.position,
            "held_out": answers.len(),
            "train_images_per_s": rounded(&train["train_images_per_s"]),
            "data_wait_percent": rounded(&train["data_wait_percent"]),
            "seconds": rounded(&json!(started.elapsed().as_secs_f64())),
        });
        say(&last.to_string())
    }

    /// Makes the crawl, with the URLs of a server that runs from now on; drops the corpus and model of an earlier demo.
    fn make(&self) -> Result<(FileServer, Vec<Truth>)> {
        let started = Instant::now();
        let scene = SceneOptions { min_px: SIDES_PX.0, max_px: SIDES_PX.1, two_objects: false };
        let options = CrawlOptions { scenes: self.scenes, seed: self.seed, clean: false, scene };
        options.check()?;
        let corpus = Corpus::new(&options);
        let images = self.dir.join("images");
        self.make_room()?;
        fs::create_dir_all(&images).with_context(|| format!("creating {}", images.display()))?;
        let server = FileServer::start(&images, 0)?;
        let written = corpus.write(&self.dir, &server.base_url())?;
        say(&format!(
            "{}: {} rows of a crawl, {} pictures drawn in {:.1} s, served at {}\n",
            self.dir.display(),
            written.rows,
            written.pictures,
            started.elapsed().as_secs_f64(),
            server.base_url()
        ))?;
        Ok((server, corpus.truths()))
    }

    /// Removes an earlier demo's corpus and model, but nothing from a folder that no demo made.
    fn make_room(&self) -> Result<()> {
        let ours = self.dir.join("manifest.jsonl").exists();
        for name in ["corpus", "model"] {
            let folder = self.dir.join(name);
            if !folder.exists() {
                continue;
            }
            if !ours {
                bail!(
                    "{}: expected an earlier demo beside it, found none\nhint: --dir",
                    folder.display()
                );
            }
            fs::remove_dir_all(&folder)
                .with_context(|| format!("removing {}", folder.display()))?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}

/// A number with one decimal; null if it is none.
fn rounded(number: &Value) -> Value {
    number.as_f64().map_or(Value::Null, |number| json!((number * 10.0).round() / 10.0))
}

/// The paths as arguments.
fn arguments(folder: &Path, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| folder.join(name).display().to_string()).collect()
}
