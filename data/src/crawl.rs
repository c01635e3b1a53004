//! Puts scenes and mishaps into the rows of two CSV files. In: how many scenes, a seed. Out: every row with what its file
//! holds and what must become of it. Never bytes: [`crate::corpus`] writes them. Needs no order of work: row by row, the
//! plan is a function of the options alone.

use anyhow::{Result, ensure};

use crate::draw::{draw, faint_steps};
use crate::encode::Encoding;
use crate::random::Random;
use crate::scene::{Scene, SceneOptions};

mod captions;
mod content;
mod row;

pub use captions::CAPTION_CASES;
pub use content::{Content, FILE_CASES};
pub use row::{Address, Breakage, Fate, Row, Split};
use row::{KEPT, rejected};

/// What corpus is wanted.
#[derive(Clone, Copy, Debug)]
pub struct CrawlOptions {
    /// Scenes with an honest caption and an honest file.
    pub scenes: usize,
    /// Everything follows from it.
    pub seed: u64,
    /// No mishaps.
    pub clean: bool,
    /// What the scenes are like.
    pub scene: SceneOptions,
}

impl CrawlOptions {
    /// Whether there are enough scenes for what is wanted.
    ///
    /// # Errors
    /// None at all, or too few to copy from.
    pub fn check(&self) -> Result<()> {
        let least = if self.clean { 1 } else { LEAST_SCENES };
        ensure!(
            self.scenes >= least,
            "scenes: expected at least {least}, found {}\nhint: without mishaps 1 is enough",
            self.scenes
        );
        Ok(())
    }
}

/// Scenes at which every mishap finds one to happen to.
const LEAST_SCENES: usize = 60;

/// Mishaps that concern whole rows, and how many of them come with 3,000 scenes.
const ROW_CASES: [(&str, usize); 13] = [
    ("placeholder", 30),
    ("repeated_row", 8),
    ("copy_same_caption", 8),
    ("copy_other_caption", 6),
    ("leak_same_bytes", 8),
    ("leak_smaller_copy", 8),
    ("no_url", 6),
    ("no_url_no_filename", 4),
    ("no_filename", 4),
    ("too_few_fields", 4),
    ("too_many_fields", 6),
    ("stray_quote", 4),
    ("not_utf8", 4),
];

/// Placeholder rows at least: curate calls an image a placeholder if it has more than 10 different captions.
const LEAST_PLACEHOLDERS: usize = 14;

/// Scenes looked at for one to make a smaller copy of.
const TRIES: usize = 6;

/// All rows of both CSV files, in the order in which they stand there, train first.
pub fn plan(options: &CrawlOptions) -> Vec<Row> {
    let mut plan =
        Plan { options, random: Random::new(options.seed, 0), rows: Vec::new(), copied: 0 };
    for i in 0..options.scenes {
        let split = if i % 11 == 5 { Split::Test } else { Split::Train };
        let mut row = plan.fresh("scene", split, Encoding::of_scene(i));
        row.place = (i as f32 + 0.5) / options.scenes as f32;
        plan.rows.push(row);
    }
    if !options.clean {
        plan.add_mishaps();
    }
    in_file_order(plan.rows)
}

/// The plan while it grows: scenes first, then what goes wrong.
struct Plan<'a> {
    options: &'a CrawlOptions,
    random: Random,
    rows: Vec<Row>,
    /// Scenes that were copied so far: each is copied once at most.
    copied: usize,
}

