//! Random draws from given weights (PyTorch's `multinomial`). In: weights of tokens, uniform numbers made of a seed and keys.
//! Out: the tokens' places. Never uses the device's random numbers: those depend on the batch, and on the device.

use tch::{Device, Kind, Tensor};

use crate::pixels::splitmix;

/// Uniform numbers in [0, 1), `[keys, n]` in 64-bit floats: functions of the seed, the key, the step and their place alone.
pub(super) fn uniforms(seed: u64, keys: &[u64], step: usize, n: usize, device: Device) -> Tensor {
    let of_key = |&key: &u64| {
        let state = splitmix(splitmix(splitmix(seed) ^ key).wrapping_add(step as u64));
        (0..n as u64).map(move |place| {
            // 52 bits: the largest is so far below 1 that its product with a total stays below the total.
            (splitmix(state.wrapping_add(place)) >> 12) as f64 / (1_u64 << 52) as f64
        })
    };
    let numbers: Vec<f64> = keys.iter().flat_map(of_key).collect();
    Tensor::from_slice(&numbers).view([keys.len() as i64, n as i64]).to_device(device)
}

/// One place a row, drawn with the probabilities that `weights` `[rows, v]` are in proportion to, by the inverse of their
/// cumulative sum at `uniforms` `[rows, 1]`: `[rows]`.
pub(super) fn draw(weights: &Tensor, uniforms: &Tensor) -> Tensor {
    let cumulative = weights.cumsum(-1, Kind::Double); // [rows, v]
    let target = cumulative.narrow(1, cumulative.size()[1] - 1, 1) * uniforms; // [rows, 1]
    cumulative.le_tensor(&target).sum_dim_intlist([-1].as_slice(), false, Kind::Int64)
}

/// Different places, one after the other as [`draw`] does, for each of `uniforms` `[rows, n]`: `[rows, n]`. Where fewer have a
/// weight than are to be drawn, the last ones are any others.
pub(super) fn draw_without_replacement(weights: &Tensor, uniforms: &Tensor) -> Tensor {
    let mut left = weights.copy();
    let mut untaken = weights.ones_like();
    let mut places = Vec::new();
    for i in 0..uniforms.size()[1] {
        let some_left = left.sum_dim_intlist([-1].as_slice(), true, Kind::Double).gt(0.0); // [rows, 1]
        let weights = left.where_self(&some_left, &untaken);
        let place = draw(&weights, &uniforms.narrow(1, i, 1)).unsqueeze(1); // [rows, 1]
        let _ = left.scatter_value_(1, &place, 0.0);
        let _ = untaken.scatter_value_(1, &place, 0.0);
        places.push(place);
    }
    Tensor::cat(&places, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generated::integers;

    #[test]
    fn a_draw_is_where_the_cumulative_weight_passes_the_number() {
        let weights = Tensor::from_slice(&[0.0, 1.0, 0.0, 3.0, 0.0]).view([1, 5]).repeat([5, 1]);
        let almost_one = 1.0 - f64::EPSILON;
        let at = Tensor::from_slice(&[0.0, 0.2499, 0.25, 0.6, almost_one]).view([5, 1]);
        assert_eq!(integers(&draw(&weights, &at)), [1, 1, 3, 3, 3]);
    }

    #[test]
    fn distinct_draws_take_all_that_has_a_weight_first() {
        let weights = Tensor::from_slice(&[0.0, 1.0, 0.0, 3.0]).view([1, 4]).repeat([64, 1]);
        let keys: Vec<u64> = (0..64).collect();
        let drawn = draw_without_replacement(&weights, &uniforms(5, &keys, 1, 4, Device::Cpu));
        for row in integers(&drawn).chunks(4) {
            let (mut first, mut all) = (row[..2].to_vec(), row.to_vec());
            first.sort();
            all.sort();
            assert_eq!((first, all), (vec![1, 3], vec![0, 1, 2, 3]));
        }
    }

    #[test]
    fn numbers_are_uniform_and_depend_on_their_own_key() {
        let numbers = |seed, keys: &[u64], step| {
            Vec::<f64>::try_from(uniforms(seed, keys, step, 4, Device::Cpu).flatten(0, -1)).unwrap()
        };
        let keys: Vec<u64> = (0..10_000).collect();
        let all = numbers(7, &keys, 3);
        assert_eq!(all[4 * 99..4 * 100], numbers(7, &[99], 3));
        assert_ne!(numbers(7, &[99], 3), numbers(8, &[99], 3));
        assert_ne!(numbers(7, &[99], 3), numbers(7, &[99], 4));
        let mut tenths = [0_u32; 10];
        all.iter().for_each(|number| tenths[(number * 10.0) as usize] += 1);
        // 4,000 each; five standard deviations of a binomial count are 300.
        assert!(tenths.iter().all(|n| n.abs_diff(4000) < 300), "{tenths:?}");
    }
}
