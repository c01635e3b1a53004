//! What the server can do, and which types it has, by the numbers of the specification. In: nothing. Out: two tables.
//! <https://arrow.apache.org/docs/format/FlightSql.html>

use std::sync::LazyLock;

use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlSupportedCaseSensitivity,
    SqlSupportedGroupBy, SqlSupportedTransaction, SqlSupportedUnions, SqlTransactionIsolationLevel,
    SupportedSqlGrammar, XdbcDataType, XdbcDatetimeSubcode,
};

/// Bytes of the text of a statement.
pub(super) const MOST_TEXT_BYTES: usize = 1 << 20;

/// What the server is and can do.
pub(super) static INFO: LazyLock<SqlInfoData> = LazyLock::new(|| {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "tuwen");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    // The version of the format.
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.5");
    for (what, can) in [
        (SqlInfo::FlightSqlServerReadOnly, true),
        (SqlInfo::FlightSqlServerSql, true),
        (SqlInfo::FlightSqlServerSubstrait, false),
        (SqlInfo::FlightSqlServerCancel, true),
        (SqlInfo::FlightSqlServerBulkIngestion, false),
        (SqlInfo::FlightSqlServerIngestTransactionsSupported, false),
        (SqlInfo::SqlDdlCatalog, false),
        (SqlInfo::SqlDdlSchema, false),
        (SqlInfo::SqlDdlTable, false),
        (SqlInfo::SqlAllTablesAreSelectable, true),
        (SqlInfo::SqlSupportsColumnAliasing, true),
        (SqlInfo::SqlNullPlusNullIsNull, true),
        (SqlInfo::SqlSupportsTableCorrelationNames, true),
        (SqlInfo::SqlSupportsDifferentTableCorrelationNames, false),
        (SqlInfo::SqlSupportsExpressionsInOrderBy, true),
        (SqlInfo::SqlSupportsOrderByUnrelated, true),
        (SqlInfo::SqlSupportsLikeEscapeClause, false),
        (SqlInfo::SqlSupportsNonNullableColumns, true),
        (SqlInfo::SqlSupportsIntegrityEnhancementFacility, false),
        (SqlInfo::SqlCatalogAtStart, true),
        (SqlInfo::SqlSelectForUpdateSupported, false),
        (SqlInfo::SqlStoredProceduresSupported, false),
        (SqlInfo::SqlCorrelatedSubqueriesSupported, true),
        (SqlInfo::SqlMaxRowSizeIncludesBlobs, false),
        (SqlInfo::SqlTransactionsSupported, false),
        (SqlInfo::SqlDataDefinitionCausesTransactionCommit, false),
        (SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false),
        (SqlInfo::SqlBatchUpdatesSupported, false),
        (SqlInfo::SqlSavepointsSupported, false),
        (SqlInfo::SqlNamedParametersSupported, true),
        (SqlInfo::SqlLocatorsUpdateCopy, false),
        (SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false),
    ] {
        info.append(what, can);
    }
    for (what, text) in [
        (SqlInfo::SqlIdentifierQuoteChar, "\""),
        (SqlInfo::SqlSearchStringEscape, "\\"),
        (SqlInfo::SqlExtraNameCharacters, "@"),
        (SqlInfo::SqlSchemaTerm, "schema"),
        (SqlInfo::SqlProcedureTerm, "procedure"),
        (SqlInfo::SqlCatalogTerm, "catalog"),
    ] {
        info.append(what, text);
    }
    let none: &[&str] = &[];
    for what in [
        SqlInfo::SqlKeywords,
        SqlInfo::SqlNumericFunctions,
        SqlInfo::SqlStringFunctions,
        SqlInfo::SqlSystemFunctions,
        SqlInfo::SqlDatetimeFunctions,
    ] {
        info.append(what, none);
    }
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    let lower = SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i64;
    info.append(SqlInfo::SqlIdentifierCase, lower);
    // As they are written.
    let as_written = SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i64;
    info.append(SqlInfo::SqlQuotedIdentifierCase, as_written);
    info.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i64);
    let no_transactions = SqlTransactionIsolationLevel::SqlTransactionNone;
    info.append(SqlInfo::SqlDefaultTransactionIsolation, no_transactions as i64);
    // Bits.
    for (what, bits) in [
        (SqlInfo::SqlSupportedGroupBy, bit(SqlSupportedGroupBy::SqlGroupByUnrelated as i32)),
        (SqlInfo::SqlSupportedGrammar, bit(SupportedSqlGrammar::SqlCoreGrammar as i32)),
        (SqlInfo::SqlAnsi92SupportedLevel, bit(0)),
        (SqlInfo::SqlOuterJoinsSupportLevel, bit(2)),
        (SqlInfo::SqlSchemasSupportedActions, 0),
        (SqlInfo::SqlCatalogsSupportedActions, 0),
        (SqlInfo::SqlSupportedPositionedCommands, 0),
        // In comparisons, exists, in and quantified ones.
        (SqlInfo::SqlSupportedSubqueries, bit(0) | bit(1) | bit(2)),
        (
            SqlInfo::SqlSupportedUnions,
            bit(SqlSupportedUnions::SqlUnion as i32) | bit(SqlSupportedUnions::SqlUnionAll as i32),
        ),
        (SqlInfo::SqlSupportedTransactionsIsolationLevels, bit(no_transactions as i32)),
        // Forward only.
        (SqlInfo::SqlSupportedResultSetTypes, bit(1)),
        (SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, bit(1)),
    ] {
        info.append(what, bits);
    }
    // No limits but those of memory.
    for what in [
        SqlInfo::SqlMaxBinaryLiteralLength,
        SqlInfo::SqlMaxCharLiteralLength,
        SqlInfo::SqlMaxColumnNameLength,
        SqlInfo::SqlMaxColumnsInGroupBy,
        SqlInfo::SqlMaxColumnsInIndex,
        SqlInfo::SqlMaxColumnsInOrderBy,
        SqlInfo::SqlMaxColumnsInSelect,
        SqlInfo::SqlMaxColumnsInTable,
        SqlInfo::SqlMaxConnections,
        SqlInfo::SqlMaxCursorNameLength,
        SqlInfo::SqlMaxIndexLength,
        SqlInfo::SqlDbSchemaNameLength,
        SqlInfo::SqlMaxProcedureNameLength,
        SqlInfo::SqlMaxCatalogNameLength,
        SqlInfo::SqlMaxRowSize,
        SqlInfo::SqlMaxStatements,
        SqlInfo::SqlMaxTableNameLength,
        SqlInfo::SqlMaxTablesInSelect,
        SqlInfo::SqlMaxUsernameLength,
    ] {
        info.append(what, 0_i64);
    }
    info.append(SqlInfo::SqlMaxStatementLength, MOST_TEXT_BYTES as i64);
    info.build().expect("each value is of the type that the specification says")
});

