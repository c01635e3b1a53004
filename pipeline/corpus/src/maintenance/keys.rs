//! Rows that are one too many. In: a session with a table, and the table's files. Out: how many
//! rows have the key of another, and where those stand that are to go. What is kept in memory grows
//! with the number of such keys, never with the table.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::functions_aggregate::count::count_all;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::prelude::{DataFrame, SessionContext, col, lit};
use futures::TryStreamExt;
use tuwen_schemas::table;

use super::health::Health;
use crate::id::{Id, id_of};

/// The column with the number of rows of a key; no contract has one of that name.
const N_ROWS: &str = "n_rows_of_key";

/// Keys that several rows have, and the rows beyond one for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Duplicates {
    /// Keys.
    pub(crate) keys: u64,
    /// Rows beyond the first.
    pub(crate) surplus: u64,
}

/// A row of a table's files: the place of its file, and the row within it.
type Position = (usize, u64);

/// Rows by the place of their file.
pub(crate) type RowsByFile = BTreeMap<usize, BTreeSet<u64>>;

/// The columns of the key of table `name`.
pub(crate) fn key_of(name: &str) -> Vec<&'static str> {
    table(name).key.iter().map(String::as_str).collect()
}

/// Counts the rows of table `name` in `ctx` that have the values of another row in `columns`.
///
/// # Errors
/// The table cannot be read.
pub(crate) async fn count_duplicates(
    ctx: &SessionContext,
    name: &str,
    columns: &[&str],
) -> Result<Duplicates> {
    let several = several(ctx, name, columns).await?;
    let counts = several.aggregate(vec![], vec![count(lit(1)), sum(col(N_ROWS))])?;
    let batches = counts.collect().await?;
    let row = batches.first().context("an aggregate has a row")?;
    let number = |column: usize| {
        row.column(column).as_primitive::<Int64Type>().iter().next().flatten().unwrap_or(0) as u64
    };
    Ok(Duplicates { keys: number(0), surplus: number(1) - number(0) })
}

/// The values of `columns` that several rows of table `name` have.
async fn several(ctx: &SessionContext, name: &str, columns: &[&str]) -> Result<DataFrame> {
    let groups = columns.iter().map(|column| col(*column)).collect();
    let counted = ctx.table(name).await?.aggregate(groups, vec![count_all().alias(N_ROWS)])?;
    Ok(counted.filter(col(N_ROWS).gt(lit(1_i64)))?)
}

/// The column of table `name` that says which rows are good, and what it says of one that is; null
/// where that is none.
fn good_value(name: &str) -> Option<(&'static str, Option<&'static str>)> {
    match name {
        "originals" => Some(("outcome", Some("ok"))),
        "images" => Some(("reject_reason", None)),
        _ => None,
    }
}

/// Where the rows of table `name` stand that have the key of another: all but one of each key. That
/// one is the first of the oldest file; where rows may be bad, the first that is good.
///
/// # Errors
/// The table cannot be read.
pub(crate) async fn surplus_rows(
    ctx: &SessionContext,
    name: &str,
    files: &[Health],
) -> Result<RowsByFile> {
    let columns = key_of(name);
    let keys = several(ctx, name, &columns).await?.select_columns(&columns)?;
    let mut kept: HashMap<Id, Option<Kept>> = HashMap::new();
    for_each_digest(name, &columns, keys, |digest| {
        kept.insert(digest, None);
    })
    .await?;
    let mut surplus = RowsByFile::new();
    if kept.is_empty() {
        return Ok(surplus);
    }
    let good = good_value(name);
    let said = good.map(|(column, _)| column);
    for_each_row(name, &columns, said, files, |position, digest, said| {
        let Some(best) = kept.get_mut(&digest) else { return };
        let is_good = good.is_none_or(|(_, value)| said == value);
        let loser = match best {
            None => {
                *best = Some(Kept { position, is_good });
                return;
            }
            Some(best) if is_good && !best.is_good => {
                std::mem::replace(best, Kept { position, is_good }).position
            }
            Some(_) => position,
        };
        surplus.entry(loser.0).or_default().insert(loser.1);
    })
    .await?;
    Ok(surplus)
}

struct Kept {
    position: Position,
    is_good: bool,
}

/// Where the rows of table `name` stand whose values of `column` are among those of `values`.
///
/// # Errors
/// The table cannot be read.
pub(crate) async fn rows_with(
    name: &str,
    column: &'static str,
    values: DataFrame,
    files: &[Health],
) -> Result<RowsByFile> {
    let mut wanted = HashMap::new();
    for_each_digest(name, &[column], values, |digest| {
        wanted.insert(digest, ());
    })
    .await?;
    let mut rows = RowsByFile::new();
    if wanted.is_empty() {
        return Ok(rows);
    }
    for_each_row(name, &[column], None, files, |(file, row), digest, _| {
        if wanted.contains_key(&digest) {
            rows.entry(file).or_default().insert(row);
        }
    })
    .await?;
    Ok(rows)
}

