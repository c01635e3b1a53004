//! ViT encoder (Dosovitskiy et al. 2021), equal to transformers' `ViTModel`. In: pixels `[b, 3, size, size]`. Out: states
//! `[b, 1 + patches, width]`, the class token first. Never pools: the pooler's weights are kept only for the checkpoint.

use tch::{Device, Kind, Tensor};

use crate::config::VitConfig;
use crate::layers::{LayerNorm, Linear, activate, dropout, merge_heads, split_heads};
use crate::params::{Builder, Slot, Views};
use crate::shim::linear;

/// The encoder: where its parameters lie, and its sizes.
pub(crate) struct Vit {
    config: VitConfig,
    cls_token: Slot,
    position_embeddings: Slot,
    projection_weight: Slot,
    projection_bias: Slot,
    layers: Vec<Layer>,
    layernorm: LayerNorm,
}

struct Layer {
    layernorm_before: LayerNorm,
    qkv: Linear,
    attention_output: Linear,
    layernorm_after: LayerNorm,
    intermediate: Linear,
    output: Linear,
}

impl Vit {
    /// Declares the encoder's parameters under `encoder.`.
    pub(crate) fn new(builder: &mut Builder, config: &VitConfig) -> Self {
        let (d, std) = (config.hidden_size, config.initializer_range);
        let patches = (config.image_size / config.patch_size).pow(2);
        let kernel = [d, config.num_channels, config.patch_size, config.patch_size];
        let projection = "encoder.embeddings.patch_embeddings.projection";
        let vit = Self {
            config: config.clone(),
            cls_token: builder.weight("encoder.embeddings.cls_token", &[1, 1, d], std),
            position_embeddings: builder.weight(POSITIONS, &[1, patches + 1, d], std),
            projection_weight: builder.weight(&format!("{projection}.weight"), &kernel, std),
            projection_bias: builder.biases(&[format!("{projection}.bias")], d),
            layers: (0..config.num_hidden_layers).map(|i| Layer::new(builder, config, i)).collect(),
            layernorm: LayerNorm::new(builder, "encoder.layernorm", d, config.layer_norm_eps),
        };
        let pooled = config.pooler_output_size.unwrap_or(d);
        builder.unused_weight("encoder.pooler.dense.weight", &[pooled, d], std);
        builder.biases(&["encoder.pooler.dense.bias".to_owned()], pooled);
        vit
    }

    pub(crate) fn forward(&self, p: &Views, pixels: &Tensor, train: bool) -> Tensor {
        let embedded = self.embed(p, pixels, train);
        let last = (0..self.n_layers()).fold(embedded, |x, i| self.layer(p, i, x, train));
        self.final_norm(p, &last)
    }

    /// Pixels to the first layer's input `[b, 1 + n, d]`.
    pub(crate) fn embed(&self, p: &Views, pixels: &Tensor, train: bool) -> Tensor {
        let b = pixels.size()[0];
        let patches = self.patch_embeddings(p, pixels); // [b, n, d]
        let cls = p[self.cls_token].expand([b, -1, -1], false); // [b, 1, d]
        let x = Tensor::cat(&[cls, patches], 1) + &p[self.position_embeddings]; // [b, 1 + n, d]
        dropout(x, self.config.hidden_dropout_prob, train)
    }

    pub(crate) fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// Layer `index`; input and output `[b, 1 + n, d]`.
    pub(crate) fn layer(&self, p: &Views, index: usize, x: Tensor, train: bool) -> Tensor {
        self.layers[index].forward(p, &self.config, x, train)
    }

    /// The layer norm after the last layer: its output to the encoder's states.
    pub(crate) fn final_norm(&self, p: &Views, x: &Tensor) -> Tensor {
        self.layernorm.forward(p, x)
    }

    /// The patch convolution as one matrix product: patches do not overlap.
    fn patch_embeddings(&self, p: &Views, pixels: &Tensor) -> Tensor {
        let (b, side) = (pixels.size()[0], self.config.patch_size);
        let n = self.config.image_size / side;
        let patches = pixels
            .view([b, 3, n, side, n, side])
            .permute([0, 2, 4, 1, 3, 5]) // [b, n, n, 3, side, side]
            .reshape([b, n * n, 3 * side * side]);
        linear(&patches, &p[self.projection_weight].flatten(1, -1), Some(&p[self.projection_bias]))
    }
}

