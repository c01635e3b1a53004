//! The data contracts. In: the DDL files beside this crate's manifest, compiled in. Out: Arrow schemas with a comment on
//! every field. Never reads or writes a table.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use sqlparser::ast::{
    ArrayElemTypeDef, ColumnDef, ColumnOption, DataType as SqlType, Statement, TimezoneInfo,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

/// Version of all the contracts together; a corpus records it and is refused when it differs.
pub const SCHEMA_VERSION: &str = "2";

/// Key of a field's metadata under which its comment (unit and meaning) stands.
pub const COMMENT: &str = "comment";

/// A table of the corpus: its name and its columns in the contract's order.
pub struct Table {
    /// The table's name, the folder's name in a corpus, and the DDL file's name.
    pub name: &'static str,
    /// The columns.
    pub schema: SchemaRef,
}

/// All tables in the order in which a row meets them.
pub static TABLES: LazyLock<[Table; 5]> = LazyLock::new(|| {
    [
        table("pairs", include_str!("../pairs.sql")),
        table("originals", include_str!("../originals.sql")),
        table("images", include_str!("../images.sql")),
        table("examples", include_str!("../examples.sql")),
        table("runs", include_str!("../runs.sql")),
    ]
});

/// The schema of the table called `name`.
///
/// # Panics
/// If there is no such table: names are written in the code, so a wrong one is a bug.
pub fn schema(name: &str) -> SchemaRef {
    let table = TABLES.iter().find(|table| table.name == name);
    Arc::clone(&table.unwrap_or_else(|| panic!("no table `{name}` in schemas/")).schema)
}

fn table(name: &'static str, ddl: &str) -> Table {
    let schema = parse(ddl).unwrap_or_else(|error| panic!("schemas/{name}.sql: {error}"));
    Table { name, schema: Arc::new(schema) }
}

fn parse(ddl: &str) -> Result<Schema, String> {
    let mut statements =
        Parser::parse_sql(&GenericDialect {}, ddl).map_err(|error| error.to_string())?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::CreateTable(create)), true) => {
            let fields: Result<Fields, String> = create.columns.iter().map(field).collect();
            Ok(Schema::new(fields?))
        }
        _ => Err("expected one `create table`".to_owned()),
    }
}

fn field(column: &ColumnDef) -> Result<Field, String> {
    let name = column.name.value.as_str();
    let options = || column.options.iter().map(|option| &option.option);
    let comment = options().find_map(|option| match option {
        ColumnOption::Comment(text) => Some(text.clone()),
        _ => None,
    });
    let comment = comment.ok_or_else(|| format!("column `{name}` has no comment"))?;
    let nullable = !options().any(|option| matches!(option, ColumnOption::NotNull));
    let field = Field::new(name, data_type(&column.data_type)?, nullable);
    Ok(field.with_metadata(HashMap::from([(COMMENT.to_owned(), comment)])))
}

fn data_type(sql: &SqlType) -> Result<DataType, String> {
    Ok(match sql {
        SqlType::Varchar(None) => DataType::Utf8,
        SqlType::Int(None) => DataType::Int32,
        SqlType::BigInt(None) => DataType::Int64,
        SqlType::Binary(None) => DataType::Binary,
        SqlType::Timestamp(None, TimezoneInfo::None) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        SqlType::Array(ArrayElemTypeDef::AngleBracket(item)) => {
            DataType::List(Arc::new(Field::new("element", data_type(item)?, true)))
        }
        SqlType::Map(key, value) => {
            let key = Field::new("key", data_type(key)?, false);
            let value = Field::new("value", data_type(value)?, true);
            let entries = DataType::Struct(Fields::from(vec![key, value]));
            DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
        }
        other => return Err(format!("type `{other}` is none that the contracts use")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_its_key_first_and_comments_on_all_columns() {
        let keys = ["pair_id", "seq", "image_id", "example_id", "run_id"];
        for (table, key) in TABLES.iter().zip(keys) {
            assert_eq!(table.schema.field(0).name(), key);
            assert!(!table.schema.field(0).is_nullable());
            assert!(table.schema.fields().iter().all(|f| !f.metadata()[COMMENT].is_empty()));
        }
    }

    #[test]
    fn a_column_without_comment_or_of_a_strange_type_is_refused() {
        for (ddl, expected) in [
            ("create table t (a int)", "column `a` has no comment"),
            ("create table t (a uuid comment 'x')", "type `UUID` is none that the contracts use"),
            ("select 1", "expected one `create table`"),
        ] {
            assert_eq!(parse(ddl).unwrap_err(), expected);
        }
    }
}
