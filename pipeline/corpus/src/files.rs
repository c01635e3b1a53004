//! The data files of a snapshot. In: a table's name. Out: which files it has, some of them as a table, and how they leave it.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, bail};
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::prelude::SessionContext;
use deltalake::kernel::Remove;
use tuwen_schemas::table;

use crate::file_table::FileTable;
use crate::plain_files::{PlainFile, plain_files};
use crate::snapshot::{Snapshot, TableVersions};

/// What a snapshot has more than an earlier one: files by table.
pub type NewFiles = std::collections::BTreeMap<&'static str, BTreeSet<String>>;

/// What a table is made of, as far as the log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableSize {
    /// Rows.
    pub rows: u64,
    /// Data files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Snapshot {
    /// Rows, files and bytes of table `name`; none if the corpus lacks it.
    ///
    /// # Errors
    /// Never for a table that is there.
    pub fn size(&self, name: &str) -> Result<Option<TableSize>> {
        if self.version(name).is_none() {
            return Ok(None);
        }
        let mut size = TableSize::default();
        for file in self.delta(name).snapshot()?.log_data().iter() {
            size.rows += file.num_records().unwrap_or(0) as u64;
            size.files += 1;
            size.bytes += file.size() as u64;
        }
        Ok(Some(size))
    }

    /// The paths of table `name`'s files, below its folder.
    ///
    /// # Errors
    /// The table is not there.
    pub fn file_paths(&self, name: &str) -> Result<BTreeSet<String>> {
        let files = self.delta(name).snapshot()?.log_data();
        Ok(files.iter().map(|file| file.path().into_owned()).collect())
    }

    /// The files of table `name`, oldest first; none if the table is not there.
    ///
    /// # Errors
    /// The files alone do not say what the rows are.
    pub fn plain_files(&self, name: &str) -> Result<Vec<PlainFile>> {
        if self.version(name).is_none() {
            return Ok(Vec::new());
        }
        let delta = self.delta(name);
        if !delta.snapshot()?.metadata().partition_columns().is_empty() {
            bail!("table `{name}`: expected no partitions, found some: another program made them");
        }
        plain_files(&format!("table `{name}`"), delta)
    }

    /// Rows of table `name`, or of those of its files that are called `paths`, as far as the log says.
    ///
    /// # Errors
    /// Never for a table that is there.
    pub fn n_rows(&self, name: &str, paths: Option<&BTreeSet<String>>) -> Result<u64> {
        if self.version(name).is_none() {
            return Ok(0);
        }
        let files = self.delta(name).snapshot()?.log_data();
        let counted = files
            .iter()
            .filter(|file| paths.is_none_or(|paths| paths.contains(file.path().as_ref())));
        Ok(counted.filter_map(|file| file.num_records()).sum::<usize>() as u64)
    }

    /// The actions by which files of table `name` leave it: those of `paths`, or all.
    ///
    /// # Errors
    /// The table is not there.
    pub fn removes(&self, name: &str, paths: Option<&BTreeSet<String>>) -> Result<Vec<Remove>> {
        let files = self.delta(name).snapshot()?.log_data();
        let leaving = files
            .iter()
            .filter(|file| paths.is_none_or(|paths| paths.contains(file.path().as_ref())));
        Ok(leaving.map(|file| file.remove_action(true)).collect())
    }

    /// Those files of table `name` that are called `paths` as a table; with `file_column` a column of that name says which file a
    /// row stands in.
    ///
    /// # Errors
    /// The table is not there, or its files alone do not say what its rows are.
    pub fn table_of_files(
        &self,
        name: &str,
        paths: Option<&BTreeSet<String>>,
        file_column: Option<&str>,
    ) -> Result<Arc<dyn TableProvider>> {
        Ok(Arc::new(FileTable::new(name, self.delta(name), paths, file_column)?))
    }

    /// Registers those files of table `name` that are called `paths` with `ctx`, as a table `alias`.
    ///
    /// # Errors
    /// The table has no such file.
    pub async fn register_files(
        &self,
        ctx: &SessionContext,
        name: &str,
        paths: &BTreeSet<String>,
        alias: &str,
    ) -> Result<()> {
        let table: Arc<dyn TableProvider> = match paths.is_empty() {
            true => Arc::new(MemTable::try_new(Arc::clone(&table(name).schema), vec![vec![]])?),
            false => self.provider(name, Some(paths), ctx).await?,
        };
        ctx.deregister_table(alias)?;
        ctx.register_table(alias, table)?;
        Ok(())
    }

    /// The files of `names` that came after `versions`. None if one of those tables has lost files since, or the version is gone:
    /// then its new files do not say what is new.
    ///
    /// # Errors
    /// A log cannot be read.
    pub async fn files_since(
        &self,
        versions: &TableVersions,
        names: &[&'static str],
    ) -> Result<Option<NewFiles>> {
        let mut new = NewFiles::new();
        for &name in names {
            let (Some(&version), Some(newest)) = (versions.get(name), self.version(name)) else {
                return Ok(None);
            };
            if version == newest {
                new.insert(name, BTreeSet::new());
                continue;
            }
            let now = self.file_paths(name)?;
            let Ok(then) = self.at(name, version).await else { return Ok(None) };
            if !then.is_subset(&now) {
                return Ok(None);
            }
            new.insert(name, now.difference(&then).cloned().collect());
        }
        Ok(Some(new))
    }

    async fn at(&self, name: &str, version: i64) -> Result<BTreeSet<String>> {
        let mut then = self.clone();
        then.pin(name, u64::try_from(version)?).await?;
        then.file_paths(name)
    }
}