impl Layer {
    fn new(builder: &mut Builder, config: &VitConfig, index: i64) -> Self {
        let (d, hidden) = (config.hidden_size, config.intermediate_size);
        let (std, eps) = (config.initializer_range, config.layer_norm_eps);
        let name = |part: &str| format!("encoder.encoder.layer.{index}.{part}");
        let qkv =
            ["query", "key", "value"].map(|part| name(&format!("attention.attention.{part}")));
        Self {
            layernorm_before: LayerNorm::new(builder, &name("layernorm_before"), d, eps),
            qkv: Linear::stacked(builder, &qkv, d, 3 * d, config.qkv_bias, std),
            attention_output: Linear::new(builder, &name("attention.output.dense"), d, d, std),
            layernorm_after: LayerNorm::new(builder, &name("layernorm_after"), d, eps),
            intermediate: Linear::new(builder, &name("intermediate.dense"), d, hidden, std),
            output: Linear::new(builder, &name("output.dense"), hidden, d, std),
        }
    }

    fn forward(&self, p: &Views, config: &VitConfig, x: Tensor, train: bool) -> Tensor {
        let heads = config.num_attention_heads;
        let attention_dropout = if train { config.attention_probs_dropout_prob } else { 0.0 };

        let qkv = self.qkv.forward(p, &self.layernorm_before.forward(p, &x)).chunk(3, -1); // 3 x [b, t, d]
        let [q, k, v] = [0, 1, 2].map(|i| split_heads(&qkv[i], heads)); // [b, h, t, d / h]
        let mask = None::<&Tensor>;
        let y = Tensor::scaled_dot_product_attention(
            &q,
            &k,
            &v,
            mask,
            attention_dropout,
            false,
            None::<f64>,
            false,
        );
        let y = self.attention_output.forward(p, &merge_heads(&y)); // [b, t, d]
        let x = x + dropout(y, config.hidden_dropout_prob, train);

        let y = self.intermediate.forward(p, &self.layernorm_after.forward(p, &x)); // [b, t, hidden]
        let y = self.output.forward(p, &activate(config.hidden_act, &y)); // [b, t, d]
        x + dropout(y, config.hidden_dropout_prob, train)
    }
}

/// Checkpoint name of the position embeddings.
pub(crate) const POSITIONS: &str = "encoder.embeddings.position_embeddings";

/// Sines and cosines over a grid of patches, the class token zero (Beyer et al. 2022, "Better plain ViT baselines"), as
/// initial values of learnt position embeddings: a small corpus does not teach where a patch is otherwise.
/// Shape `[1, 1 + patches, width]`; the width must be a multiple of 4.
pub(crate) fn sincos_positions(config: &VitConfig, amplitude: f64) -> Tensor {
    let (side, quarter) = (config.image_size / config.patch_size, config.hidden_size / 4);
    let options = (Kind::Float, Device::Cpu);
    let exponent = Tensor::arange(quarter, options) / (quarter - 1).max(1) as f64;
    let omega = (exponent * -(10_000f64.ln())).exp(); // [d / 4]
    let angle = Tensor::arange(side, options).outer(&omega); // [side, d / 4]
    let across = angle.unsqueeze(0).expand([side, side, quarter], false); // by column
    let down = angle.unsqueeze(1).expand([side, side, quarter], false); // by row
    let grid = Tensor::cat(&[across.sin(), across.cos(), down.sin(), down.cos()], -1); // [side, side, d]
    let grid = grid.view([1, side * side, config.hidden_size]) * amplitude;
    Tensor::cat(&[Tensor::zeros([1, 1, config.hidden_size], options), grid], 1)
}

/// Learnt position embeddings `[1, 1 + m, width]` of a square grid, resized to another one of `patches`: bicubic, the class
/// token's unchanged; equal to transformers' `interpolate_pos_encoding`. Shape `[1, 1 + patches, width]`.
pub(crate) fn interpolated_positions(positions: &Tensor, patches: i64) -> Tensor {
    let [_, tokens, width] = positions.size()[..] else { return positions.shallow_clone() };
    let (from, to) = ((tokens - 1).isqrt(), patches.isqrt());
    let grid = positions.narrow(1, 1, from * from).to_kind(Kind::Float);
    let grid = grid.reshape([1, from, from, width]).permute([0, 3, 1, 2]); // [1, d, from, from]
    let grid = grid.upsample_bicubic2d([to, to], false, None::<f64>, None::<f64>);
    let grid = grid.permute([0, 2, 3, 1]).reshape([1, to * to, width]);
    Tensor::cat(&[positions.narrow(1, 0, 1).to_kind(Kind::Float), grid], 1)
}
