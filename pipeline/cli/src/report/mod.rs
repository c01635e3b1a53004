//! What a corpus holds, for people who were not there. In: a session over one snapshot. Out: a page of HTML or a Markdown card, whole in
//! itself. `collect.rs` asks the corpus (`sql/report/`, `sql/queries/`), `pictures.rs` gets thumbnails, `html.rs` and `markdown.rs` lay
//! out. Never writes to the corpus, and asks nobody else.

mod collect;
mod html;
mod markdown;
mod pictures;

pub(crate) use collect::{Options, collect};
pub(crate) use html::html;
pub(crate) use markdown::{escaped, front_lines, markdown, write_rows, write_sections};

/// All that is told.
pub(crate) struct Report {
    /// Where the corpus lies.
    pub(crate) corpus: String,
    /// UTC, to the second.
    pub(crate) made_at: String,
    /// Name, version and rows of each table that there is.
    pub(crate) tables: Vec<(String, i64, u64)>,
    /// Examples in a split.
    pub(crate) examples: u64,
    pub(crate) sections: Vec<Section>,
}

/// One thing that is told, in words and in figures.
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) body: Body,
}

/// How it is told.
pub(crate) enum Body {
    /// Numbers side by side, each with its name.
    Bars(Vec<(String, u64)>),
    Table(Rows),
    /// Pictures with their captions, in groups.
    Gallery(Vec<Group>),
}

/// Rows of a query, as text.
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    /// Whether a column is of numbers.
    pub(crate) is_number: Vec<bool>,
    /// Empty cells for NULL.
    pub(crate) rows: Vec<Vec<String>>,
}

/// Pictures that have something in common.
pub(crate) struct Group {
    pub(crate) title: String,
    pub(crate) pictures: Vec<Picture>,
}

/// A pair that is shown.
pub(crate) struct Picture {
    /// The caption, as crawled or clean; anything may stand in it.
    pub(crate) text: String,
    /// Its URL or file; may be empty.
    pub(crate) source: String,
    pub(crate) image_id: Option<String>,
    /// `data:image/jpeg;base64,…`; none if there is nothing to show.
    pub(crate) thumbnail: Option<String>,
}
