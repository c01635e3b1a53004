//! The processes of one run (ranks), each with a device of its own and its places of the one global order: data parallel training
//! over libtorch's own c10d. In: the variables that `torchrun` sets. Out: sums over all ranks. Never decides what is summed.
//!
//! Every rank calls the same functions in the same order. One that ended, or does not come within the timeout, is an error in all
//! others.

use std::ops::Range;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use tch::{Device, Kind, Tensor, no_grad};

use crate::shim::Group;

/// How often ranks meet that wait for the work of one of them.
const MEETING: Duration = Duration::from_millis(200);

/// This process among those of the run.
pub struct Ranks {
    /// Which one it is, from 0.
    pub rank: usize,
    /// How many there are.
    pub world: usize,
    /// Which one it is on its machine, from 0: its device.
    pub local_rank: usize,
    /// How many there are on its machine.
    pub local_world: usize,
    group: Option<Group>,
}

impl Ranks {
    /// A run of one process.
    pub fn alone() -> Self {
        Self { rank: 0, world: 1, local_rank: 0, local_world: 1, group: None }
    }

    /// Joins the others that the variables RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT tell of, as `torchrun` sets
    /// them; without WORLD_SIZE, or with 1, this process is alone.
    ///
    /// # Errors
    /// A variable that is missing or no number; the others are not there within `timeout`.
    pub fn join(timeout: Duration) -> Result<Self> {
        let world: usize = number("WORLD_SIZE", Some(1))?;
        if world <= 1 {
            return Ok(Self::alone());
        }
        let rank: usize = number("RANK", None)?;
        let local_rank = number("LOCAL_RANK", Some(rank))?;
        let local_world = number("LOCAL_WORLD_SIZE", Some(world))?;
        if rank >= world {
            bail!("RANK: expected a number below WORLD_SIZE, which is {world}, found {rank}");
        }
        let host = std::env::var("MASTER_ADDR").ok().filter(|host| !host.is_empty());
        let host = host.context(missing("MASTER_ADDR"))?;
        let port: u16 = number("MASTER_PORT", None)?;
        // torchrun serves the store itself, and starts all ranks anew when one has failed: each time under keys of its own.
        let served = std::env::var("TORCHELASTIC_USE_AGENT_STORE").is_ok_and(|v| v == "True");
        let attempt: u64 = number("TORCHELASTIC_RESTART_COUNT", Some(0))?;
        let prefix = format!("tuwen/attempt_{attempt}");
        let serves = rank == 0 && !served;
        let group = Group::new(&host, port, serves, &prefix, rank, world, timeout);
        let group = group.with_context(|| {
            format!(
                "rank {rank} of {world}: expected all ranks at {host}:{port} within {} s\n\
                 hint: the same MASTER_ADDR, MASTER_PORT and WORLD_SIZE for each, RANK from 0 on",
                timeout.as_secs()
            )
        })?;
        Ok(Self { rank, world, local_rank, local_world, group: Some(group) })
    }

    /// Whether this is the rank that prints and writes.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// The sum of `tensor` over all ranks, on the device it is on.
    ///
    /// # Errors
    /// A rank that ended, or did not come in time.
    pub fn sum(&self, tensor: Tensor) -> Result<Tensor> {
        let Some(group) = &self.group else { return Ok(tensor) };
        let device = tensor.device();
        let own = no_grad(|| tensor.to_device(Device::Cpu).contiguous());
        group.sum(&own).with_context(|| self.lost())?;
        Ok(own.to_device(device))
    }