fn bit(number: i32) -> i32 {
    1 << number
}

/// The types of columns that tables have.
pub(super) static TYPES: LazyLock<XdbcTypeInfoData> = LazyLock::new(|| {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for (name, data_type, column_size) in [
        ("boolean", XdbcDataType::XdbcBit, 1),
        ("int", XdbcDataType::XdbcInteger, 32),
        ("bigint", XdbcDataType::XdbcBigint, 64),
        ("real", XdbcDataType::XdbcReal, 24),
        ("double", XdbcDataType::XdbcDouble, 53),
        ("varchar", XdbcDataType::XdbcVarchar, i32::MAX),
        ("binary", XdbcDataType::XdbcVarbinary, i32::MAX),
        ("timestamp", XdbcDataType::XdbcTimestamp, 26),
    ] {
        let is_number = !matches!(name, "boolean" | "varchar" | "binary" | "timestamp");
        let quote = matches!(name, "varchar" | "timestamp").then(|| "'".to_owned());
        let is_time = name == "timestamp";
        types.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type,
            column_size: Some(column_size),
            literal_prefix: if name == "binary" { Some("x'".to_owned()) } else { quote.clone() },
            literal_suffix: if name == "binary" { Some("'".to_owned()) } else { quote },
            create_params: None,
            nullable: Nullable::NullabilityNullable,
            case_sensitive: name == "varchar",
            searchable: Searchable::Full,
            unsigned_attribute: is_number.then_some(false),
            fixed_prec_scale: false,
            auto_increment: Some(false),
            local_type_name: Some(name.to_owned()),
            minimum_scale: None,
            maximum_scale: None,
            sql_data_type: if is_time { XdbcDataType::XdbcDatetime } else { data_type },
            datetime_subcode: is_time
                .then_some(XdbcDatetimeSubcode::XdbcSubcodeTimestampWithTimezone),
            num_prec_radix: is_number.then_some(2),
            interval_precision: None,
        });
    }
    types.build().expect("each column has a value for each type")
});
