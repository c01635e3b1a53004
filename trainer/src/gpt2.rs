//! GPT-2 decoder with cross-attention, equal to transformers' `GPT2LMHeadModel(add_cross_attention=True)`.
//! In: token ids and the encoder's states. Out: logits. Never sees padding: it comes after a caption's end, where the
//! causal mask hides it.

use tch::Tensor;

use crate::config::Gpt2Config;
use crate::layers::{Conv1d, LayerNorm, activate, dropout, merge_heads, split_heads};
use crate::params::{Builder, Slot, Views};
use crate::shim::linear;

/// The decoder: where its parameters lie, and its sizes.
pub(crate) struct Gpt2 {
    config: Gpt2Config,
    wte: Slot,
    wpe: Slot,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
    lm_head: Slot,
}

struct Block {
    ln_1: LayerNorm,
    c_attn: Conv1d,
    c_proj: Conv1d,
    ln_cross_attn: LayerNorm,
    cross_q_attn: Conv1d,
    cross_c_attn: Conv1d,
    cross_c_proj: Conv1d,
    ln_2: LayerNorm,
    mlp_c_fc: Conv1d,
    mlp_c_proj: Conv1d,
    /// What attention scores are multiplied with.
    scale: f64,
}

/// Keys and values of one attention: two tensors `[b, heads, t, d / heads]`.
pub(crate) type KeyValue = (Tensor, Tensor);

/// Self-attention's keys and values of the tokens so far, one pair a layer; none before the first token.
pub(crate) struct KvCache {
    layers: Vec<Option<KeyValue>>,
}

impl KvCache {
    /// Tokens held.
    fn len(&self) -> i64 {
        self.layers.first().and_then(Option::as_ref).map_or(0, |(key, _)| key.size()[2])
    }

    /// Makes row `rows[i]` the new row i in every layer: transformers' `reorder_cache`, for beam search.
    pub(crate) fn reorder(&mut self, rows: &Tensor) {
        for (key, value) in self.layers.iter_mut().flatten() {
            *key = key.index_select(0, rows);
            *value = value.index_select(0, rows);
        }
    }
}

impl Gpt2 {
    /// Declares the decoder's parameters under `decoder.`.
    pub(crate) fn new(builder: &mut Builder, config: &Gpt2Config) -> Self {
        let (d, std) = (config.n_embd, config.initializer_range);
        let wte = builder.weight("decoder.transformer.wte.weight", &[config.vocab_size, d], std);
        Self {
            config: config.clone(),
            wte,
            wpe: builder.weight("decoder.transformer.wpe.weight", &[config.n_positions, d], std),
            blocks: (0..config.n_layer).map(|i| Block::new(builder, config, i)).collect(),
            ln_f: LayerNorm::new(builder, "decoder.transformer.ln_f", d, config.layer_norm_epsilon),
            lm_head: match config.tie_word_embeddings {
                true => wte,
                false => builder.weight("decoder.lm_head.weight", &[config.vocab_size, d], std),
            },
        }
    }

    /// A cache without tokens.
    pub(crate) fn new_cache(&self) -> KvCache {
        KvCache { layers: self.blocks.iter().map(|_| None).collect() }
    }

    /// Cross-attention's keys and values of the encoder's states `[b, s, width]`, one pair a layer; the same for every token.
    pub(crate) fn cross_attention_cache(&self, p: &Views, states: &Tensor) -> Vec<KeyValue> {
        (0..self.n_blocks()).map(|i| self.cross_key_value(p, i, states)).collect()
    }

    /// Logits `[b * g, t, vocabulary]` of `ids` `[b * g, t]`, where g rows in turn share one row of `cross_cache`.
    /// With a cache, `ids` continue the tokens it holds and are added to it.
    pub(crate) fn forward(
        &self,
        p: &Views,
        ids: &Tensor,
        cross_cache: &[KeyValue],
        cache: Option<&mut KvCache>,
        train: bool,
    ) -> Tensor {
        let mut cache = cache;
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let mut x = self.embed(p, ids, past, train);
        for (i, cross_kv) in cross_cache.iter().enumerate() {
            let past = cache.as_deref_mut().map(|cache| &mut cache.layers[i]);
            x = self.block(p, i, x, cross_kv, past, train);
        }
        self.head(p, &x)
    }

    /// Token ids `[r, t]`, the first of them at position `past` of its sequence, to the first block's input `[r, t, d]`.
    pub(crate) fn embed(&self, p: &Views, ids: &Tensor, past: i64, train: bool) -> Tensor {
        let tokens = Tensor::embedding(&p[self.wte], ids, -1, false, false); // [r, t, d]
        let positions = p[self.wpe].narrow(0, past, ids.size()[1]);
        dropout(tokens + positions, self.config.embd_pdrop, train)
    }

    pub(crate) fn n_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Cross-attention's keys and values in block `index`, of the encoder's states `[b, s, d]`.
    pub(crate) fn cross_key_value(&self, p: &Views, index: usize, states: &Tensor) -> KeyValue {
        let kv = self.blocks[index].cross_c_attn.forward(p, states).chunk(2, -1); // 2 x [b, s, d]
        (split_heads(&kv[0], self.config.n_head), split_heads(&kv[1], self.config.n_head))
    }

