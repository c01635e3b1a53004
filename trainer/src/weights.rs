//! Reading weights. In: a Hugging Face folder (`model.safetensors`, its sharded form, or `pytorch_model.bin`; f32, f16 or
//! bf16). Out: values in the flat parameter tensor, and the names of what it lacks. Never skips a tensor in silence:
//! missing, unexpected and wrongly shaped ones are listed by name.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

use crate::json::read_json;
use crate::names::{Part, canonical, is_constant};
use crate::params::{Layout, Named, put};
use crate::pickle;
use crate::vit::{POSITIONS, interpolated_positions};

/// How the tensors of a folder and the parameters of the model differ.
#[derive(Debug, Default, PartialEq)]
pub struct Loaded {
    /// Parameters of this part of the model that the folder does not have: they keep their initial values.
    pub missing: Vec<String>,
    /// Tensors of the folder that the model has no use for, such as a classifier's head.
    pub unused: Vec<String>,
}

/// What to do with position embeddings made for another image size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// They are an error, as any other wrong shape.
    Nothing,
    /// The encoder's position embeddings are interpolated, as transformers' `interpolate_pos_encoding`.
    Positions,
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
    resize: Resize,
) -> Result<Loaded> {
    let mut wanted: BTreeMap<String, Named> = layout
        .named()
        .into_iter()
        .filter(|named| belongs(&named.name, part))
        .map(|n| (n.name.clone(), n))
        .collect();
    let (mut loaded, mut wrong) = (Loaded::default(), Vec::new());
    let mut tied_head = None;
    for file in weight_files(folder)? {
        for_each_tensor(&file, |name, tensor| {
            let name = canonical(name, part);
            match wanted.remove(&name) {
                Some(_) if !tensor.is_floating_point() => {
                    wrong.push(format!("{name}: expected floats, found {:?}", tensor.kind()));
                }
                Some(named) if named.shape == tensor.size() => put(flat, &named, tensor),
                Some(named) if name == POSITIONS && resize == Resize::Positions => {
                    put(flat, &named, &interpolated_positions(tensor, named.shape[1] - 1))
                }
                Some(named) => {
                    wrong.push(format!(
                        "{name}: expected shape {:?}, found {:?}",
                        named.shape,
                        tensor.size()
                    ));
                }
                None if is_constant(&name) => {}
                None if tied && name == HEAD => tied_head = Some(tensor.copy()),
                None if may_be_unused(&name, part) => loaded.unused.push(name),
                None => wrong.push(format!("{name}: unexpected, shape {:?}", tensor.size())),
            }
        })
        .with_context(|| format!("reading weights {}", file.display()))?;
    }
    if let Some(head) = tied_head {
        wrong.extend(tie(&head, layout, flat, wanted.remove(EMBEDDINGS).is_some()));
    }
    for (name, named) in wanted {
        match may_be_missing(&name, part) {
            true => loaded.missing.push(name),
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

const EMBEDDINGS: &str = "decoder.transformer.wte.weight";
const HEAD: &str = "decoder.lm_head.weight";

/// The output layer of a model that shares it with the token embeddings: it stands for those where the file has none, and must be
/// the same where it has. Gives what is wrong.
fn tie(
    head: &Tensor,
    layout: &Layout,
    flat: &Tensor,
    embeddings_are_missing: bool,
) -> Option<String> {
    let embeddings = layout.named().into_iter().find(|named| named.name == EMBEDDINGS)?;
    if head.size() != embeddings.shape {
        return Some(format!(
            "{HEAD}: expected shape {:?}, found {:?}",
            embeddings.shape,
            head.size()
        ));
    }
    if embeddings_are_missing {
        put(flat, &embeddings, head);
        return None;
    }
    let loaded = flat.narrow(0, embeddings.offset, embeddings.numel).view(&embeddings.shape[..]);
    let same = loaded.equal(&head.to_kind(loaded.kind()));
    (!same).then(|| format!("{HEAD}: expected {EMBEDDINGS}, since decoder.tie_word_embeddings is true, found other values"))
}

fn belongs(name: &str, part: Part) -> bool {
    match part {
        Part::Whole => true,
        Part::Encoder => name.starts_with("encoder."),
        Part::Decoder => name.starts_with("decoder."),
    }
}

/// The pooler has no effect on captions; a decoder that was a plain language model has no cross-attention yet.
fn may_be_missing(name: &str, part: Part) -> bool {
    name.starts_with("encoder.pooler.")
        || (part == Part::Decoder
            && (name.contains(".crossattention.") || name.contains(".ln_cross_attn.")))
}

/// The heads that a ViT was trained with for other ends, and what stood for patches it was not to see.
fn may_be_unused(name: &str, part: Part) -> bool {
    name == "encoder.embeddings.mask_token"
        || (part == Part::Encoder
            && ["encoder.classifier.", "encoder.decoder."]
                .iter()
                .any(|head| name.starts_with(head)))
}

/// Files that hold weights, or name the files that do, in the order transformers prefers them.
pub(crate) const WEIGHT_FILES: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// The files that hold a folder's weights.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let file = WEIGHT_FILES.into_iter().map(|file| folder.join(file)).find(|file| file.exists());
    let file = file.with_context(|| {
        format!("{}: expected one of {}, found none", folder.display(), WEIGHT_FILES.join(", "))
    })?;
    match file.extension().is_some_and(|extension| extension == "json") {
        true => Ok(shards(&file)?.into_iter().map(|shard| folder.join(shard)).collect()),
        false => Ok(vec![file]),
    }
}

/// The names of the files that an index names.
pub(crate) fn shards(index: &Path) -> Result<Vec<String>> {
    let root = read_json(index)?;
    let map = root["weight_map"]
        .as_object()
        .with_context(|| format!("{}: expected weight_map", index.display()))?;
    let mut files: Vec<_> =
        map.values().filter_map(|file| Some(file.as_str()?.to_owned())).collect();
    files.sort();
    files.dedup();
    // A name with folders in it could lead out of this one.
    if let Some(file) = files.iter().find(|file| Path::new(file).file_name() != Some(file.as_ref()))
    {
        bail!("{}: expected names of files beside it, found `{file}`", index.display());
    }
    Ok(files)
}

/// How a file begins that Git put in the place of a large one.
const LFS_POINTER: &[u8; 23] = b"version https://git-lfs";

fn for_each_tensor(file: &Path, mut each: impl FnMut(&str, &Tensor)) -> Result<()> {
    let opened = std::fs::File::open(file)?;
    let mut head = [0; LFS_POINTER.len()];
    if opened.read_at(&mut head, 0)? == head.len() && head == *LFS_POINTER {
        bail!("expected weights, found a pointer of Git LFS\nhint: `git lfs pull` in that folder");
    }
    if file.extension().is_some_and(|extension| extension == "bin") {
        return pickle::for_each_tensor(file, each);
    }
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
            Dtype::F64 => Kind::Double,
            // Masks, which old conversions of GPT-2 bring along.
            Dtype::BOOL => Kind::Bool,
            Dtype::U8 => Kind::Uint8,
            Dtype::I64 => Kind::Int64,
            other => bail!("{name}: expected F32, F16, BF16 or F64, found {other:?}"),
        };
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        each(name, &Tensor::f_from_data_size(view.data(), &shape, kind)?);
    }
    Ok(())
}
