//! What the model says of pictures it has never seen. In: the model, the held-out scenes. Out: a table and the shares of
//! captions, colours, shapes and positions that are right. Never counts a colour in a picture that shows none.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tuwen_sample::corpus::Truth;
use tuwen_sample::scene::{COLOURS, PLACES, SHAPES};

use super::arguments;
use super::command::Tuwen;

/// One line of `tuwen caption --json`.
#[derive(Deserialize)]
struct Caption {
    file: String,
    caption: String,
}

/// The truth about each held-out scene, and what the model says of it.
pub(super) struct Answers<'a>(Vec<(&'a Truth, String)>);

/// Shares that are right, 0 to 1.
pub(super) struct Rates {
    pub(super) exact: f64,
    pub(super) colour: f64,
    pub(super) shape: f64,
    pub(super) position: f64,
}

/// Has the model caption every scene that came out in the test split with an honest file and caption.
pub(super) fn ask<'a>(
    tuwen: &Tuwen,
    model: &str,
    images: &Path,
    truths: &'a [Truth],
) -> Result<Answers<'a>> {
    let held_out: Vec<&Truth> =
        truths.iter().filter(|t| t.case == "scene" && t.fate == "test").collect();
    let names: Vec<&str> = held_out.iter().map(|truth| truth.file.as_str()).collect();
    let paths = arguments(images, &names);
    let mut call = vec!["caption", "--model", model, "--device", "cpu", "--json"];
    call.extend(paths.iter().map(String::as_str));
    let output = tuwen.output(&call)?;
    let captions =
        output.lines().map(serde_json::from_str::<Caption>).collect::<Result<Vec<_>, _>>();
    let captions = captions.context("tuwen caption: lines of JSON")?;
    let mut said: BTreeMap<String, String> =
        captions.into_iter().map(|c| (c.file, c.caption)).collect();
    let answer = |(truth, path): (&'a Truth, &String)| {
        let caption = said
            .remove(path)
            .with_context(|| format!("tuwen caption: expected {path}, found no line"))?;
        Ok((truth, caption))
    };
    let answers: Result<Vec<_>> = held_out.into_iter().zip(&paths).map(answer).collect();
    let answers = answers?;
    ensure!(!answers.is_empty(), "expected held-out scenes, found none");
    Ok(Answers(answers))
}

impl Answers<'_> {
    /// How many pictures were asked for.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first `n` answers: file, truth, answer, right or wrong.
    pub(super) fn table(&self, n: usize) -> String {
        let mut table = format!(
            "{}{}{}\n",
            padded("picture", 16),
            padded("true caption", 26),
            padded("the model says", 26)
        );
        for (truth, said) in self.0.iter().take(n) {
            let mark = if *said == truth.caption { "✓" } else { "✗" };
            table += &format!(
                "{}{}{}{mark}\n",
                padded(&truth.file, 16),
                padded(&truth.caption, 26),
                padded(said, 26)
            );
        }
        table
    }

    pub(super) fn rates(&self) -> Rates {
        let places: Vec<&str> = PLACES.iter().map(|place| place.name).collect();
        let colours: Vec<&str> = COLOURS.iter().map(|colour| colour.name).collect();
        let shapes: Vec<&str> = SHAPES.iter().map(|shape| shape.name()).collect();
        Rates {
            exact: self.share(|truth, said| Some(truth.caption == said)),
            colour: self.share(|truth, said| says(said, &colours, truth.colour)),
            shape: self.share(|truth, said| says(said, &shapes, truth.shape)),
            position: self.share(|truth, said| says(said, &places, truth.position)),
        }
    }

    /// The share of answers that `judge` finds right, of those it has an opinion about.
    fn share(&self, judge: impl Fn(&Truth, &str) -> Option<bool>) -> f64 {
        let verdicts: Vec<bool> =
            self.0.iter().filter_map(|(truth, said)| judge(truth, said)).collect();
        let share =
            verdicts.iter().filter(|right| **right).count() as f64 / verdicts.len().max(1) as f64;
        (share * 1e4).round() / 1e4
    }
}

impl Rates {
    /// The rates in words.
    pub(super) fn sentence(&self) -> String {
        let [exact, colour, shape, position] = [self.exact, self.colour, self.shape, self.position]
            .map(|share| format!("{:.1} %", share * 100.0));
        format!(
            "held-out captions exactly right: {exact}; colour {colour}, shape {shape}, position {position}\n"
        )
    }
}

/// Whether `said` has the name `truth` in it and no other of `names`; no opinion where there is no truth.
fn says(said: &str, names: &[&str], truth: Option<&str>) -> Option<bool> {
    let truth = truth?;
    Some(names.iter().all(|name| said.contains(name) == (*name == truth)))
}

/// `text` and blanks up to `columns`, of which a Chinese character takes two.
fn padded(text: &str, columns: usize) -> String {
    let wide = |c: char| if c.is_ascii() { 1 } else { 2 };
    let taken: usize = text.chars().map(wide).sum();
    format!("{text}{}", " ".repeat(columns.saturating_sub(taken).max(1)))
}
