//! Activation checkpointing (Chen et al. 2016; PyTorch's and transformers' name: gradient checkpointing). The forward pass saves
//! only the input of every layer; the backward pass recomputes the layer's activations from it. In: a model and a batch. Out: the
//! loss, and gradients in the parameters' leaf tensors. Never differs from the usual pass but in dropout's random numbers: every
//! layer seeds the generator itself, so that its recomputation draws the same mask.
//!
//! `torch.utils.checkpoint` is written in Python, libtorch has nothing like it. Here the forward pass runs without a graph
//! (`no_grad`). The backward pass takes the layers from the last to the first: the layer's forward runs again, now with a graph,
//! and the gradient of its output is backpropagated to its input and parameters. It is non-reentrant: each layer has a graph and
//! a backward call of its own, none of which runs within another, and only one layer's saved tensors are alive at a time.

use anyhow::{Context, Result, bail};
use tch::{Tensor, no_grad};

use crate::captioner::{Captioner, Input, cross_entropy};
use crate::params::Leaves;
use crate::pixels::splitmix;
use crate::shim;

/// Options of a forward and backward pass.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Share of the target's probability spread over the vocabulary.
    pub label_smoothing: f64,
    /// Whether the encoder is frozen: it gets no gradient.
    pub freeze_encoder: bool,
    /// What the loss is multiplied with before the backward pass.
    pub scale: f64,
    /// Seed of dropout.
    pub seed: u64,
    /// Whether activations are recomputed in the backward pass.
    pub gradient_checkpointing: bool,
}

/// Forward and backward pass. Gives the loss, a scalar summed over the labels, not multiplied; the gradients of the multiplied loss
/// are added to those of `leaves`. Labels `[b, t]`.
///
/// # Errors
/// libtorch's; states of an encoder that is not frozen.
pub(crate) fn backward(
    model: &Captioner,
    leaves: &Leaves,
    input: &Input,
    labels: &Tensor,
    pass: &Pass,
) -> Result<Tensor> {
    let (p, encoder, decoder) = (&leaves.views, &model.encoder, &model.decoder);
    let ids = model.shift_right(labels);
    // Called before each module's forward, the first time and when it is recomputed.
    let seed_dropout = |module: u64| tch::manual_seed(splitmix(pass.seed ^ module) as i64);
    let (encoder_modules, decoder_modules) = (1 << 32, 2 << 32); // far from each other's layers

    let embed_pixels = |pixels: &Tensor| {
        seed_dropout(encoder_modules);
        encoder.embed(p, pixels, true)
    };
    let encoder_layer = |i: usize, x: &Tensor| {
        seed_dropout(encoder_modules + 1 + i as u64);
        encoder.layer(p, i, x.shallow_clone(), true)
    };
    // Of a frozen encoder nothing is saved: it has no backward pass.
    let forward = |pixels: &Tensor| {
        let embedded = embed_pixels(pixels);
        if pass.freeze_encoder {
            return (
                Vec::new(),
                (0..encoder.n_layers()).fold(embedded, |x, i| encoder_layer(i, &x)),
            );
        }
        forward_saving_inputs(embedded, encoder.n_layers(), &encoder_layer)
    };
    // The inputs of the encoder's layers, the output of the last, and the encoder's states.
    let (encoder_inputs, encoder_output, encoder_states) = no_grad(|| match input {
        Input::States(states) => (Vec::new(), None, states.shallow_clone()),
        Input::Pixels(pixels) => {
            let (inputs, output) = forward(pixels);
            let states = encoder.final_norm(p, &output);
            (inputs, Some(output), states)
        }
    });
    let states = leaf(&no_grad(|| model.project(p, encoder_states.shallow_clone())));

    let embed_ids = || {
        seed_dropout(decoder_modules);
        decoder.embed(p, &ids, 0, true)
    };
    let decoder_block = |i: usize, x: &Tensor| {
        seed_dropout(decoder_modules + 1 + i as u64);
        let cross_kv = decoder.cross_key_value(p, i, &states);
        decoder.block(p, i, x.shallow_clone(), &cross_kv, None, true)
    };
    let (decoder_inputs, decoder_output) =
        no_grad(|| forward_saving_inputs(embed_ids(), decoder.n_blocks(), &decoder_block));

    let decoder_output = leaf(&decoder_output);
    let loss = cross_entropy(&decoder.head(p, &decoder_output), labels, pass.label_smoothing);
    (&loss * pass.scale).f_backward().context("the backward pass")?;
    let grad = recompute_backward(decoder_inputs, decoder_output.grad(), &decoder_block)?;
    shim::backward(&embed_ids(), &grad)?;

    // Every block's cross-attention has added to it.
    let grad = states.grad();
    if pass.freeze_encoder {
        if let Some(projection) = &model.enc_to_dec_proj {
            shim::backward(&projection.forward(p, &encoder_states), &grad)?;
        }
        return Ok(loss.detach());
    }
    let (Input::Pixels(pixels), Some(encoder_output)) = (input, &encoder_output) else {
        bail!("expected pixels for an encoder that is trained");
    };
    let encoder_output = leaf(encoder_output);
    shim::backward(&model.project(p, encoder.final_norm(p, &encoder_output)), &grad)?;
    let grad = recompute_backward(encoder_inputs, encoder_output.grad(), &encoder_layer)?;
    shim::backward(&embed_pixels(pixels), &grad)?;
    Ok(loss.detach())
}

/// Forward pass through `n` layers: gives the input of each, which is saved for the backward pass, and the output of the last.
fn forward_saving_inputs(
    first_input: Tensor,
    n: usize,
    layer: &impl Fn(usize, &Tensor) -> Tensor,
) -> (Vec<Tensor>, Tensor) {
    let (mut inputs, mut x) = (Vec::with_capacity(n), first_input);
    for i in 0..n {
        let y = layer(i, &x);
        inputs.push(std::mem::replace(&mut x, y));
    }
    (inputs, x)
}

/// Backward pass through the layers whose inputs were saved, each of them recomputed: from the gradient of the last layer's output
/// to that of the first layer's input.
fn recompute_backward(
    inputs: Vec<Tensor>,
    grad: Tensor,
    layer: &impl Fn(usize, &Tensor) -> Tensor,
) -> Result<Tensor> {
    inputs.into_iter().enumerate().rev().try_fold(grad, |grad, (i, input)| {
        let input = leaf(&input);
        shim::backward(&layer(i, &input), &grad)?;
        Ok(input.grad())
    })
}

/// `x` cut off from its graph, as a leaf tensor that accumulates a gradient.
fn leaf(x: &Tensor) -> Tensor {
    x.detach().set_requires_grad(true)
}
