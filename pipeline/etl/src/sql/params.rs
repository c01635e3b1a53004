//! The parameters of a query. In: `name=value` as typed, or values of a program, and a plan with `$name` in it. Out: the plan with the
//! values, of the types that it asks for. They are bound, never formatted in.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;

use crate::sql::error::QueryError;
use crate::sql::sql_type::sql_type;

/// Values by name.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, Value)>);

#[derive(Clone, Debug)]
enum Value {
    /// As a person typed it.
    Typed(String),
    /// Of a program.
    Given(ScalarValue),
}

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
            Ok((name.to_owned(), Value::Typed(value.to_owned())))
        });
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }

    /// Values of a program by their names, without a dollar sign.
    pub fn given(pairs: impl IntoIterator<Item = (String, ScalarValue)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name, Value::Given(value))).collect())
    }

    /// The names, without a dollar sign.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.0.iter().rfind(|(known, _)| known == name).map(|(_, value)| value)
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
            let Some(value) = self.value(&name) else {
                let error = QueryError::new(format!("the parameter `{id}` has no value"));
                return Err(error.hint(format!("-p {name}=VALUE")).into());
            };
            let data_type = field.as_ref().map(|field| field.data_type());
            let bound = match value {
                Value::Typed(text) => typed(text, data_type),
                Value::Given(value) => given(value, data_type),
            };
            let bound = bound.ok_or_else(|| {
                let expected = data_type.map_or_else(String::new, sql_type);
                QueryError::new(match value {
                    Value::Typed(text) => format!("-p {name}: expected {expected}, found `{text}`"),
                    Value::Given(value) => format!("`{id}`: expected {expected}, found `{value}`"),
                })
            })?;
            values.push((name, bound));
        }
        let names = values.iter().map(|(name, _)| name.clone()).collect();
        Ok((plan.with_param_values(values)?, names))
    }
}

/// None if it is no value of the type.
fn typed(text: &str, data_type: Option<&DataType>) -> Option<ScalarValue> {
    match data_type {
        Some(data_type) => ScalarValue::from(text).cast_to(data_type).ok(),
        None => Some(guessed(text)),
    }
}

/// None if it is no value of the type. Where the query does not say which, it keeps its own; all texts are of one type.
fn given(value: &ScalarValue, data_type: Option<&DataType>) -> Option<ScalarValue> {
    match (value, data_type) {
        // It would be cut.
        (ScalarValue::Float64(Some(n)), Some(data_type))
            if data_type.is_integer() && n.fract() != 0.0 =>
        {
            None
        }
        (value, Some(data_type)) => value.cast_to(data_type).ok(),
        (ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text), None) => {
            Some(ScalarValue::Utf8(text.clone()))
        }
        (value, None) => Some(value.clone()),
    }
}

/// For a parameter of which the query does not say the type: a number if it reads as one, otherwise text.
fn guessed(text: &str) -> ScalarValue {
    let whole = text.parse::<i64>().ok().map(ScalarValue::from);
    let decimal = || text.parse::<f64>().ok().filter(|n| n.is_finite()).map(ScalarValue::from);
    whole.or_else(decimal).unwrap_or_else(|| ScalarValue::from(text))
}
