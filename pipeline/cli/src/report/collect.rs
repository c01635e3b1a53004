//! Asks a corpus for what a report tells. In: a session, settings. Out: a [`Report`].

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::Utc;
use tuwen_etl::sql::Session;
use tuwen_settings::Settings;

use super::pictures::add_thumbnails;
use super::{Body, Group, Picture, Report, Rows, Section};

/// How much is shown.
pub(crate) struct Options<'a> {
    /// Pictures of each reason, split and group; 0: none.
    pub(crate) pictures: usize,
    /// Groups of near-identical images.
    pub(crate) groups: usize,
    /// Settings whose gates are told; none: they are not.
    pub(crate) gates: Option<&'a Settings>,
}

/// Rows of a table that are shown, the others are counted.
const MOST_ROWS: usize = 30;

macro_rules! query {
    ($file:literal) => {
        include_str!(concat!("../../../../sql/", $file, ".sql"))
    };
}

/// Asks for everything.
///
/// # Errors
/// A table cannot be read.
pub(crate) async fn collect(session: &Session, options: &Options<'_>) -> Result<Report> {
    let shown = format!("shown={}", options.pictures);
    let groups = format!("groups={}", options.groups);
    let none: &[&str] = &[];
    let mut sections = vec![
        bars(
            session,
            "What came in, and how far it came",
            "Pairs of a caption and a picture.",
            query!("report/funnel"),
        )
        .await?,
        table(
            session,
            "Where pairs ended",
            "Each pair ends in a split or with a reason, and nowhere else.",
            query!("queries/splits_and_reasons"),
            none,
        )
        .await?,
    ];
    sections.extend(changes(session).await?);
    sections.push(
        table(
            session,
            "Why something was left out, by stage",
            "With one of the things it was said of.",
            query!("queries/reasons_by_stage"),
            none,
        )
        .await?,
    );
    if options.pictures > 0 {
        let asked = [shown.as_str()];
        sections.push(
            gallery(
                session,
                "Pairs that were kept",
                "The first of each split, by a hash.",
                query!("report/kept_pairs"),
                &asked,
                "split",
            )
            .await?,
        );
        sections.push(
            gallery(
                session,
                "Pairs that were refused",
                "As they were crawled; pictures where there is one that could be decoded.",
                query!("report/rejected_pairs"),
                &asked,
                "reason",
            )
            .await?,
        );
        sections.push(
            gallery(
                session,
                "Near-identical images",
                "The largest groups, if curate.group_near makes them.",
                query!("report/near_pictures"),
                &[&shown, &groups],
                "near_group",
            )
            .await?,
        );
    }
    sections.push(
        bars(
            session,
            "Lengths of captions",
            "Characters of the clean captions in a split.",
            query!("report/caption_lengths"),
        )
        .await?,
    );
    sections.push(
        bars(
            session,
            "Sizes of pictures",
            "The longer side, of distinct ones.",
            query!("report/picture_sizes"),
        )
        .await?,
    );
    sections
        .push(table(session, "Formats of pictures", "", query!("queries/formats"), none).await?);
    sections
        .push(table(session, "Scripts of captions", "", query!("queries/languages"), none).await?);
    sections.push(
        table(
            session,
            "Hosts",
            "Those that were asked for most.",
            query!("report/busiest_hosts"),
            none,
        )
        .await?,
    );
    if let Some(settings) = options.gates {
        sections.push(gates(session, settings).await?);
    }
    sections.push(
        table(
            session,
            "Runs",
            "The last twenty; an outcome that is not ok says that a gate was red, or what failed.",
            query!("report/recent_runs"),
            none,
        )
        .await?,
    );
    sections.retain(|section| !section.body.is_empty());
    let corpus = session.snapshot().corpus();
    add_thumbnails(corpus.root().as_str(), &mut sections).await?;
    Ok(Report {
        corpus: corpus.shown().to_string(),
        made_at: Utc::now().format("%Y-%m-%d %H:%M:%S").to_string(),
        tables: tables(session).await?,
        examples: count(session, "select count(split) from examples").await?,
        sections,
    })
}

