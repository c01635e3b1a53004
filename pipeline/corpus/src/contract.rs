//! A table against its contract (schemas/). In: an opened Delta table. Out: nothing if it can be read and written by this tuwen,
//! otherwise what is wrong. A nullable column that a table lacks is none: it was made before the column was.

use anyhow::{Context, Result, bail};
use deltalake::DeltaTable;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use tuwen_schemas::Table;

/// Key of the table property that holds the version of the table's contract.
pub(crate) const SCHEMA_PROPERTY: &str = "tuwen.schema_version";

/// The oldest version of any contract that can be read.
const OLDEST_VERSION: u32 = 2;

/// The contract's version that `delta` records.
///
/// # Errors
/// It records none.
pub(crate) fn recorded_version(table: &Table, delta: &DeltaTable) -> Result<u32> {
    let snapshot = delta.snapshot()?;
    let found = snapshot.metadata().configuration().get(SCHEMA_PROPERTY);
    let version = found.and_then(|found| found.parse().ok());
    version.with_context(|| {
        format!(
            "table `{}`: expected a schema version of {OLDEST_VERSION} to {}, found {}",
            table.name,
            table.version,
            found.map_or("none", String::as_str)
        )
    })
}

/// Columns of the contract that `delta` does not have.
pub(crate) fn missing_columns(table: &Table, delta: &DeltaTable) -> Result<Vec<String>> {
    let schema = delta.snapshot()?.schema();
    let names = table.schema.fields().iter().map(|field| field.name());
    Ok(names.filter(|name| schema.field(name).is_none()).cloned().collect())
}

/// Checks version and columns.
///
/// # Errors
/// A newer version, or one too old; a column missing that cannot be null, or of another type.
pub(crate) fn check(table: &Table, delta: &DeltaTable) -> Result<()> {
    let name = table.name;
    let found = recorded_version(table, delta)?;
    if !(OLDEST_VERSION..=table.version).contains(&found) {
        bail!(
            "table `{name}`: schema version is {found}, this tuwen reads versions {OLDEST_VERSION} to {}\n\
             hint: use the tuwen that made the corpus, or a newer one",
            table.version
        );
    }
    let schema = delta.snapshot()?.schema();
    let contract: StructType = table.schema.as_ref().try_into_kernel()?;
    for expected in contract.fields() {
        let column = expected.name();
        let Some(field) = schema.field(column) else {
            if expected.is_nullable() && found < table.version {
                continue;
            }
            bail!("table `{name}`: column `{column}` is missing, schemas/{name}.sql has it");
        };
        if field.data_type() != expected.data_type() {
            bail!(
                "table `{name}`: column `{column}` is {}, schemas/{name}.sql says {}",
                field.data_type(),
                expected.data_type()
            );
        }
    }
    Ok(())
}
