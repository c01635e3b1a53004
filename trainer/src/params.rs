//! All parameters in one flat f32 tensor. In: what a model declares, layer by layer. Out: a [`Layout`] (where each
//! lies), initial values, and views for a forward pass. Never copies a parameter: a view shares the flat tensor's memory.
//!
//! Weights that decay come first, then the rest (biases, norms, and weights that get no gradient), so that the
//! optimizer works on two ranges. Query, key and value of one layer lie side by side and are used as one matrix.

use tch::{Device, Kind, Tensor, no_grad};

/// The place of one parameter among the views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

/// Initial values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Init {
    Normal(f64),
    Zeros,
    Ones,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Checkpoint names; several lie one after another along dimension 0 of the view.
    names: Vec<String>,
    /// Shape of the view, all names together.
    shape: Vec<i64>,
    init: Init,
    decays: bool,
    /// First element in the flat tensor.
    offset: i64,
}

impl Entry {
    fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// One named tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The checkpoint's name for it.
    pub name: String,
    /// Its shape in the checkpoint.
    pub shape: Vec<i64>,
    /// First element in the flat tensor.
    pub offset: i64,
    /// Number of elements.
    pub numel: i64,
}

/// Collects what a model declares.
#[derive(Default)]
pub struct Builder {
    entries: Vec<Entry>,
}

impl Builder {
    /// A weight, drawn from a normal distribution; decays.
    pub fn weight(&mut self, name: &str, shape: &[i64], std: f64) -> Slot {
        self.add(vec![name.to_owned()], shape, Init::Normal(std), true)
    }

    /// Weights of equal shape used as one, stacked along dimension 0; `shape` is that of all together.
    pub fn weights(&mut self, names: &[String], shape: &[i64], std: f64) -> Slot {
        self.add(names.to_vec(), shape, Init::Normal(std), true)
    }

    /// A weight that no output depends on (kept for the checkpoint): it gets no gradient and does not decay.
    pub fn unused_weight(&mut self, name: &str, shape: &[i64], std: f64) -> Slot {
        self.add(vec![name.to_owned()], shape, Init::Normal(std), false)
    }

    /// A bias, or several stacked: zeros; does not decay.
    pub fn biases(&mut self, names: &[String], len: i64) -> Slot {
        self.add(names.to_vec(), &[len], Init::Zeros, false)
    }

    /// The scale of a norm: ones; does not decay.
    pub fn scale(&mut self, name: &str, len: i64) -> Slot {
        self.add(vec![name.to_owned()], &[len], Init::Ones, false)
    }

    fn add(&mut self, names: Vec<String>, shape: &[i64], init: Init, decays: bool) -> Slot {
        self.entries.push(Entry { names, shape: shape.to_vec(), init, decays, offset: 0 });
        Slot(self.entries.len() - 1)
    }

    /// Gives every parameter its place in the flat tensor.
    pub fn build(mut self) -> Layout {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|&i| !self.entries[i].decays);
        let (mut offset, mut n_decaying) = (0, 0);
        let mut piece_of = vec![0; order.len()];
        for (piece, &i) in order.iter().enumerate() {
            let entry = &mut self.entries[i];
            entry.offset = offset;
            offset += entry.numel();
            if entry.decays {
                n_decaying = offset;
            }
            piece_of[i] = piece;
        }
        let sizes = order.iter().map(|&i| self.entries[i].numel()).collect();
        Layout { entries: self.entries, sizes, piece_of, n_decaying, len: offset }
    }
}

/// Where each parameter lies in the flat tensor.
#[derive(Clone, Debug)]
pub struct Layout {
    entries: Vec<Entry>,
    /// Elements of each piece in flat order.
    sizes: Vec<i64>,
    /// Slot to piece.
    piece_of: Vec<usize>,
    n_decaying: i64,
    len: i64,
}

