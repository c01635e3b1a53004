//! Batches for a consumer that must not wait. In: an opened corpus and the order of an epoch. Out: its batches, in that order,
//! and who waited for whom. Never decides who stands where.
//!
//! [`readers`] are the threads, and each has a [`builder`] that makes its batches: what cannot be read is left out ([`skip`]),
//! pictures are changed at random ([`augment`]), and windows come before they are needed ([`ahead`]). [`clocks`] take the times,
//! and [`wait`] says what they mean.

mod ahead;
mod augment;
mod builder;
mod clocks;
mod readers;
mod skip;
mod wait;

pub(crate) use self::ahead::Ahead;
pub(crate) use self::augment::Augment;
pub(crate) use self::builder::BatchBuilder;
pub use self::readers::Batches;
pub(crate) use self::readers::{Lanes, Pool, start};
pub use self::wait::WaitStats;
