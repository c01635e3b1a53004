//! Writes a corpus down. In: options and a folder. Out: `train.csv`, `test.csv`, `images/`, `tokenizer.json` and
//! `manifest.jsonl`, the same bytes at any thread count. Never touches other files of the folder.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use crate::crawl::{Address, Breakage, CrawlOptions, Row, Split, plan};
use crate::tokenizer::tokenizer_json;

/// 左上 in GBK, which is not UTF-8.
const GBK_CAPTION: &[u8] = &[0xd7, 0xf3, 0xc9, 0xcf];
/// What image hosts append to their URLs: has commas in it.
const QUERY: &str = "?size=f9999,10000&q=a80&n=0&g=0n&fmt=auto";

/// Of so many pictures one is drawn again to see whether a folder's are up to date.
const LOOKED_AT: usize = 50;

/// A corpus that is about to be written.
pub struct Corpus {
    rows: Vec<Row>,
    /// One file name a row; equal for rows that repeat another.
    files: Vec<String>,
}

/// The truth about a row; a line of the manifest.
#[derive(Clone, Debug, Serialize)]
pub struct Truth {
    /// The CSV it is in.
    pub source: String,
    /// The line on which it starts, from 1; the header is line 1.
    pub line: u64,
    /// The file of its picture.
    pub file: String,
    /// `scene`, or the name of its mishap.
    pub case: &'static str,
    /// The kind of its file; none if that is no picture.
    pub encoding: Option<&'static str>,
    /// The colour of the (first) thing; none if the picture shows none.
    pub colour: Option<&'static str>,
    /// The shape of the (first) thing.
    pub shape: Option<&'static str>,
    /// Where it is, or how it stands to the second thing.
    pub position: Option<&'static str>,
    /// The caption, cleaned.
    pub caption: String,
    /// `train`, `test`, or `rejected:` and curate's reason.
    pub fate: String,
    /// Why decode rejects the picture.
    pub image_reject: Option<&'static str>,
}

/// What [`Corpus::write`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Rows of both CSV files, broken lines included.
    pub rows: usize,
    /// Picture files written now; 0 if the folder already had them all.
    pub pictures: usize,
}

impl Corpus {
    /// Plans the corpus.
    pub fn new(options: &CrawlOptions) -> Corpus {
        let rows = plan(options);
        let mut files: Vec<String> = Vec::with_capacity(rows.len());
        let mut counts = [0usize; 2];
        for row in &rows {
            let count = &mut counts[row.split as usize];
            let name = match row.repeats {
                Some(original) => files[original].clone(),
                None => format!("{}-{count}.jpg", row.split.name()),
            };
            *count += 1;
            files.push(name);
        }
        Corpus { rows, files }
    }

    /// Writes everything into `folder`, with URLs under `base_url`. Pictures are left alone if the folder's manifest is
    /// already this corpus's.
    pub fn write(&self, folder: &Path, base_url: &str) -> Result<Written> {
        let images = folder.join("images");
        fs::create_dir_all(&images).with_context(|| format!("creating {}", images.display()))?;
        let manifest_path = folder.join("manifest.jsonl");
        let manifest = self.manifest()?;
        let had_all = fs::read_to_string(&manifest_path).is_ok_and(|had| had == manifest)
            && self.are_drawn(&images)?;
        if !had_all {
            // Without a manifest the folder is unfinished, whenever this stops.
            let _ = fs::remove_file(&manifest_path);
        }
        for split in [Split::Train, Split::Test] {
            write(&folder.join(format!("{}.csv", split.name())), &self.csv(split, base_url))?;
        }
        write(&folder.join("tokenizer.json"), tokenizer_json().as_bytes())?;
        self.remove_others(&images)?;
        let pictures = if had_all { 0 } else { self.write_pictures(&images)? };
        write(&manifest_path, manifest.as_bytes())?;
        Ok(Written { rows: self.rows.len(), pictures })
    }

