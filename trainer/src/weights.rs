//! Reading weights. In: a Hugging Face folder (`model.safetensors`, its sharded form, or `pytorch_model.bin`; f32, f16 or
//! bf16). Out: values in the flat parameter tensor, and the names of what stayed fresh. Never skips a tensor in silence:
//! missing, unexpected and wrongly shaped ones are listed by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

use crate::config::read_json;
use crate::names::{Part, canonical, is_constant};
use crate::params::{Layout, Named, put};
use crate::pickle;

/// What a folder gave.
#[derive(Debug, Default, PartialEq)]
pub struct Loaded {
    /// Parameters of this part of the model that the folder does not have, and that keep their fresh values.
    pub fresh: Vec<String>,
    /// Tensors of the folder that the model has no use for, such as a classifier's head.
    pub unused: Vec<String>,
}

/// Fills `flat` (laid out by `layout`) with the weights of `folder`.
///
/// A part may lack what only the whole has: a ViT its pooler, a GPT-2 its cross-attention; a ViT may bring a classifier.
///
/// # Errors
/// No weights in the folder, an unreadable file, or tensors that are missing, unexpected or of another shape.
pub fn load(
    folder: &Path,
    part: Part,
    layout: &Layout,
    flat: &Tensor,
    tied: bool,
) -> Result<Loaded> {
    let mut wanted: BTreeMap<String, Named> = layout
        .named()
        .into_iter()
        .filter(|named| belongs(&named.name, part))
        .map(|n| (n.name.clone(), n))
        .collect();
    let (mut loaded, mut wrong) = (Loaded::default(), Vec::new());
    for file in weight_files(folder)? {
        for_each_tensor(&file, |name, tensor| {
            let name = canonical(name, part);
            match wanted.remove(&name) {
                Some(named) if named.shape == tensor.size() => put(flat, &named, tensor),
                Some(named) => {
                    wrong.push(format!(
                        "{name}: expected shape {:?}, found {:?}",
                        named.shape,
                        tensor.size()
                    ));
                }
                None if is_constant(&name) || (tied && name == "decoder.lm_head.weight") => {}
                None if part == Part::Encoder && name.starts_with("encoder.classifier.") => {
                    loaded.unused.push(name)
                }
                None => wrong.push(format!("{name}: unexpected, shape {:?}", tensor.size())),
            }
        })
        .with_context(|| format!("reading weights {}", file.display()))?;
    }
    for (name, named) in wanted {
        match may_be_fresh(&name, part) {
            true => loaded.fresh.push(name),
            false => wrong.push(format!("{name}: missing, expected shape {:?}", named.shape)),
        }
    }
    if !wrong.is_empty() {
        let n = wrong.len();
        bail!(
            "{}: {n} tensors do not fit the model of config.json:\n  {}",
            folder.display(),
            wrong.join("\n  ")
        );
    }
    Ok(loaded)
}

fn belongs(name: &str, part: Part) -> bool {
    match part {
        Part::Whole => true,
        Part::Encoder => name.starts_with("encoder."),
        Part::Decoder => name.starts_with("decoder."),
    }
}

/// The pooler has no effect on captions; a decoder that was a plain language model has no cross-attention yet.
fn may_be_fresh(name: &str, part: Part) -> bool {
    name.starts_with("encoder.pooler.")
        || (part == Part::Decoder
            && (name.contains(".crossattention.") || name.contains(".ln_cross_attn.")))
}

/// The files that hold a folder's weights, in the order transformers prefers them.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let single = folder.join("model.safetensors");
    if single.exists() {
        return Ok(vec![single]);
    }
    for index in ["model.safetensors.index.json", "pytorch_model.bin.index.json"] {
        let index = folder.join(index);
        if index.exists() {
            let root = read_json(&index)?;
            let map = root["weight_map"]
                .as_object()
                .with_context(|| format!("{}: expected weight_map", index.display()))?;
            let mut files: Vec<_> =
                map.values().filter_map(|file| Some(folder.join(file.as_str()?))).collect();
            files.sort();
            files.dedup();
            return Ok(files);
        }
    }
    let pickle = folder.join("pytorch_model.bin");
    if pickle.exists() {
        return Ok(vec![pickle]);
    }
    bail!(
        "{}: expected model.safetensors, model.safetensors.index.json or pytorch_model.bin, found none",
        folder.display()
    )
}

fn for_each_tensor(file: &Path, mut each: impl FnMut(&str, &Tensor)) -> Result<()> {
    if file.extension().is_some_and(|extension| extension == "bin") {
        return pickle::for_each_tensor(file, each);
    }
    let opened = std::fs::File::open(file)?;
    // SAFETY: the map is only read, and dropped before this function returns. Should another program cut the file
    // meanwhile, the read faults, as it would for every reader of a mapped file.
    #[expect(unsafe_code, reason = "weights are gigabytes: mapped, they are copied once")]
    let map = unsafe { memmap2::Mmap::map(&opened)? };
    let tensors = SafeTensors::deserialize(&map)?;
    for (name, view) in tensors.iter() {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => bail!("{name}: expected F32, F16 or BF16, found {other:?}"),
        };
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        each(name, &Tensor::f_from_data_size(view.data(), &shape, kind)?);
    }
    Ok(())
}