impl Layout {
    /// Elements of the flat tensor.
    pub fn len(&self) -> i64 {
        self.len
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first so many elements have weight decay, the others not.
    pub fn n_decaying(&self) -> i64 {
        self.n_decaying
    }

    /// Every checkpoint tensor, in the order of declaration.
    pub fn named(&self) -> Vec<Named> {
        let mut all = Vec::new();
        for entry in &self.entries {
            let parts = entry.names.len() as i64;
            let numel = entry.numel() / parts;
            let mut shape = entry.shape.clone();
            shape[0] /= parts;
            for (i, name) in entry.names.iter().enumerate() {
                let offset = entry.offset + i as i64 * numel;
                all.push(Named { name: name.clone(), shape: shape.clone(), offset, numel });
            }
        }
        all
    }

    /// A new flat tensor with initial values, as transformers draws them; the same seed gives the same values.
    /// Shape `[len]`, on the CPU, without gradient.
    pub fn init(&self, seed: i64) -> Tensor {
        tch::manual_seed(seed);
        let flat = Tensor::zeros([self.len], (Kind::Float, Device::Cpu));
        for entry in &self.entries {
            let mut view = flat.narrow(0, entry.offset, entry.numel());
            let _ = match entry.init {
                Init::Normal(std) => view.normal_(0.0, std),
                Init::Zeros => view.zero_(),
                Init::Ones => view.fill_(1.0),
            };
        }
        flat
    }

    /// Views of all parameters for a forward pass, in the number format of `flat`.
    pub fn views(&self, flat: &Tensor) -> Views {
        self.shaped(&flat.split_with_sizes(&self.sizes, 0))
    }

    /// Views that are leaf tensors: a backward pass leaves each its own gradient, where one that went back into `flat` would be as
    /// long as `flat`, and be copied and added to another as long.
    pub fn leaves(&self, flat: &Tensor) -> Leaves {
        let pieces = flat.detach().split_with_sizes(&self.sizes, 0);
        let pieces: Vec<_> =
            pieces.iter().map(|piece| piece.detach().set_requires_grad(true)).collect();
        Leaves { views: self.shaped(&pieces), pieces }
    }

    fn shaped(&self, pieces: &[Tensor]) -> Views {
        let shaped = self.entries.iter().zip(&self.piece_of);
        Views {
            tensors: shaped.map(|(entry, &piece)| pieces[piece].view(&entry.shape[..])).collect(),
        }
    }

    /// The flat tensor in ranges `(first element, elements, whether their names begin with prefix)`, as long as possible.
    pub fn ranges(&self, prefix: &str) -> Vec<(i64, i64, bool)> {
        let mut named = self.named();
        named.sort_by_key(|named| named.offset);
        let mut all: Vec<(i64, i64, bool)> = Vec::new();
        for named in named {
            let inside = named.name.starts_with(prefix);
            match all.last_mut() {
                Some(last) if last.2 == inside => last.1 += named.numel,
                _ => all.push((named.offset, named.numel, inside)),
            }
        }
        all
    }
}

/// Parameters as leaf tensors, each with its own gradient.
pub struct Leaves {
    /// For forward passes.
    pub views: Views,
    pieces: Vec<Tensor>,
}

impl Leaves {
    /// All gradients as one tensor `[len]`, f32, laid out as the parameters; zeros where none arrived.
    pub fn grad(&self) -> Tensor {
        let grads = self.pieces.iter().map(|piece| {
            let grad = piece.grad();
            if grad.defined() { grad } else { piece.zeros_like() }
        });
        no_grad(|| Tensor::cat(&grads.collect::<Vec<_>>(), 0).to_kind(Kind::Float))
    }
}

/// The parameters of one forward pass.
pub struct Views {
    tensors: Vec<Tensor>,
}

impl std::ops::Index<Slot> for Views {
    type Output = Tensor;

    fn index(&self, slot: Slot) -> &Tensor {
        &self.tensors[slot.0]
    }
}

/// Copies `value` to its place in `flat`, whatever its number format.
pub fn put(flat: &Tensor, named: &Named, value: &Tensor) {
    no_grad(|| {
        flat.narrow(0, named.offset, named.numel).copy_(&value.to_kind(Kind::Float).reshape([-1]))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let mut builder = Builder::default();
        builder.biases(&["a.bias".to_owned(), "b.bias".to_owned()], 4);
        builder.weights(&["a.weight".to_owned(), "b.weight".to_owned()], &[4, 3], 0.5);
        builder.scale("norm.weight", 3);
        builder.build()
    }

    #[test]
    fn stacked_parameters_have_their_own_names_and_places() {
        let layout = layout();
        assert_eq!((layout.len(), layout.n_decaying()), (19, 12));
        let places: Vec<_> =
            layout.named().iter().map(|n| (n.name.clone(), n.shape.clone(), n.offset)).collect();
        let expected = [
            ("a.bias", vec![2], 12),
            ("b.bias", vec![2], 14),
            ("a.weight", vec![2, 3], 0),
            ("b.weight", vec![2, 3], 6),
            ("norm.weight", vec![3], 16),
        ];
        assert_eq!(places, expected.map(|(name, shape, offset)| (name.to_owned(), shape, offset)));
    }

    #[test]
    fn ranges_cover_the_flat_tensor() {
        assert_eq!(
            layout().ranges("a."),
            [(0, 6, true), (6, 6, false), (12, 2, true), (14, 5, false)]
        );
        assert_eq!(layout().ranges("nothing"), [(0, 19, false)]);
    }

    #[test]
    fn views_share_memory_and_gradients_have_their_places() {
        let layout = layout();
        let flat = layout.init(1);
        assert_eq!(flat, layout.init(1));
        let leaves = layout.leaves(&flat);
        assert_eq!(leaves.views[Slot(1)].size(), [4, 3]);
        (&leaves.views[Slot(1)] * 2.0).sum(Kind::Float).backward();
        let grad = Vec::<f32>::try_from(leaves.grad()).unwrap();
        assert!(grad[..12].iter().all(|&g| g == 2.0) && grad[12..].iter().all(|&g| g == 0.0));
        let _ = no_grad(|| flat.narrow(0, 0, 1).fill_(7.0));
        assert_eq!(leaves.views[Slot(1)].double_value(&[0, 0]), 7.0);
    }
}
