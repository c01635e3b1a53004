//! A function of SQL with something around it. In: a function, and how to say what is bound into it, or what its arguments are checked
//! by. Out: the same function, of which another process can make its own (`functions.rs`), or which refuses arguments.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};
use serde_json::Value;

type Said = LazyLock<String, Box<dyn FnOnce() -> String + Send>>;

type Check = Box<dyn Fn(&[ArrayRef]) -> Result<()> + Send + Sync>;

/// `function`, into which `say` says what is bound; it is asked when a plan leaves the process.
pub(crate) fn saying(
    function: ScalarUDF,
    say: impl FnOnce() -> Value + Send + 'static,
) -> ScalarUDF {
    let said: Said = LazyLock::new(Box::new(|| say().to_string()));
    ScalarUDF::new_from_impl(Wrapped { function, said: Some(Arc::new(said)), check: None })
}

/// `function`, whose arguments `check` may refuse before it is called.
pub(crate) fn checked(
    function: ScalarUDF,
    check: impl Fn(&[ArrayRef]) -> Result<()> + Send + Sync + 'static,
) -> ScalarUDF {
    ScalarUDF::new_from_impl(Wrapped { function, said: None, check: Some(Box::new(check)) })
}

/// What is bound into `function`, as JSON of a [`Bound`](crate::functions::Bound); none where it is known by its name.
pub fn bound_into(function: &ScalarUDF) -> Option<&str> {
    let wrapped = function.inner().downcast_ref::<Wrapped>()?;
    wrapped.said.as_ref().map(|said| said.as_str())
}

struct Wrapped {
    function: ScalarUDF,
    said: Option<Arc<Said>>,
    check: Option<Check>,
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.function.fmt(f)
    }
}

/// One of a name is made in a session, and others of it anew.
impl PartialEq for Wrapped {
    fn eq(&self, other: &Self) -> bool {
        self.function.name() == other.function.name()
            && match (&self.said, &other.said) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a.as_str() == b.as_str(),
                (a, b) => a.is_none() && b.is_none(),
            }
    }
}

impl Eq for Wrapped {}

impl Hash for Wrapped {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name().hash(state);
    }
}

impl ScalarUDFImpl for Wrapped {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
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

    fn documentation(&self) -> Option<&Documentation> {
        self.function.documentation()
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(check) = &self.check {
            check(&ColumnarValue::values_to_arrays(&arguments.args)?)?;
        }
        self.function.invoke_with_args(arguments)
    }
}
