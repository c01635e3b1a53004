//! Names of columns that are keys. In: a schema, in which two columns may have the same name. Out: one in which each has its own.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};

/// `schema` with the second of a name as `name_2`, and so on.
pub(crate) fn unique(schema: &SchemaRef) -> SchemaRef {
    let mut seen: HashSet<String> = HashSet::new();
    let taken: HashSet<&String> = schema.fields().iter().map(|field| field.name()).collect();
    let fields = schema.fields().iter().map(|field| {
        let mut name = field.name().clone();
        let mut number = 2;
        while seen.contains(&name) || (number > 2 && taken.contains(&name)) {
            name = format!("{}_{number}", field.name());
            number += 1;
        }
        seen.insert(name.clone());
        Field::clone(field).with_name(name)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns of `batch` under the names of `schema`.
pub(super) fn renamed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().to_vec();
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;

    #[test]
    fn each_column_has_a_name_of_its_own() {
        for (names, expected) in [
            (vec!["a", "b"], vec!["a", "b"]),
            (vec!["a", "a", "a"], vec!["a", "a_2", "a_3"]),
            (vec!["a", "a", "a_2"], vec!["a", "a_3", "a_2"]),
            (vec!["图", "图"], vec!["图", "图_2"]),
        ] {
            let field = |name: &&str| Field::new(*name, DataType::Int32, true);
            let schema = Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()));
            let schema = unique(&schema);
            let found: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
            assert_eq!(found, expected);
        }
    }
}
