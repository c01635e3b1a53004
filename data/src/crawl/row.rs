//! One row of a CSV file and the truth about it. Only types: [`super::plan`] fills them.

use super::Content;

/// One of the two CSV files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// `train.csv`
    Train,
    /// `test.csv`
    Test,
}

impl Split {
    /// `train` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

/// What must become of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Why curate rejects the row; none if it keeps it.
    pub reject: Option<&'static str>,
    /// Why decode rejects the row's image; none if it decodes it or never gets it.
    pub image_reject: Option<&'static str>,
}

/// A row that is kept.
pub(super) const KEPT: Fate = Fate { reject: None, image_reject: None };

/// A row that curate rejects for `reason`.
pub(super) const fn rejected(reason: &'static str) -> Fate {
    Fate { reject: Some(reason), image_reject: None }
}

/// How a line of the CSV is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// No file name, and no comma before it.
    TooFewFields,
    /// A URL with commas, not quoted.
    TooManyFields,
    /// A quote opens the caption and nothing closes it.
    StrayQuote,
    /// The caption is in GBK, not in UTF-8.
    NotUtf8,
}

/// Where a row says its picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// At a URL of its own.
    Own,
    /// At a URL of its own with a query that has commas in it.
    Query,
    /// At the URL of another row, given by its index.
    Of(usize),
    /// The field is empty.
    Nowhere,
}

/// One row of a CSV file and the truth about it.
#[derive(Clone, Debug)]
pub struct Row {
    /// `scene`, or the name of its mishap.
    pub case: &'static str,
    /// The CSV it is in.
    pub split: Split,
    /// The caption as the CSV has it.
    pub text: String,
    /// The caption once cleaned, which the row has if it is kept.
    pub clean_text: String,
    /// Where it says the picture is.
    pub address: Address,
    /// Whether the file name field is filled.
    pub named: bool,
    /// What its file holds.
    pub content: Content,
    /// What must become of it.
    pub fate: Fate,
    /// How its line is broken.
    pub breakage: Option<Breakage>,
    /// The row that it repeats word for word.
    pub repeats: Option<usize>,
    /// Its place in the CSV, between 0 and 1.
    pub(super) place: f32,
}

impl Row {
    /// Whether no file is served for it: its line is broken, or the host has lost it.
    pub fn has_no_file(&self) -> bool {
        self.breakage.is_some() || matches!(self.content, Content::Missing)
    }
}