impl Plan<'_> {
    fn add_mishaps(&mut self) {
        for (case, in_3000, fate) in FILE_CASES {
            for nth in 0..self.count(in_3000) {
                let mut row = self.fresh(case, some_in_test(nth), Encoding::Jpeg);
                row.content = content::bad_file(case, row.content, self.random.next_u64());
                row.fate = fate;
                self.rows.push(row);
            }
        }
        for (case, in_3000) in CAPTION_CASES {
            for nth in 0..self.count(in_3000) {
                let mut row = self.fresh(case, some_in_test(nth), Encoding::Jpeg);
                let caption = captions::bad_caption(case, &row.text);
                (row.text, row.clean_text, row.fate) =
                    (caption.text, caption.clean_text, caption.fate);
                self.rows.push(row);
            }
        }
        for (case, in_3000) in ROW_CASES {
            let least = if case == "placeholder" { LEAST_PLACEHOLDERS } else { 1 };
            for nth in 0..self.count(in_3000).max(least) {
                let row = self.bad_row(case, nth);
                self.rows.push(row);
            }
        }
    }

    /// How many rows of a mishap there are: in proportion, at least one.
    fn count(&self, in_3000: usize) -> usize {
        (self.options.scenes * in_3000 / 3000).max(1)
    }

    /// A row with a scene of its own.
    fn fresh(&mut self, case: &'static str, split: Split, encoding: Encoding) -> Row {
        let scene = Scene::new(&mut self.random, &self.options.scene, encoding.is_grey());
        let text = scene.caption();
        let quality = 82 + self.random.below(14) as i32;
        let address = if self.random.below(7) == 0 { Address::Query } else { Address::Own };
        Row {
            case,
            split,
            clean_text: text.clone(),
            text,
            address,
            named: true,
            content: Content::Scene { scene, encoding, quality },
            fate: KEPT,
            breakage: None,
            repeats: None,
            place: self.random.unit(),
        }
    }

    fn bad_row(&mut self, case: &'static str, nth: usize) -> Row {
        let mut row = self.fresh(case, some_in_test(nth), Encoding::Jpeg);
        match case {
            "placeholder" => {
                (row.content, row.fate) = (Content::Placeholder, rejected("placeholder_image"))
            }
            "repeated_row" | "copy_same_caption" | "copy_other_caption" => {
                self.copy(case, &mut row, nth)
            }
            "leak_same_bytes" | "leak_smaller_copy" => self.leak(case, &mut row),
            "no_url" => (row.address, row.fate) = (Address::Nowhere, rejected("not_fetched")),
            "no_url_no_filename" => {
                (row.address, row.named, row.fate) =
                    (Address::Nowhere, false, rejected("no_locator"))
            }
            // Without "train" in its file name a row is a test row.
            "no_filename" => (row.split, row.named) = (Split::Test, false),
            _ => {
                row.fate = rejected("malformed_line");
                row.breakage = Some(match case {
                    "too_few_fields" => Breakage::TooFewFields,
                    "too_many_fields" => Breakage::TooManyFields,
                    "stray_quote" => Breakage::StrayQuote,
                    "not_utf8" => Breakage::NotUtf8,
                    unknown => unreachable!("row case {unknown} is in ROW_CASES but has no arm"),
                });
            }
        }
        row
    }

    /// Makes `row` a copy of a scene of the same CSV that stands before it.
    fn copy(&mut self, case: &str, row: &mut Row, nth: usize) {
        let original = self.next_original(Split::Train, 0.5);
        row.split = Split::Train;
        row.place = self.random.between(0.5, 1.0);
        row.content = self.rows[original].content.clone();
        if case == "copy_other_caption" {
            row.text = other_caption(&row.content);
            row.clean_text.clone_from(&row.text);
            // Every second one says that its picture is where the original's is.
            row.address = if nth % 2 == 1 { Address::Of(original) } else { Address::Own };
        } else {
            row.text.clone_from(&self.rows[original].text);
            row.fate = rejected("duplicate_caption");
        }
        if case == "repeated_row" {
            row.address = self.rows[original].address;
            row.repeats = Some(original);
        }
    }

    /// Makes `row` a train row that shows a test scene.
    fn leak(&mut self, case: &str, row: &mut Row) {
        row.split = Split::Train;
        row.fate = rejected("leak");
        let mut original = self.next_original(Split::Test, 1.0);
        if case == "leak_smaller_copy" {
            // Of a few scenes the one whose difference hash leaves least to chance.
            let tries: Vec<usize> =
                (1..TRIES).map(|_| self.next_original(Split::Test, 1.0)).collect();
            let faint = |&i: &usize| self.scene(i).map_or(0, |scene| faint_steps(&draw(scene)));
            original = tries.into_iter().chain([original]).min_by_key(faint).unwrap_or(original);
        }
        row.text = other_caption(&self.rows[original].content);
        row.content = match self.rows[original].content.clone() {
            Content::Scene { scene, .. } if case == "leak_smaller_copy" => {
                Content::Smaller { scene }
            }
            same => same,
        };
    }

    fn scene(&self, i: usize) -> Option<&Scene> {
        self.rows[i].content.scene()
    }

    /// The index of a scene of `split` in the part of its CSV before `place` that was not copied yet. It is in colour and
    /// in an encoding that keeps colours, so that a smaller copy looks the same.
    fn next_original(&mut self, split: Split, place: f32) -> usize {
        let fits = |row: &Row| {
            let plain = [
                Encoding::Jpeg,
                Encoding::JpegFull,
                Encoding::JpegProgressive,
                Encoding::Png,
                Encoding::Webp,
            ];
            let plain =
                matches!(&row.content, Content::Scene { encoding, .. } if plain.contains(encoding));
            row.case == "scene" && row.split == split && row.place < place && plain
        };
        let originals: Vec<usize> = (0..self.rows.len()).filter(|&i| fits(&self.rows[i])).collect();
        assert!(!originals.is_empty(), "{} scenes are too few to copy one", self.options.scenes);
        self.copied += 1;
        originals[(self.copied - 1) % originals.len()]
    }
}

/// Every eighth mishap of a kind is in the test CSV, as nearly every eighth scene.
fn some_in_test(nth: usize) -> Split {
    if nth % 8 == 3 { Split::Test } else { Split::Train }
}

fn other_caption(content: &Content) -> String {
    content.scene().expect("only scenes are copied").other_caption()
}

/// Sorts the rows as they stand in the CSV files and renumbers what refers to other rows.
fn in_file_order(rows: Vec<Row>) -> Vec<Row> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&rows[a], &rows[b]);
        a.split.cmp(&b.split).then(a.place.total_cmp(&b.place))
    });
    let mut new_index = vec![0; rows.len()];
    for (new, &old) in order.iter().enumerate() {
        new_index[old] = new;
    }
    let moved = |&old: &usize| {
        let mut row = rows[old].clone();
        row.repeats = row.repeats.map(|i| new_index[i]);
        if let Address::Of(i) = row.address {
            row.address = Address::Of(new_index[i]);
        }
        row
    };
    order.iter().map(moved).collect()
}