    /// Block `index`; input and output `[r, t, d]`.
    pub(crate) fn block(
        &self,
        p: &Views,
        index: usize,
        x: Tensor,
        cross_kv: &KeyValue,
        past: Option<&mut Option<KeyValue>>,
        train: bool,
    ) -> Tensor {
        let block = &self.blocks[index];
        let x = block.self_attention(p, &self.config, x, past, train);
        let x = block.cross_attention(p, &self.config, x, cross_kv, train);
        block.mlp(p, &self.config, x, train)
    }

    /// The last block's output to logits `[r, t, v]`, in its number format.
    pub(crate) fn head(&self, p: &Views, x: &Tensor) -> Tensor {
        linear(&self.ln_f.forward(p, x), &p[self.lm_head], None)
    }
}

impl Block {
    fn new(builder: &mut Builder, config: &Gpt2Config, index: i64) -> Self {
        let (d, eps, std) = (config.n_embd, config.layer_norm_epsilon, config.initializer_range);
        let inner = config.n_inner.unwrap_or(4 * d);
        // GPT-2's initialisation: projections into the residual stream are scaled by 1 / sqrt(number of residual additions).
        let residual_std = std / ((2 * config.n_layer) as f64).sqrt();
        let name = |part: &str| format!("decoder.transformer.h.{index}.{part}");
        let mut scale =
            if config.scale_attn_weights { ((d / config.n_head) as f64).powf(-0.5) } else { 1.0 };
        if config.scale_attn_by_inverse_layer_idx {
            scale /= (index + 1) as f64;
        }
        Self {
            ln_1: LayerNorm::new(builder, &name("ln_1"), d, eps),
            c_attn: Conv1d::new(builder, &name("attn.c_attn"), d, 3 * d, std),
            c_proj: Conv1d::new(builder, &name("attn.c_proj"), d, d, residual_std),
            ln_cross_attn: LayerNorm::new(builder, &name("ln_cross_attn"), d, eps),
            cross_q_attn: Conv1d::new(builder, &name("crossattention.q_attn"), d, d, std),
            cross_c_attn: Conv1d::new(builder, &name("crossattention.c_attn"), d, 2 * d, std),
            cross_c_proj: Conv1d::new(builder, &name("crossattention.c_proj"), d, d, residual_std),
            ln_2: LayerNorm::new(builder, &name("ln_2"), d, eps),
            mlp_c_fc: Conv1d::new(builder, &name("mlp.c_fc"), d, inner, std),
            mlp_c_proj: Conv1d::new(builder, &name("mlp.c_proj"), inner, d, residual_std),
            scale,
        }
    }

    fn self_attention(
        &self,
        p: &Views,
        config: &Gpt2Config,
        x: Tensor,
        past: Option<&mut Option<KeyValue>>,
        train: bool,
    ) -> Tensor {
        let qkv = self.c_attn.forward(p, &self.ln_1.forward(p, &x)).chunk(3, -1); // 3 x [r, t, d]
        let [q, mut k, mut v] = [0, 1, 2].map(|i| split_heads(&qkv[i], config.n_head)); // [r, h, t, d / h]
        // A single new token attends to all earlier ones without a mask; several at once come only without a past.
        let causal = q.size()[2] > 1;
        if let Some(past) = past {
            if let Some((past_k, past_v)) = past.as_ref() {
                assert!(!causal, "with a past, tokens come one by one");
                k = Tensor::cat(&[past_k, &k], 2); // [r, h, past + 1, d / h]
                v = Tensor::cat(&[past_v, &v], 2);
            }
            *past = Some((k.shallow_clone(), v.shallow_clone()));
        }
        let y = attention(&q, &k, &v, self.dropout_p(config, train), causal, self.scale);
        x + dropout(self.c_proj.forward(p, &merge_heads(&y)), config.resid_pdrop, train)
    }

    fn cross_attention(
        &self,
        p: &Views,
        config: &Gpt2Config,
        x: Tensor,
        cross_kv: &KeyValue,
        train: bool,
    ) -> Tensor {
        let shape = x.size(); // [b * g, t, d]
        let (k, v) = cross_kv;
        let b = k.size()[0];
        let q = self.cross_q_attn.forward(p, &self.ln_cross_attn.forward(p, &x));
        // The g rows (beams) of one image become g * t queries of one row, so that its keys and values need not be repeated.
        let q = split_heads(&q.reshape([b, -1, shape[2]]), config.n_head); // [b, h, g * t, d / h]
        let y = attention(&q, k, v, self.dropout_p(config, train), false, self.scale);
        let y = merge_heads(&y).reshape(&shape[..]);
        x + dropout(self.cross_c_proj.forward(p, &y), config.resid_pdrop, train)
    }

    fn mlp(&self, p: &Views, config: &Gpt2Config, x: Tensor, train: bool) -> Tensor {
        let y = self.mlp_c_fc.forward(p, &self.ln_2.forward(p, &x)); // [r, t, inner]
        let y = self.mlp_c_proj.forward(p, &activate(config.activation_function, &y)); // [r, t, d]
        x + dropout(y, config.resid_pdrop, train)
    }

    fn dropout_p(&self, config: &Gpt2Config, train: bool) -> f64 {
        if train { config.attn_pdrop } else { 0.0 }
    }
}

fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    dropout_p: f64,
    causal: bool,
    scale: f64,
) -> Tensor {
    Tensor::scaled_dot_product_attention(q, k, v, None::<&Tensor>, dropout_p, causal, scale, false)
}
