//! Who stands where. In: how many examples are selected, how they are shuffled, seed and epoch. Out: the example at any position
//! of the epoch, without replaying what came before. Never reads more of an example than the length of its caption.
//!
//! A [`permutation`] shuffles, [`epoch`] makes the order of an epoch of it, and [`grouped`] sorts that by the length of captions.

mod epoch;
mod grouped;
mod permutation;

pub(crate) use self::epoch::{Order, Windows};
pub(crate) use self::grouped::{EpochRows, Grouping};
