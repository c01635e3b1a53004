//! The activation functions of the MLPs. In: a name out of a `config.json`. Out: which function. Never computes one.

use serde::{Deserialize, Serialize};

/// Activations by the names transformers gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// The exact Gaussian error linear unit.
    Gelu,
    /// The same, as it was written before PyTorch had it.
    GeluPython,
    /// Its tanh approximation, as in GPT-2.
    GeluNew,
    /// The same approximation under PyTorch's name.
    GeluPytorchTanh,
    /// The same again.
    GeluPythonTanh,
    /// The same again.
    GeluFast,
    /// The same again.
    GeluAccurate,
    /// x sigmoid(1.702 x).
    QuickGelu,
    /// max(x, 0).
    Relu,
    /// x sigmoid(x).
    Silu,
    /// The same.
    Swish,
    /// The hyperbolic tangent.
    Tanh,
}
