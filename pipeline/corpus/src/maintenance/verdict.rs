//! What a check comes to. In: the state of files, of properties and of keys. Out: findings and notes,
//! each kind once a table, with an example.

use anyhow::Result;
use datafusion::prelude::SessionContext;
use indicatif::HumanBytes;
use tuwen_schemas::{TABLES, table};

use super::delta_log::APPEND_ONLY;
use super::findings::{Finding, Kind, Note};
use super::health::{Checkup, Health};
use super::keys::{count_duplicates, key_of};
use super::optimize::bulky_column;
use crate::contract::recorded_version;
use crate::corpus::is_append_only;
use crate::open::MAY_LACK;
use crate::snapshot::Snapshot;

/// What mends most things.
pub(super) const REPAIR: &str = "tuwen repair";

/// What there is to say.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) findings: Vec<Finding>,
    pub(super) notes: Vec<Note>,
}

impl Verdict {
    /// `n` things of a kind, of which `example` is one; nothing if there are none.
    pub(super) fn found(&mut self, kind: Kind, table: &str, n: u64, what: String, hint: &str) {
        if n > 0 {
            let (table, hint) = (table.to_owned(), hint.to_owned());
            self.findings.push(Finding { kind, table, what, n, hint });
        }
    }

    pub(super) fn note(&mut self, table: &str, what: String, hint: &str) {
        self.notes.push(Note { table: table.to_owned(), what, hint: hint.to_owned() });
    }

    /// Files with something wrong, and what is wrong with the first.
    fn of_files(
        &mut self,
        kind: Kind,
        checkup: &Checkup,
        wrong: impl Fn(&Health) -> Option<String>,
    ) {
        let all: Vec<(&Health, String)> =
            checkup.files.iter().filter_map(|health| Some((health, wrong(health)?))).collect();
        let Some((health, why)) = all.first() else { return };
        let more = match all.len() {
            1 => String::new(),
            n => format!(", and {} more files", n - 1),
        };
        let what = format!("{}: {why}{more}", health.file.path);
        self.found(kind, checkup.name, all.len() as u64, what, REPAIR);
    }

    pub(super) fn files(&mut self, checkup: &Checkup) {
        self.of_files(Kind::MissingFile, checkup, |health| {
            health.open.is_none().then(|| {
                format!("the log has it with {} rows, the folder does not", health.n_rows())
            })
        });
        self.of_files(Kind::WrongSize, checkup, |health| {
            let (by_log, lying) = health.wrong_size()?;
            Some(format!("expected {by_log} bytes, found {lying}"))
        });
        self.of_files(Kind::Unreadable, checkup, |health| match &health.open {
            Some(Err(why)) => Some(why.clone()),
            _ => health.unreadable.first().map(|(group, why)| {
                let n = health.unreadable.len();
                format!("row group {group} ({n} such in it): {why}")
            }),
        });
        self.of_files(Kind::WrongRowCount, checkup, |health| {
            let (by_log, by_footer) = health.wrong_rows()?;
            Some(format!("expected {by_log} rows, found {by_footer}"))
        });
        self.damage(checkup);
        if checkup.others.n > 0 {
            let what = format!(
                "{} files ({}) of its folder are not in the newest version",
                checkup.others.n,
                HumanBytes(checkup.others.bytes)
            );
            self.note(checkup.name, what, "tuwen vacuum deletes those that no recent version has");
        }
        let Some(bulky) = bulky_column(checkup.name) else { return };
        let open = checkup.files.iter().filter_map(Health::readable);
        let n_foreign = open.filter(|open| open.is_foreign(bulky)).count();
        if n_foreign > 0 {
            let what = format!("{n_foreign} files are not in tuwen's layout, which is read faster");
            self.note(checkup.name, what, "tuwen optimize");
        }
    }

    fn damage(&mut self, checkup: &Checkup) {
        let kind = match checkup.name {
            "images" => Kind::DamagedPixels,
            _ => Kind::DamagedBytes,
        };
        let n = checkup.files.iter().map(|health| health.damaged.len() as u64).sum();
        let Some(health) = checkup.files.iter().find(|health| !health.damaged.is_empty()) else {
            return;
        };
        let row = health.damaged.first().copied().unwrap_or(0);
        let what = format!(
            "{n} rows are not what was written, the first of them {}, row {row}",
            health.file.path
        );
        self.found(kind, checkup.name, n, what, REPAIR);
    }

    /// The version of the contract, and whether rows can be taken away.
    pub(super) fn properties(&mut self, snapshot: &Snapshot, name: &'static str) -> Result<()> {
        let contract = table(name);
        let version = recorded_version(contract, snapshot.delta(name))?;
        if version < contract.version {
            let what = format!("schema version {version}, the newest is {}", contract.version);
            self.note(name, what, "tuwen migrate");
            return Ok(());
        }
        let expected = is_append_only(name).to_string();
        let found = snapshot.property(name, APPEND_ONLY);
        if found.as_deref().unwrap_or("false") != expected {
            let found = found.unwrap_or_else(|| "none".to_owned());
            let what = format!("property {APPEND_ONLY}: expected {expected}, found {found}");
            self.found(Kind::AppendOnly, name, 1, what, REPAIR);
        }
        Ok(())
    }

    pub(super) async fn keys(&mut self, ctx: &SessionContext, checkup: &Checkup) -> Result<()> {
        let name = checkup.name;
        let identity = table(name).identity.as_deref();
        let key = key_of(name);
        let checks = [(Kind::DuplicateKeys, key)]
            .into_iter()
            .chain(identity.map(|identity| (Kind::DuplicateNumbers, vec![identity])));
        for (kind, columns) in checks {
            match count_duplicates(ctx, name, &columns).await {
                Ok(found) => {
                    let what = format!(
                        "{} rows too many of {} keys ({})",
                        found.surplus,
                        found.keys,
                        columns.join(", ")
                    );
                    self.found(kind, name, found.surplus, what, REPAIR);
                }
                Err(error) => self.unreadable(name, error)?,
            }
        }
        Ok(())
    }

    /// A query that failed: the pages of a table are damaged, unless the store is at fault.
    pub(super) fn unreadable(&mut self, name: &str, error: anyhow::Error) -> Result<()> {
        if error.chain().any(|cause| cause.is::<object_store::Error>()) {
            return Err(error);
        }
        let is_known =
            self.findings.iter().any(|known| known.kind == Kind::Unreadable && known.table == name);
        if !is_known {
            self.found(Kind::Unreadable, name, 1, format!("{error:#}"), REPAIR);
        }
        Ok(())
    }

    pub(super) fn lacking(&mut self, snapshot: &Snapshot) {
        for table in TABLES.iter().filter(|table| snapshot.version(table.name).is_none()) {
            if MAY_LACK.contains(&table.name) {
                let what = "the corpus does not have this table yet".to_owned();
                self.note(table.name, what, "tuwen migrate");
            } else {
                let what = "the table's folder, or the log in it, is not there".to_owned();
                let hint = "put it back, or tuwen migrate --make-missing makes it anew, empty";
                self.found(Kind::MissingTable, table.name, 1, what, hint);
            }
        }
    }
}
