//! What there is, as clients ask for it: catalogs, schemas, tables, keys, types, and what the server can do. In: a command, and a
//! session. Out: its rows.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, new_empty_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::{Command, CommandGetPrimaryKeys, CommandGetTables};
use tuwen_etl::sql::{CATALOG, SCHEMA, Session, statements};
use tuwen_schemas::TABLES;

use crate::server::flight::info::{INFO, TYPES};
use crate::server::flight::plain::{plain_schema, remarked_schema};

const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

/// The columns of what `command` asks for; none if it asks for something else.
pub(super) fn schema_of(command: &Command) -> Option<SchemaRef> {
    Some(match command.clone() {
        Command::CommandGetCatalogs(asked) => asked.into_builder().schema(),
        Command::CommandGetDbSchemas(asked) => asked.into_builder().schema(),
        Command::CommandGetTables(asked) => asked.into_builder().schema(),
        Command::CommandGetTableTypes(asked) => asked.into_builder().schema(),
        Command::CommandGetSqlInfo(asked) => asked.into_builder(&INFO).schema(),
        Command::CommandGetXdbcTypeInfo(asked) => asked.into_builder(&TYPES).schema(),
        Command::CommandGetPrimaryKeys(_) => primary_keys_schema(),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => foreign_keys_schema(),
        _ => return None,
    })
}

/// The rows that `command` asks for; none if it asks for something else.
///
/// # Errors
/// A table cannot be read.
pub(super) async fn rows_of(command: Command, session: &Session) -> Result<Option<RecordBatch>> {
    Ok(Some(match command {
        Command::CommandGetCatalogs(asked) => {
            let mut builder = asked.into_builder();
            builder.append(CATALOG);
            builder.build()?
        }
        Command::CommandGetDbSchemas(asked) => {
            let mut builder = asked.into_builder();
            builder.append(CATALOG, SCHEMA);
            builder.build()?
        }
        Command::CommandGetTables(asked) => tables(asked, session).await?,
        Command::CommandGetTableTypes(asked) => {
            let mut builder = asked.into_builder();
            builder.append(TABLE);
            builder.append(VIEW);
            builder.build()?
        }
        Command::CommandGetSqlInfo(asked) => asked.into_builder(&INFO).build()?,
        Command::CommandGetXdbcTypeInfo(asked) => asked.into_builder(&TYPES).build()?,
        Command::CommandGetPrimaryKeys(asked) => primary_keys(&asked)?,
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => {
            let schema = foreign_keys_schema();
            let columns = schema.fields().iter().map(|field| new_empty_array(field.data_type()));
            RecordBatch::try_new(Arc::clone(&schema), columns.collect())?
        }
        _ => return Ok(None),
    }))
}

async fn tables(asked: CommandGetTables, session: &Session) -> Result<RecordBatch> {
    let with_schema = asked.include_schema;
    let mut builder = asked.into_builder();
    for name in Session::tables() {
        let table = TABLES.iter().find(|table| table.name == name);
        let kind = if table.is_some() { TABLE } else { VIEW };
        let schema = match table {
            _ if !with_schema => Schema::empty(),
            Some(table) => remarked_schema(&table.schema),
            None => {
                let all = statements(&format!("select * from {name}"))?;
                let all = all.first().context("a statement")?;
                Schema::clone(&plain_schema(&session.draft(all).await?.schema))
            }
        };
        builder.append(CATALOG, SCHEMA, name, kind, &schema)?;
    }
    Ok(builder.build()?)
}

fn primary_keys_schema() -> SchemaRef {
    let text = |name: &str, is_nullable| Field::new(name, DataType::Utf8, is_nullable);
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("key_name", true),
    ]))
}

fn primary_keys(asked: &CommandGetPrimaryKeys) -> Result<RecordBatch> {
    let is_ours = |name: &Option<String>, ours: &str| name.as_ref().is_none_or(|name| name == ours);
    let is_here = is_ours(&asked.catalog, CATALOG) && is_ours(&asked.db_schema, SCHEMA);
    let table = TABLES.iter().find(|table| is_here && table.name == asked.table);
    let key = table.map_or(&[][..], |table| &table.key[..]);
    let same = |text: Option<&str>| -> ArrayRef {
        Arc::new(std::iter::repeat_n(text, key.len()).collect::<StringArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        same(Some(CATALOG)),
        same(Some(SCHEMA)),
        same(Some(&asked.table)),
        Arc::new(key.iter().map(Some).collect::<StringArray>()),
        Arc::new((1..).take(key.len()).collect::<Int32Array>()),
        same(None),
    ];
    Ok(RecordBatch::try_new(primary_keys_schema(), columns)?)
}

fn foreign_keys_schema() -> SchemaRef {
    let text = |name: &str, is_nullable| Field::new(name, DataType::Utf8, is_nullable);
    let rule = |name: &str| Field::new(name, DataType::UInt8, false);
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        rule("update_rule"),
        rule("delete_rule"),
    ]))
}