/// Rows whose number in the identity column of table `name` another row has, `surplus` ones left
/// out: all but the first of the oldest file get a new number, from the one after the last on. So
/// do later attempts at the same locator: the last stays the last.
///
/// # Errors
/// The table cannot be read.
pub(crate) async fn new_numbers(
    ctx: &SessionContext,
    name: &str,
    files: &[Health],
    surplus: &RowsByFile,
    first_new: i64,
) -> Result<BTreeMap<usize, BTreeMap<u64, i64>>> {
    let mut numbers: BTreeMap<usize, BTreeMap<u64, i64>> = BTreeMap::new();
    let Some(identity) = table(name).identity.as_deref() else { return Ok(numbers) };
    let twice = several(ctx, name, &[identity]).await?.select_columns(&[identity])?;
    let mut is_taken = HashMap::new();
    for_each_digest(name, &[identity], twice, |digest| {
        is_taken.insert(digest, false);
    })
    .await?;
    let mut next = first_new;
    if is_taken.is_empty() {
        return Ok(numbers);
    }
    let is_surplus = |(file, row): Position| {
        surplus.get(&file).is_some_and(|rows: &BTreeSet<u64>| rows.contains(&row))
    };
    let mut repeated = HashSet::new();
    for_each_row(name, &[identity], None, files, |position, digest, _| {
        let Some(is_taken) = is_taken.get_mut(&digest) else { return };
        if !is_surplus(position) && std::mem::replace(is_taken, true) {
            repeated.insert(position);
        }
    })
    .await?;
    let mut locators = HashSet::new();
    for_each_row(name, &["locator"], None, files, |position, locator, _| {
        if repeated.contains(&position) {
            locators.insert(locator);
        }
    })
    .await?;
    let mut attempts = Vec::new();
    for_each_row(name, &["locator"], Some("attempt"), files, |position, locator, attempt| {
        if locators.contains(&locator) && !is_surplus(position) {
            let attempt = attempt.and_then(|attempt| attempt.parse::<i64>().ok());
            attempts.push((attempt, position, locator));
        }
    })
    .await?;
    attempts.sort_unstable();
    let mut moved = HashSet::new();
    for (_, position, locator) in attempts {
        if repeated.contains(&position) {
            moved.insert(locator);
        }
        if moved.contains(&locator) {
            numbers.entry(position.0).or_default().insert(position.1, next);
            next += 1;
        }
    }
    Ok(numbers)
}

/// Calls `each` with the digest of every row of `frame`, whose columns are `columns` of table `name`.
async fn for_each_digest(
    name: &str,
    columns: &[&str],
    frame: DataFrame,
    mut each: impl FnMut(Id),
) -> Result<()> {
    let digests = Digests::new(name, columns)?;
    let mut batches = frame.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        digests.of(&batch, columns)?.for_each(&mut each);
    }
    Ok(())
}

/// Calls `each` with position, digest and value of column `beside`, as a text, of every row of
/// `files`.
async fn for_each_row(
    name: &str,
    columns: &[&str],
    beside: Option<&str>,
    files: &[Health],
    mut each: impl FnMut(Position, Id, Option<&str>),
) -> Result<()> {
    let digests = Digests::new(name, columns)?;
    let read: Vec<&str> = columns.iter().copied().chain(beside).collect();
    for (i, health) in files.iter().enumerate() {
        let Some(open) = health.readable() else { continue };
        for (group, rows) in open.groups().into_iter().enumerate() {
            if health.unreadable.iter().any(|(unreadable, _)| *unreadable == group) {
                continue;
            }
            let mut reader = open.read(group, name, Some(&read))?;
            let mut row = rows.start;
            while let Some(batch) = reader.next().await?.map_err(|why| {
                anyhow::anyhow!("table `{name}`, file {}: {why}", health.file.path)
            })? {
                let values = beside.and_then(|column| batch.column_by_name(column));
                let values = values.map(|values| cast(values, &DataType::Utf8)).transpose()?;
                let values = values.as_ref().map(|values| values.as_string::<i32>());
                for (j, digest) in digests.of(&batch, columns)?.enumerate() {
                    let value = values.filter(|values| values.is_valid(j));
                    each((i, row + j as u64), digest, value.map(|values| values.value(j)));
                }
                row += batch.num_rows() as u64;
            }
        }
    }
    Ok(())
}

/// Makes digests of keys: 16 bytes, however long the key.
struct Digests {
    converter: RowConverter,
    types: Vec<arrow::datatypes::DataType>,
}

impl Digests {
    fn new(name: &str, columns: &[&str]) -> Result<Self> {
        let schema = &table(name).schema;
        let types: Result<Vec<_>, _> = columns
            .iter()
            .map(|column| schema.field_with_name(column).map(|field| field.data_type().clone()))
            .collect();
        let types = types?;
        let fields = types.iter().map(|data_type| SortField::new(data_type.clone())).collect();
        Ok(Self { converter: RowConverter::new(fields)?, types })
    }

    fn of(
        &self,
        batch: &RecordBatch,
        columns: &[&str],
    ) -> Result<impl Iterator<Item = Id> + use<>> {
        let arrays: Result<Vec<ArrayRef>> = columns
            .iter()
            .zip(&self.types)
            .map(|(column, data_type)| {
                let array =
                    batch.column_by_name(column).with_context(|| format!("column `{column}`"))?;
                Ok(cast(array, data_type)?)
            })
            .collect();
        let rows = self.converter.convert_columns(&arrays?)?;
        Ok((0..rows.num_rows()).map(move |i| id_of(rows.row(i).as_ref())))
    }
}
