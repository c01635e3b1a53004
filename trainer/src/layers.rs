//! The layers that the encoder and the decoder share. In: a tensor and the parameter views. Out: a tensor.
//! Never holds parameter values: a layer holds the slots of its parameters in the flat tensor.

use tch::Tensor;

use crate::config::Activation;
use crate::params::{Builder, Slot, Views};
use crate::shim::linear;

/// y = x Wᵀ + b, W `[out, in]`.
pub(crate) struct Linear {
    weight: Slot,
    bias: Option<Slot>,
}

impl Linear {
    /// Several linear layers over the same input, used as one; `d_out` is that of all together.
    pub(crate) fn stacked(
        builder: &mut Builder,
        names: &[String],
        d_in: i64,
        d_out: i64,
        bias: bool,
        std: f64,
    ) -> Self {
        let named =
            |part: &str| names.iter().map(|name| format!("{name}.{part}")).collect::<Vec<_>>();
        Self {
            weight: builder.weights(&named("weight"), &[d_out, d_in], std),
            bias: bias.then(|| builder.biases(&named("bias"), d_out)),
        }
    }

    pub(crate) fn new(builder: &mut Builder, name: &str, d_in: i64, d_out: i64, std: f64) -> Self {
        Self::stacked(builder, &[name.to_owned()], d_in, d_out, true, std)
    }

    pub(crate) fn forward(&self, p: &Views, x: &Tensor) -> Tensor {
        linear(x, &p[self.weight], self.bias.map(|slot| &p[slot]))
    }
}

/// y = x W + b, W `[in, out]`: GPT-2's layer, transformers' `Conv1D`.
pub(crate) struct Conv1d {
    weight: Slot,
    bias: Slot,
}

impl Conv1d {
    pub(crate) fn new(builder: &mut Builder, name: &str, d_in: i64, d_out: i64, std: f64) -> Self {
        Self {
            weight: builder.weight(&format!("{name}.weight"), &[d_in, d_out], std),
            bias: builder.biases(&[format!("{name}.bias")], d_out),
        }
    }

    pub(crate) fn forward(&self, p: &Views, x: &Tensor) -> Tensor {
        linear(x, &p[self.weight].transpose(0, 1), Some(&p[self.bias]))
    }
}

/// Layer normalisation over the last dimension.
pub(crate) struct LayerNorm {
    weight: Slot,
    bias: Slot,
    width: i64,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn new(builder: &mut Builder, name: &str, width: i64, eps: f64) -> Self {
        Self {
            weight: builder.scale(&format!("{name}.weight"), width),
            bias: builder.biases(&[format!("{name}.bias")], width),
            width,
            eps,
        }
    }

    pub(crate) fn forward(&self, p: &Views, x: &Tensor) -> Tensor {
        x.layer_norm([self.width], Some(&p[self.weight]), Some(&p[self.bias]), self.eps, true)
    }
}

pub(crate) fn activate(activation: Activation, x: &Tensor) -> Tensor {
    match activation {
        Activation::Gelu | Activation::GeluPython => x.gelu("none"),
        Activation::GeluNew
        | Activation::GeluPytorchTanh
        | Activation::GeluPythonTanh
        | Activation::GeluFast
        | Activation::GeluAccurate => x.gelu("tanh"),
        Activation::QuickGelu => x * (x * 1.702).sigmoid(),
        Activation::Relu => x.relu(),
        Activation::Silu | Activation::Swish => x.silu(),
        Activation::Tanh => x.tanh(),
    }
}

/// Dropout with probability `p` in training, nothing otherwise.
pub(crate) fn dropout(x: Tensor, p: f64, train: bool) -> Tensor {
    if train && p > 0.0 { x.dropout(p, true) } else { x }
}

/// `[b, t, heads * d]` to `[b, heads, t, d]`.
pub(crate) fn split_heads(x: &Tensor, heads: i64) -> Tensor {
    x.unflatten(-1, [heads, -1]).transpose(1, 2)
}

/// `[b, heads, t, d]` to `[b, t, heads * d]`.
pub(crate) fn merge_heads(x: &Tensor) -> Tensor {
    x.transpose(1, 2).flatten(-2, -1)
}
