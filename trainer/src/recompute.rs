//! A forward and backward pass that keeps only the input of every layer (gradient checkpointing, Chen et al. 2016). In: a
//! model and a batch. Out: the loss, and gradients. Never differs from the usual pass but in dropout's random numbers, of
//! which each layer draws its own, the same ones both times.
//!
//! libtorch's own checkpointing lives in Python. Here every layer is first computed without a graph; then, from the last to
//! the first, it is computed again from its kept input, and the gradient of its output is carried through it.

use tch::{Kind, Tensor, no_grad};

use crate::captioner::{Captioner, cross_entropy};
use crate::params::Leaves;
use crate::pixels::splitmix;

/// What a pass is made of besides the model and its input.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Share of the target's probability spread over the vocabulary.
    pub label_smoothing: f64,
    /// Whether the encoder stands still.
    pub freeze_encoder: bool,
    /// What the loss is multiplied with before the backward pass.
    pub scale: f64,
    /// Seed of dropout.
    pub seed: u64,
}

/// The loss, a scalar, not multiplied; the gradients of the multiplied loss are added to those of `leaves`.
/// Pixels `[b, 3, size, size]`, labels `[b, t]`.
pub fn backward(
    model: &Captioner,
    leaves: &Leaves,
    pixels: &Tensor,
    labels: &Tensor,
    pass: &Pass,
) -> Tensor {
    let (p, encoder, decoder) = (&leaves.views, &model.encoder, &model.decoder);
    let ids = model.shift_right(labels);
    let draw = |place: u64| tch::manual_seed(splitmix(pass.seed ^ place) as i64);
    let (in_encoder, in_decoder) = (1 << 32, 2 << 32); // far from each other's layers

    let see = || {
        draw(in_encoder);
        encoder.embed(p, pixels, true)
    };
    let encode = |i: usize, x: &Tensor| {
        draw(in_encoder + 1 + i as u64);
        encoder.layer(p, i, x.shallow_clone(), true)
    };
    let (seen, last) = no_grad(|| match pass.freeze_encoder {
        // Nothing goes back through it, so nothing need be kept.
        true => (Vec::new(), (0..encoder.n_layers()).fold(see(), |x, i| encode(i, &x))),
        false => keep(see(), encoder.n_layers(), &encode),
    });
    let states = leaf(&no_grad(|| model.project(p, encoder.finish(p, &last))));

    let read = || {
        draw(in_decoder);
        decoder.embed(p, &ids, 0, true)
    };
    let decode = |i: usize, x: &Tensor| {
        draw(in_decoder + 1 + i as u64);
        let memory = decoder.memory_of(p, i, &states);
        decoder.block(p, i, x.shallow_clone(), &memory, None, true)
    };
    let (said, top) = no_grad(|| keep(read(), decoder.n_blocks(), &decode));

    let top = leaf(&top);
    let loss = cross_entropy(&decoder.head(p, &top), labels, pass.label_smoothing);
    (&loss * pass.scale).backward();
    carry(&read(), &walk_back(said, top.grad(), &decode));

    let grad = states.grad();
    if pass.freeze_encoder {
        if let Some(projection) = &model.enc_to_dec_proj {
            carry(&projection.forward(p, &no_grad(|| encoder.finish(p, &last))), &grad);
        }
        return loss.detach();
    }
    let last = leaf(&last);
    carry(&model.project(p, encoder.finish(p, &last)), &grad);
    carry(&see(), &walk_back(seen, last.grad(), &encode));
    loss.detach()
}

/// The input of each of `n` layers, and the output of the last.
fn keep(
    first: Tensor,
    n: usize,
    layer: &impl Fn(usize, &Tensor) -> Tensor,
) -> (Vec<Tensor>, Tensor) {
    let (mut inputs, mut x) = (Vec::with_capacity(n), first);
    for i in 0..n {
        let y = layer(i, &x);
        inputs.push(std::mem::replace(&mut x, y));
    }
    (inputs, x)
}

/// Carries the gradient of the last layer's output back to the first layer's input.
fn walk_back(
    inputs: Vec<Tensor>,
    grad: Tensor,
    layer: &impl Fn(usize, &Tensor) -> Tensor,
) -> Tensor {
    inputs.into_iter().enumerate().rev().fold(grad, |grad, (i, input)| {
        let input = leaf(&input);
        carry(&layer(i, &input), &grad);
        input.grad()
    })
}

/// Hands autograd the gradient of `output`: that of the loss below with respect to `output` is `grad`.
fn carry(output: &Tensor, grad: &Tensor) {
    (output * grad).sum(Kind::Float).backward();
}

fn leaf(x: &Tensor) -> Tensor {
    x.detach().set_requires_grad(true)
}
