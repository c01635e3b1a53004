//! The parameters of a query. In: `name=value` as typed, and a plan with `$name` in it. Out: the plan with the values, of the types
//! that it asks for. They are bound, never formatted in.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;

use crate::sql::error::QueryError;
use crate::sql::sql_type::sql_type;

/// Values by name.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Takes pairs as they were typed: `name=value`; the last of a name counts.
    ///
    /// # Errors
    /// One has no `=`, or no name.
    pub fn of<'a>(
        pairs: impl IntoIterator<Item = &'a str>,
    ) -> std::result::Result<Self, QueryError> {
        let pairs = pairs.into_iter().map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or_default();
            let name = name.trim_start_matches('$');
            if name.is_empty() {
                return Err(QueryError::new(format!("-p: expected NAME=VALUE, found `{pair}`")));
            }
            Ok((name.to_owned(), value.to_owned()))
        });
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }

    /// The names, without a dollar sign.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `plan` with values for its parameters, and the names of these.
    ///
    /// # Errors
    /// One has no value, or one of another type.
    pub(super) fn bind(&self, plan: LogicalPlan) -> Result<(LogicalPlan, BTreeSet<String>)> {
        // In the order of their names, so that of several that lack a value the same is named each time.
        let fields: BTreeMap<_, _> = plan.get_parameter_fields()?.into_iter().collect();
        if fields.is_empty() {
            return Ok((plan, BTreeSet::new()));
        }
        let mut values = Vec::new();
        for (id, field) in fields {
            let name = id.trim_start_matches('$').to_owned();
            let Some(text) = self.value(&name) else {
                let error = QueryError::new(format!("the parameter `{id}` has no value"));
                return Err(error.hint(format!("-p {name}=VALUE")).into());
            };
            let value = match field {
                Some(field) => typed(text, field.data_type()).map_err(|_| {
                    let expected = sql_type(field.data_type());
                    QueryError::new(format!("-p {name}: expected {expected}, found `{text}`"))
                })?,
                None => guessed(text),
            };
            values.push((name, value));
        }
        let names = values.iter().map(|(name, _)| name.clone()).collect();
        Ok((plan.with_param_values(values)?, names))
    }
}

fn typed(text: &str, data_type: &DataType) -> Result<ScalarValue> {
    ScalarValue::from(text).cast_to(data_type)
}

/// For a parameter of which the query does not say the type: a number if it reads as one, otherwise text.
fn guessed(text: &str) -> ScalarValue {
    let whole = text.parse::<i64>().ok().map(ScalarValue::from);
    let decimal = || text.parse::<f64>().ok().filter(|n| n.is_finite()).map(ScalarValue::from);
    whole.or_else(decimal).unwrap_or_else(|| ScalarValue::from(text))
}
