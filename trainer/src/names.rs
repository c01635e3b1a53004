//! Names of checkpoint tensors. In: a name as any version of transformers wrote it. Out: the name of version 4's
//! `VisionEncoderDecoderModel`, which this project writes, as transformers 5 still does. Never looks at the tensor.

/// Where a file's tensors belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A whole `VisionEncoderDecoderModel`.
    Whole,
    /// A ViT alone: `ViTModel`, or `ViTForImageClassification` with its `vit.` prefix.
    Encoder,
    /// A GPT-2 alone: `GPT2Model`, or `GPT2LMHeadModel` with its `transformer.` prefix.
    Decoder,
}

/// The name within the whole model.
pub fn canonical(name: &str, part: Part) -> String {
    let whole = match part {
        Part::Whole => name.to_owned(),
        Part::Encoder => format!("encoder.{}", name.strip_prefix("vit.").unwrap_or(name)),
        Part::Decoder if name.starts_with("transformer.") || name.starts_with("lm_head.") => {
            format!("decoder.{name}")
        }
        Part::Decoder => format!("decoder.transformer.{name}"),
    };
    match whole.strip_prefix("encoder.layers.").and_then(|rest| rest.split_once('.')) {
        Some((index, rest)) => format!("encoder.encoder.layer.{index}.{}", from_version_5(rest)),
        None => whole,
    }
}

/// A tensor's name within a layer of version 5's ViT, in version 4's words.
fn from_version_5(rest: &str) -> String {
    const PAIRS: [(&str, &str); 6] = [
        ("attention.q_proj.", "attention.attention.query."),
        ("attention.k_proj.", "attention.attention.key."),
        ("attention.v_proj.", "attention.attention.value."),
        ("attention.o_proj.", "attention.output.dense."),
        ("mlp.fc1.", "intermediate.dense."),
        ("mlp.fc2.", "output.dense."),
    ];
    let pair = PAIRS.iter().find_map(|(new, old)| Some((old, rest.strip_prefix(new)?)));
    pair.map_or_else(|| rest.to_owned(), |(old, end)| format!("{old}{end}"))
}

/// Whether a tensor of that name is a constant that old versions of transformers stored, not a parameter: GPT-2's causal masks.
pub fn is_constant(canonical: &str) -> bool {
    let masks =
        ["attn.bias", "attn.masked_bias", "crossattention.bias", "crossattention.masked_bias"];
    canonical.starts_with("decoder.")
        && masks.iter().any(|mask| canonical.ends_with(&format!(".{mask}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_gives_one_name() {
        let query = "encoder.encoder.layer.3.attention.attention.query.weight";
        for (name, part, expected) in [
            (query, Part::Whole, query),
            ("encoder.layers.3.attention.q_proj.weight", Part::Whole, query),
            ("vit.encoder.layer.3.attention.attention.query.weight", Part::Encoder, query),
            ("vit.layers.3.attention.q_proj.weight", Part::Encoder, query),
            ("layers.11.mlp.fc2.bias", Part::Encoder, "encoder.encoder.layer.11.output.dense.bias"),
            (
                "layers.0.layernorm_before.bias",
                Part::Encoder,
                "encoder.encoder.layer.0.layernorm_before.bias",
            ),
            ("layernorm.weight", Part::Encoder, "encoder.layernorm.weight"),
            (
                "transformer.h.0.attn.c_attn.weight",
                Part::Decoder,
                "decoder.transformer.h.0.attn.c_attn.weight",
            ),
            ("h.0.attn.c_attn.weight", Part::Decoder, "decoder.transformer.h.0.attn.c_attn.weight"),
            ("lm_head.weight", Part::Decoder, "decoder.lm_head.weight"),
            ("enc_to_dec_proj.bias", Part::Whole, "enc_to_dec_proj.bias"),
        ] {
            assert_eq!(canonical(name, part), expected);
        }
    }

    #[test]
    fn masks_are_constants_and_biases_are_not() {
        assert!(is_constant("decoder.transformer.h.0.attn.bias"));
        assert!(is_constant("decoder.transformer.h.0.crossattention.masked_bias"));
        assert!(!is_constant("decoder.transformer.h.0.attn.c_attn.bias"));
    }
}
