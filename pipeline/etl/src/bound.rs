//! A function of SQL that says what is bound into it. In: a function, and how to say it. Out: the same function, of which another process
//! can make its own (`functions.rs`).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use serde_json::Value;

type Said = LazyLock<String, Box<dyn FnOnce() -> String + Send>>;

/// `function`, into which `say` says what is bound; it is asked when a plan leaves the process.
pub(crate) fn saying(
    function: ScalarUDF,
    say: impl FnOnce() -> Value + Send + 'static,
) -> ScalarUDF {
    let said: Said = LazyLock::new(Box::new(|| say().to_string()));
    ScalarUDF::new_from_impl(Saying { function, said: Arc::new(said) })
}

/// What is bound into `function`, as JSON of a [`Bound`](crate::functions::Bound); none where it is known by its name.
pub fn bound_into(function: &ScalarUDF) -> Option<&str> {
    let saying = function.inner().downcast_ref::<Saying>()?;
    Some(saying.said.as_str())
}

struct Saying {
    function: ScalarUDF,
    said: Arc<Said>,
}

impl fmt::Debug for Saying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.function.fmt(f)
    }
}

/// One of a name is made in a session, and others of it anew.
impl PartialEq for Saying {
    fn eq(&self, other: &Self) -> bool {
        self.function.name() == other.function.name()
            && (Arc::ptr_eq(&self.said, &other.said) || self.said.as_str() == other.said.as_str())
    }
}

impl Eq for Saying {}

impl Hash for Saying {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name().hash(state);
    }
}

impl ScalarUDFImpl for Saying {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.function.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.function.return_field_from_args(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.function.invoke_with_args(arguments)
    }
}