impl Body {
    fn is_empty(&self) -> bool {
        match self {
            Self::Bars(bars) => bars.is_empty(),
            Self::Table(rows) => rows.rows.is_empty(),
            Self::Gallery(groups) => groups.is_empty(),
        }
    }
}

async fn tables(session: &Session) -> Result<Vec<(String, i64, u64)>> {
    let mut all = Vec::new();
    for (name, version) in session.snapshot().versions() {
        let n = count(session, &format!("select count(*) from {name}")).await?;
        all.push((name, version, n));
    }
    Ok(all)
}

/// What the last run of curate changed: pairs by split and reason before it and after it. None if it was the first, or if the
/// version that it read is no longer there.
async fn changes(session: &Session) -> Result<Option<Section>> {
    let last = ask(session, query!("report/last_curate"), &[]).await?;
    let Some([before, after]) = last.rows.first().map(|row| [row[0].clone(), row[1].clone()])
    else {
        return Ok(None);
    };
    let query = query!("queries/splits_and_reasons");
    let at = |version: &str| query.replace("from examples", &format!("from examples@v{version}"));
    let (old, new) =
        match (ask(session, &at(&before), &[]).await, ask(session, &at(&after), &[]).await) {
            (Ok(old), Ok(new)) => (old, new),
            // `tuwen vacuum` may have deleted it.
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(
                    "the report is without what the last run of curate changed: {error:#}"
                );
                return Ok(None);
            }
        };
    if old.rows.is_empty() {
        return Ok(None);
    }
    let mut pairs: BTreeMap<(String, String), [i64; 2]> = BTreeMap::new();
    for (i, rows) in [&old, &new].into_iter().enumerate() {
        for row in &rows.rows {
            let n =
                row[2].parse().with_context(|| format!("expected a number, found `{}`", row[2]))?;
            pairs.entry((row[0].clone(), row[1].clone())).or_default()[i] = n;
        }
    }
    let rows = pairs.into_iter().filter(|(_, [before, after])| before != after);
    let rows = rows.map(|((split, reason), [before, after])| {
        let change = format!("{:+}", after - before);
        vec![split, reason, before.to_string(), after.to_string(), change]
    });
    let columns = ["split", "reject_reason", "before", "after", "change"].map(str::to_owned);
    let rows = Rows {
        columns: columns.to_vec(),
        is_number: vec![false, false, true, true, true],
        rows: rows.collect(),
    };
    Ok(Some(Section {
        title: "What the last change of examples brought".to_owned(),
        note: format!(
            "Version {before} of the table beside version {after}; what is not named stayed as it was."
        ),
        body: Body::Table(rows),
    }))
}

/// Each gate, what it allows, and what the corpus has.
async fn gates(session: &Session, settings: &Settings) -> Result<Section> {
    let row = |stage: &str, gate: &str, limit: String, found: String, is_green: bool| {
        let state = if is_green { "green" } else { "red" };
        vec![stage.to_owned(), gate.to_owned(), limit, found, state.to_owned()]
    };
    let (most, least) = (settings.max_rejected_percent, settings.curate.min_examples);
    let mut rows = Vec::new();
    for counted in ask(session, query!("report/gates"), &[]).await?.rows {
        let [stage, judged, n_rows, n_rejected] = &counted[..] else {
            bail!("report/gates.sql: expected four columns, found {}", counted.len());
        };
        let percent = 100.0 * number(n_rejected)? as f64 / number(n_rows)?.max(1) as f64;
        let found = format!("{percent:.1} % of {n_rows} {judged}");
        let limit = format!("at most {most} %");
        rows.push(row(stage, "max_rejected_percent", limit, found, percent <= most));
    }
    let n_examples = count(session, "select count(split) from examples").await?;
    let (limit, found) = (format!("at least {least}"), format!("{n_examples} examples in splits"));
    rows.push(row("curate", "curate.min_examples", limit, found, n_examples >= least));
    if !settings.curate.audits.is_empty() {
        let limit = format!("no rows from {}", settings.curate.audits);
        let last = ask(session, query!("report/own_audits"), &[]).await?;
        let (found, is_green) = match last.rows.first().map(Vec::as_slice) {
            Some([at, audit]) if audit.is_empty() => {
                (format!("no own audit refused the run of {at}"), true)
            }
            Some([at, audit]) => (format!("{audit} returned rows in the run of {at}"), false),
            _ => ("no run yet".to_owned(), true),
        };
        rows.push(row("curate", "curate.audits", limit, found, is_green));
    }
    let columns = ["stage", "gate", "limit", "found", "state"].map(str::to_owned).to_vec();
    let is_number = vec![false; columns.len()];
    let note = "What they allow as tuwen is set now, beside the tables as they are; of your own audits, what the last recorded run says \
        (a forced one asks none). \
        Where a run met a red one, Runs has what it found.";
    Ok(section("Gates", note, Body::Table(Rows { columns, is_number, rows })))
}