    /// Whether the folder has the pictures as they are drawn now; looks at one in [`LOOKED_AT`].
    fn are_drawn(&self, images: &Path) -> Result<bool> {
        for (row, file) in self.rows.iter().zip(&self.files).step_by(LOOKED_AT) {
            if row.has_no_file() || row.repeats.is_some() {
                continue;
            }
            if fs::read(images.join(file)).ok() != row.content.bytes()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes pictures of an earlier corpus: a file that should be missing must be missing.
    fn remove_others(&self, images: &Path) -> Result<()> {
        let has_file = |(row, file): (&Row, &String)| (!row.has_no_file()).then(|| file.clone());
        let ours: HashSet<String> =
            self.rows.iter().zip(&self.files).filter_map(has_file).collect();
        let is_numbered = |name: &str| {
            let number = name.strip_prefix("train-").or_else(|| name.strip_prefix("test-"));
            let number = number.and_then(|rest| rest.strip_suffix(".jpg"));
            number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
        };
        for entry in fs::read_dir(images).with_context(|| images.display().to_string())? {
            let path = entry.with_context(|| images.display().to_string())?.path();
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if is_numbered(name) && !ours.contains(name) {
                fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Draws and writes all pictures on all cores; a thread takes the next one that no other has taken.
    fn write_pictures(&self, images: &Path) -> Result<usize> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<usize> {
            let mut written = 0;
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(row) = self.rows.get(i) else { return Ok(written) };
                // A row that repeats another one has that one's file.
                if row.has_no_file() || row.repeats.is_some() {
                    continue;
                }
                if let Some(bytes) =
                    row.content.bytes().with_context(|| format!("drawing {}", self.files[i]))?
                {
                    write(&images.join(&self.files[i]), &bytes)?;
                    written += 1;
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let done = workers
                .into_iter()
                .map(|worker| worker.join().map_err(|_| anyhow!("a drawing thread panicked"))?);
            done.sum()
        })
    }

    /// The bytes of one CSV file. The test file is as Windows programs write it: byte order mark, CR LF.
    fn csv(&self, split: Split, base_url: &str) -> Vec<u8> {
        let (mark, end) = if split == Split::Test { ("\u{feff}", "\r\n") } else { ("", "\n") };
        let mut csv = format!("{mark}text,url,filename{end}").into_bytes();
        for i in (0..self.rows.len()).filter(|&i| self.rows[i].split == split) {
            csv.extend(self.csv_line(i, base_url));
            csv.extend(end.as_bytes());
        }
        csv
    }

    fn csv_line(&self, i: usize, base_url: &str) -> Vec<u8> {
        let row = &self.rows[i];
        let file = if row.named { self.files[i].as_str() } else { "" };
        let url = self.url(i, base_url);
        let (text, quoted_url) = (quoted(&row.text), quoted(&url));
        match row.breakage {
            None => format!("{text},{quoted_url},{file}").into_bytes(),
            Some(Breakage::TooFewFields) => format!("{text},{file}").into_bytes(),
            Some(Breakage::TooManyFields) => {
                format!("{text},{base_url}/{file}{QUERY},{file}").into_bytes()
            }
            Some(Breakage::StrayQuote) => format!("\"{text},{base_url}/{file},{file}").into_bytes(),
            Some(Breakage::NotUtf8) => {
                [GBK_CAPTION, format!(",{quoted_url},{file}").as_bytes()].concat()
            }
        }
    }

    fn url(&self, i: usize, base_url: &str) -> String {
        match self.rows[i].address {
            Address::Own => format!("{base_url}/{}", self.files[i]),
            Address::Query => format!("{base_url}/{}{QUERY}", self.files[i]),
            Address::Of(other) => self.url(other, base_url),
            Address::Nowhere => String::new(),
        }
    }

    /// The truth about every row, in the order of the rows.
    pub fn truths(&self) -> Vec<Truth> {
        let mut lines = [2u64; 2];
        let truth = |(row, file): (&Row, &String)| {
            let line = lines[row.split as usize];
            lines[row.split as usize] += 1 + row.text.matches('\n').count() as u64;
            let scene = row.content.scene();
            let thing = scene.map(|scene| &scene.things[0]);
            let kept = if row.named { row.split } else { Split::Test };
            let reject = row.fate.reject.map(|reason| format!("rejected:{reason}"));
            Truth {
                source: format!("{}.csv", row.split.name()),
                line,
                file: file.clone(),
                case: row.case,
                encoding: row.content.encoding(),
                colour: thing.and_then(|thing| thing.colour),
                shape: thing.map(|thing| thing.shape.name()),
                position: scene.map(|scene| scene.position),
                caption: row.clean_text.clone(),
                fate: reject.unwrap_or_else(|| kept.name().to_owned()),
                image_reject: row.fate.image_reject,
            }
        };
        self.rows.iter().zip(&self.files).map(truth).collect()
    }

    fn manifest(&self) -> Result<String> {
        let mut manifest = String::new();
        for truth in self.truths() {
            manifest.push_str(&serde_json::to_string(&truth).context("a line of the manifest")?);
            manifest.push('\n');
        }
        Ok(manifest)
    }
}

/// The field as a CSV has it: in quotes only where it must be.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_string()
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