    /// The sums of numbers over all ranks.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub fn sums<const N: usize>(&self, numbers: [f64; N]) -> Result<[f64; N]> {
        if self.group.is_none() {
            return Ok(numbers);
        }
        let sums = Vec::<f64>::try_from(self.sum(Tensor::from_slice(&numbers))?)?;
        Ok(std::array::from_fn(|i| sums[i]))
    }

    /// This rank's share of `len` elements: as many for each, the last with fewer.
    pub fn share(&self, len: i64) -> Range<i64> {
        let (rank, each) = (self.rank as i64, self.each(len));
        (rank * each).min(len)..((rank + 1) * each).min(len)
    }

    /// The `len` elements of which `own`, `[n]`, is this rank's [share](Self::share), on the device it is on.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub fn concat(&self, own: &Tensor, len: i64) -> Result<Tensor> {
        let Some(group) = &self.group else { return Ok(own.shallow_clone()) };
        let each = self.each(len);
        let all = Tensor::zeros([each * self.world as i64], (own.kind(), Device::Cpu));
        let padded = no_grad(|| {
            let padded = Tensor::zeros([each], (own.kind(), Device::Cpu));
            padded.narrow(0, 0, own.size()[0]).copy_(own);
            padded
        });
        group.gather(&all, &padded).with_context(|| self.lost())?;
        Ok(all.narrow(0, 0, len).to_device(own.device()))
    }

    /// The texts of all ranks, in their order.
    ///
    /// # Errors
    /// As [`Self::sum`].
    pub fn gather(&self, text: String) -> Result<Vec<String>> {
        let Some(group) = &self.group else { return Ok(vec![text]) };
        let world = self.world as i64;
        let lens = Tensor::zeros([world], (Kind::Int64, Device::Cpu));
        let lost = || self.lost();
        group.gather(&lens, &Tensor::from_slice(&[text.len() as i64])).with_context(lost)?;
        let longest = lens.max().int64_value(&[]).max(1);
        let mut padded = text.into_bytes();
        padded.resize(longest as usize, 0);
        let all = Tensor::zeros([world * longest], (Kind::Uint8, Device::Cpu));
        group.gather(&all, &Tensor::from_slice(&padded)).with_context(lost)?;
        let texts = (0..world).map(|rank| {
            let bytes = all.narrow(0, rank * longest, lens.int64_value(&[rank]));
            Ok(String::from_utf8(Vec::<u8>::try_from(bytes)?)?)
        });
        texts.collect()
    }

    /// Does `work` in one rank of each machine. All meet every now and then meanwhile: however long it takes, none gives the others up.
    ///
    /// # Errors
    /// That of the work, here or in another rank; as [`Self::sum`], and then the work, on a thread of its own, is not waited for.
    pub fn in_one_of_each_machine<F>(&self, work: F) -> Result<()>
    where
        F: FnOnce() -> Result<()> + Send + 'static,
    {
        if self.group.is_none() {
            return work();
        }
        let (sender, done) = mpsc::sync_channel(1);
        let mut ended: Option<Result<()>> = None;
        if self.local_rank == 0 {
            thread::spawn(move || sender.send(work()));
        } else {
            ended = Some(Ok(()));
        }
        loop {
            if ended.is_none() {
                ended = match done.recv_timeout(MEETING) {
                    Ok(result) => Some(result),
                    Err(RecvTimeoutError::Timeout) => None,
                    // The others hear of it as of any failure.
                    Err(RecvTimeoutError::Disconnected) => {
                        Some(Err(anyhow!("its thread panicked")))
                    }
                };
            }
            let failed = ended.as_ref().is_some_and(Result::is_err);
            let mine = [f64::from(ended.is_none()), f64::from(failed)];
            let [n_busy, n_failed] = self.sums(mine)?;
            if let Some(result) = ended.take_if(|_| n_busy == 0.0) {
                result?;
                if n_failed > 0.0 {
                    bail!(self.lost());
                }
                return Ok(());
            }
        }
    }

    /// Elements of a share that is not the last.
    fn each(&self, len: i64) -> i64 {
        (len as u64).div_ceil(self.world as u64) as i64
    }

    /// Makes sure that `mine` is the same in all ranks.
    ///
    /// # Errors
    /// It is another in the first rank; as [`Self::sum`].
    pub fn check_same(&self, what: &str, mine: &impl Serialize) -> Result<()> {
        let mine = serde_json::to_string(mine)?;
        let first = self.gather(mine.clone())?.swap_remove(0);
        if first != mine {
            bail!(
                "rank {} of {}: {what}: expected that of the first rank, {first}, found {mine}\n\
                 hint: the same command, settings and files for all ranks",
                self.rank,
                self.world
            );
        }
        Ok(())
    }

    fn lost(&self) -> String {
        format!(
            "rank {} of {}: another rank ended, or did not come in time; its own message says why",
            self.rank, self.world
        )
    }
}

/// The number in a variable of the environment, or `default` where it is not set.
fn number<N: std::str::FromStr>(name: &str, default: Option<N>) -> Result<N> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .ok()
            .with_context(|| format!("{name}: expected a whole number, found `{text}`")),
        Err(_) => default.with_context(|| missing(name)),
    }
}

fn missing(name: &str) -> String {
    format!(
        "{name}: expected it beside WORLD_SIZE, found nothing\n\
         hint: torchrun --no-python --nproc-per-node 2 tuwen-trainer train … sets all of them"
    )
}
