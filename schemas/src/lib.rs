//! The data contracts. In: the DDL files beside this crate's manifest, compiled in. Out: Arrow schemas with a comment on
//! every field. Never reads or writes a table.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use sqlparser::ast::{
    ArrayElemTypeDef, ColumnDef, ColumnOption, CreateTableOptions, DataType as SqlType, SqlOption,
    Statement, TableConstraint, TimezoneInfo,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

/// Key of a field's metadata under which its comment (unit and meaning) stands.
pub const COMMENT: &str = "comment";

/// A table of the corpus: its name and its columns in the contract's order.
pub struct Table {
    /// The table's name, the folder's name in a corpus, and the DDL file's name.
    pub name: &'static str,
    /// What a row is: the lines above the DDL.
    pub comment: String,
    /// The columns.
    pub schema: SchemaRef,
    /// Columns that tell a row from any other.
    pub key: Vec<String>,
    /// The column that numbers the rows in the order of the commits, if there is one: 0, 1, 2, …
    pub identity: Option<String>,
    /// Version of this contract; a table records it. It grows by one with each change. Only columns that may be null
    /// can be added: `tuwen_corpus::maintenance::migrate` adds those that an older table lacks by itself.
    pub version: u32,
}

/// All tables in the order in which a row meets them.
pub static TABLES: LazyLock<[Table; 7]> = LazyLock::new(|| {
    [
        contract("pairs", include_str!("../pairs.sql")),
        contract("originals", include_str!("../originals.sql")),
        contract("images", include_str!("../images.sql")),
        contract("examples", include_str!("../examples.sql")),
        contract("captions", include_str!("../captions.sql")),
        contract("scores", include_str!("../scores.sql")),
        contract("runs", include_str!("../runs.sql")),
    ]
});

/// The table called `name`.
///
/// # Panics
/// If there is no such table: names are written in the code, so a wrong one is a bug.
pub fn table(name: &str) -> &'static Table {
    let found = TABLES.iter().find(|table| table.name == name);
    found.unwrap_or_else(|| panic!("no table `{name}` in schemas/"))
}

/// The schema of the table called `name`.
///
/// # Panics
/// As [`table`].
pub fn schema(name: &str) -> SchemaRef {
    Arc::clone(&table(name).schema)
}

fn contract(name: &'static str, ddl: &str) -> Table {
    parse(name, ddl).unwrap_or_else(|error| panic!("schemas/{name}.sql: {error}"))
}

fn parse(name: &'static str, ddl: &str) -> Result<Table, String> {
    let mut statements =
        Parser::parse_sql(&GenericDialect {}, ddl).map_err(|error| error.to_string())?;
    let (Some(Statement::CreateTable(create)), true) = (statements.pop(), statements.is_empty())
    else {
        return Err("expected one `create table`".to_owned());
    };
    let fields: Result<Fields, String> = create.columns.iter().map(field).collect();
    let identity = create.columns.iter().find(|column| {
        column.options.iter().any(|o| matches!(o.option, ColumnOption::Generated { .. }))
    });
    Ok(Table {
        name,
        comment: header(ddl),
        schema: Arc::new(Schema::new(fields?)),
        key: primary_key(&create.constraints)?,
        identity: identity.map(|column| column.name.value.clone()),
        version: version(&create.table_options)?,
    })
}

/// The comment that a file of SQL begins with, on one line.
pub fn header(sql: &str) -> String {
    let lines = sql.lines().map_while(|line| line.strip_prefix("--")).map(str::trim);
    lines.collect::<Vec<_>>().join(" ")
}

fn primary_key(constraints: &[TableConstraint]) -> Result<Vec<String>, String> {
    let key = constraints.iter().find_map(|constraint| match constraint {
        TableConstraint::PrimaryKey(key) => Some(key),
        _ => None,
    });
    let key = key.ok_or("expected a `primary key`")?;
    Ok(key.columns.iter().map(|column| column.column.expr.to_string()).collect())
}

fn version(options: &CreateTableOptions) -> Result<u32, String> {
    let CreateTableOptions::With(options) = options else {
        return Err("expected `with (version = …)`".to_owned());
    };
    let version = options.iter().find_map(|option| match option {
        SqlOption::KeyValue { key, value } if key.value == "version" => {
            value.to_string().parse().ok()
        }
        _ => None,
    });
    version.ok_or_else(|| "expected `with (version = …)`".to_owned())
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
        SqlType::Boolean => DataType::Boolean,
        SqlType::Int(None) => DataType::Int32,
        SqlType::BigInt(None) => DataType::Int64,
        SqlType::Real => DataType::Float32,
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
    fn every_table_has_a_key_that_is_never_null_and_comments_on_all_columns() {
        for table in TABLES.iter() {
            assert!(!table.key.is_empty() && table.version > 1);
            assert!(table.comment.starts_with("A row is one "), "{}", table.comment);
            for column in table.key.iter().chain(&table.identity) {
                assert!(!table.schema.field_with_name(column).unwrap().is_nullable());
            }
            assert!(table.schema.fields().iter().all(|f| !f.metadata()[COMMENT].is_empty()));
        }
        assert_eq!(table("originals").identity.as_deref(), Some("seq"));
        assert_eq!(table("captions").key, ["image_id", "model_id", "settings"]);
        assert_eq!(table("scores").key, ["example_id", "image_id", "text", "model_id", "settings"]);
    }

    #[test]
    fn a_contract_that_lacks_something_is_refused() {
        for (ddl, expected) in [
            ("create table t (a int)", "column `a` has no comment"),
            ("create table t (a uuid comment 'x')", "type `UUID` is none that the contracts use"),
            ("create table t (a int comment 'x')", "expected a `primary key`"),
            (
                "create table t (a int comment 'x', primary key (a))",
                "expected `with (version = …)`",
            ),
            ("select 1", "expected one `create table`"),
        ] {
            assert_eq!(parse("t", ddl).err().unwrap(), expected);
        }
    }
}