async fn bars(session: &Session, title: &str, note: &str, query: &str) -> Result<Section> {
    let rows = ask(session, query, &[]).await?;
    let bars = rows.rows.iter().map(|row| Ok((row[0].clone(), number(&row[1])?)));
    Ok(section(title, note, Body::Bars(bars.collect::<Result<_>>()?)))
}

async fn table(
    session: &Session,
    title: &str,
    note: &str,
    query: &str,
    params: &[&str],
) -> Result<Section> {
    let mut rows = ask(session, query, params).await?;
    let more = rows.rows.len().saturating_sub(MOST_ROWS);
    rows.rows.truncate(MOST_ROWS);
    let note = match more {
        0 => note.to_owned(),
        more => format!("{note} {more} more rows are not shown.").trim().to_owned(),
    };
    Ok(section(title, &note, Body::Table(rows)))
}

/// Pictures in groups by the column `by`, whose number of pairs or images stands in the next one.
async fn gallery(
    session: &Session,
    title: &str,
    note: &str,
    query: &str,
    params: &[&str],
    by: &str,
) -> Result<Section> {
    let rows = ask(session, query, params).await?;
    let place = |name: &str| rows.columns.iter().position(|column| column == name);
    let cell = |row: &[String], name: &str| place(name).map_or(String::new(), |i| row[i].clone());
    let (mut groups, mut last): (Vec<Group>, Option<&String>) = (Vec::new(), None);
    for row in &rows.rows {
        let (name, n) = (cell(row, by), &row[1]);
        let title = match by {
            "near_group" => format!("{n} images"),
            _ => format!("{name}: {n} pairs"),
        };
        let picture = Picture {
            text: cell(row, "text"),
            source: cell(row, "source"),
            image_id: Some(cell(row, "image_id")).filter(|id| !id.is_empty()),
            thumbnail: None,
        };
        match groups.last_mut().filter(|_| last == Some(&row[0])) {
            Some(group) => group.pictures.push(picture),
            None => groups.push(Group { title, pictures: vec![picture] }),
        }
        last = Some(&row[0]);
    }
    Ok(section(title, note, Body::Gallery(groups)))
}

fn section(title: &str, note: &str, body: Body) -> Section {
    Section { title: title.to_owned(), note: note.to_owned(), body }
}

async fn count(session: &Session, query: &str) -> Result<u64> {
    let counted = ask(session, query, &[]).await?;
    number(&counted.rows.first().context("expected a count, found none")?[0])
}

fn number(cell: &str) -> Result<u64> {
    cell.parse().with_context(|| format!("expected a number, found `{cell}`"))
}

/// The rows of a query, which is a file of sql/ or counts rows.
async fn ask(session: &Session, text: &str, params: &[&str]) -> Result<Rows> {
    let batches = session.ask(text, params).await?;
    let mut all = Rows { columns: Vec::new(), is_number: Vec::new(), rows: Vec::new() };
    let Some(first) = batches.first() else { return Ok(all) };
    for field in first.schema().fields() {
        all.columns.push(field.name().clone());
        all.is_number.push(field.data_type().is_numeric());
    }
    let options = FormatOptions::default().with_display_error(false);
    for batch in &batches {
        let columns = batch.columns().iter();
        let columns: Vec<_> = columns
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| column.value(row).try_to_string());
            all.rows.push(cells.collect::<Result<_, _>>()?);
        }
    }
    Ok(all)
}
