"""The stream as PyTorch has data sets. In: a corpus, and what of it. Out: batches as dicts of tensors, epoch after epoch.

The order, the batches and the threads are Rust's (`_tuwen.Stream`); this says which epoch comes next, for whom, and from where.
"""

import json
import os
import warnings
import weakref
from dataclasses import dataclass

from tuwen import _tuwen
from tuwen._places import Places, share
from tuwen._tuwen import TuwenError

try:
    import torch
    from torch.utils.data import IterableDataset

    from tuwen import _page_lock
except ModuleNotFoundError:
    torch = _page_lock = None

    class IterableDataset:
        """Stands in for torch's, where there is no torch."""

# What labels are padded with: the losses of PyTorch leave it out.
IGNORED = -100


@dataclass(frozen=True)
class Wait:
    """How long the loop waited for batches, in all epochs of a stream so far. `str()` of it is one sentence of advice."""

    sentence: str
    """What to change so that the loop waits less, as `tuwen train` says it."""
    percent: float
    """Of the time between the first batch that was asked for and now (or the end), how much was spent waiting, in percent."""
    elapsed_s: float
    """That time, in seconds."""
    batches: int
    """Batches that were handed out."""
    times_s: dict
    """Seconds: `device_waited_s`, and what the readers did (`readers_busy_s`, …), summed over them."""

    def __str__(self):
        return self.sentence


class Stream(IterableDataset):
    """Batches of a corpus in a global order, made by threads that need neither Python nor its lock.

    Iterating it is one epoch. A batch is a dict:

    * `pixel_values`: RGB, 0 to 255, u8 `[b, s, s, 3]`; with `layout="nchw"` `[b, 3, s, s]` (in torch's `channels_last` memory format).
    * `labels`: token ids, int64 `[b, t]`, padded with -100 to the longest caption of the batch.
    * `attention_mask`: int64 `[b, t]`, 1 where there is a token.
    * `example_ids`: b strings of 32 hex digits, as in the table `examples`.

    The arrays are the readers' own memory: nothing is copied. It is filled again once the last array of a batch is freed, so a loop
    that lets go of its batches needs no more memory than `readers * (prefetch + 1) + 2` of them. With CUDA it is page-locked, so that
    `.to("cuda", non_blocking=True)` runs beside the loop; three more then, since memory is filled again only after the copies that
    were begun from it, on the current CUDA stream or one that it waits for.

    Each `iter()` is the next epoch, with another order; `set_epoch` says which. The same seed, epoch and selection give the same
    batches, whatever the readers. `state_dict()` is where it stands, a few hundred bytes; `load_state_dict()` goes on there, id for
    id, also with another number of ranks, readers or, if captions are not grouped by length, another batch size; and at the versions
    of the tables that the state is of, unless `versions` says others.

    `torch.utils.data.DataLoader(stream, batch_size=None)` takes it. Workers gain nothing (the readers are threads, and what a worker
    makes is copied), but are right: the batches are divided among them and come in the same order as without. They open the same
    versions of the corpus anew, and must be spawned (`multiprocessing_context="forkserver"` or "spawn"): a forked process, which has
    no threads of its parent's, is refused. Torchdata's `StatefulDataLoader` saves and restores the state of them all.

    Args:
        corpus: Folder or URL of the corpus.
        split: "train", "validation" or "test".
        where: An SQL expression over the columns of `examples`, the light columns of `images`, and `loss`, `loss_without_image` and
            `gain` of the newest scores, such as "n_tokens < 40 and width >= 256".
        batch_size: Examples a batch, of this rank.
        shuffle: "global" (every order is equally likely), "window" (for object stores and spinning disks) or "none".
        seed: With the epoch's number it fixes the order.
        rank, world: Which of how many ranks this is; those of `torch.distributed` if it is initialised, else one. All ranks must
            make the stream then: the first tells the others which versions of the tables it has found.
        readers: Threads that build batches [default: 2, or 1 on one core].
        prefetch: Batches that wait for each of them.
        drop_last: Whether the last examples of an epoch, too few for a whole batch on every rank, are left out [default: if there
            are several ranks, since each takes part in every step].
        versions: Delta versions of the tables, as `stream.versions` has them [default: the newest].
        as_: "torch" or "numpy".
        layout: "nhwc" or "nchw", without a copy either way.
        window_row_groups: Row groups of 256 images that a window shuffle mixes.
        group_by_length: Whether captions of like length share a batch.
        verify: Whether pixels are checked against their CRC-32 whenever they are read.
        on_bad_image: "fail", or "skip": a batch has an example less, and `stream.skipped` says why.
        flip: Probability that a picture is mirrored. Captions name left and right.
        random_resized_crop: None, True (torchvision's default) or {"scale": (0.08, 1.0), "ratio": (0.75, 1.3333)}.
        read_path: "fastest", "general" or "pread" (network file systems).
        pin_memory: Whether batches are page-locked [default: if torch has CUDA].

    Raises:
        TuwenError: A table or version that is not there, an option out of range, a `where` that is not SQL over the columns; while
            iterating, an image that cannot be read, by name.
    """

    def __init__(
        self,
        corpus,
        split="train",
        *,
        where=None,
        batch_size=64,
        shuffle="global",
        seed=0,
        rank=None,
        world=None,
        readers=None,
        prefetch=4,
        drop_last=None,
        versions=None,
        as_="torch",
        layout="nhwc",
        window_row_groups=16,
        group_by_length=False,
        verify=True,
        on_bad_image="fail",
        flip=0.0,
        random_resized_crop=None,
        read_path="fastest",
        pin_memory=None,
    ):
        super().__init__()
        one_of("as_", as_, ("torch", "numpy"))
        one_of("layout", layout, ("nhwc", "nchw"))
        one_of("shuffle", shuffle, ("global", "window", "none"))
        if as_ == "torch" and torch is None:
            raise TuwenError("as_=\"torch\": expected the package torch, found none; hint: pip install torch, or as_=\"numpy\"")
        if (rank is None) != (world is None):
            raise TuwenError(f"expected rank and world, or neither, found rank={rank} and world={world}")
        self._is_collective = rank is None and is_distributed()
        if self._is_collective:
            rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        rank, world = (0, 1) if rank is None else (rank, world)
        if random_resized_crop is True:
            random_resized_crop = {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3)}
        self._corpus, self._read_path, self._pin_memory = os.fspath(corpus), read_path, pin_memory
        self._as, self._channels_first = as_, layout == "nchw"
        self._options = {
            "split": split,
            "predicate": where,
            "shuffle": {"window": {"row_groups": window_row_groups}} if shuffle == "window" else shuffle,
            "group_by_length": group_by_length,
            "seed": seed,
            "batch_size": batch_size,
            "drop_last": world > 1 if drop_last is None else drop_last,
            "rank": rank,
            "world": world,
            "readers": min(2, os.cpu_count() or 1) if readers is None else readers,
            "prefetch": prefetch,
            "versions": versions,
            "pad_id": IGNORED,
            "verify": verify,
            "on_bad_image": on_bad_image,
            "flip": flip,
            "random_resized_crop": random_resized_crop or None,
        }
        # Whether a state may say which.
        self._takes_any_versions = versions is None
        self._rust = self._home = self._copies = None
        self._running = nothing
        self._is_pinned = False
        self._skipped = []
        self._places = Places()
        self._pin_versions()

    def __iter__(self):
        """The batches of the next epoch, or of the rest of one that was loaded. An epoch that is still open is ended."""
        worker, workers = share()
        # Before anything that takes time: `set_epoch` is of the next iteration, not of one that begins.
        self._places = self._places.own()
        epoch, position, of = self._places.take(worker, workers)
        rust = self._open()
        self._end()
        if of not in (1, workers):
            raise TuwenError(f"the state is of a DataLoader with {of} workers, and this one has {workers}")
        if not self._is_pinned and workers == 1:
            self._page_lock(rust)
        state = json.dumps({**self._state, "epoch": epoch, "position": position})
        # A place that is this worker's own is where its next batch begins.
        batches = rust.epoch(state, 0 if of == workers else worker, workers)
        self._skipped = []
        running = Epoch(self, batches, epoch, worker, workers)
        # A loop that is left lets go of its epoch, and with that ends the threads.
        self._running = weakref.ref(running)
        return running

    def __len__(self):
        """Batches of this rank in a whole epoch, also where some of it was loaded as done."""
        return self._open().n_batches

    def set_epoch(self, epoch):
        """The next `iter()` is epoch `epoch`, from 0, from its beginning, or where a state of it was loaded; also in the workers of a
        DataLoader."""
        if epoch < 0:
            raise TuwenError(f"epoch: expected 0 or more, found {epoch}")
        self._places = self._places.own()
        # The rest of an epoch is only next if it was loaded.
        following = self._places.following(0)
        if following[0] == epoch and following != (epoch, 0, 1):
            return
        self._places.begin_all((epoch, 0, 1))

    def state_dict(self):
        """Where the stream stands after the batch that was handed out last: plain values, for a checkpoint.

        Raises:
            TuwenError: The batches come from the workers of a plain DataLoader, which are ahead of the loop.
        """
        self._open()
        worker, workers = share()
        if workers == 1 and self._places.is_moved_by_others():
            raise TuwenError(
                "where the loop stands is not known: the workers of a DataLoader, which make the batches, are ahead of it; "
                "hint: num_workers=0 (the stream has threads of its own), or torchdata's StatefulDataLoader"
            )
        epoch, position, of = self._places.where(worker)
        return {**self._state, "epoch": epoch, "position": position, "workers": of}

    def load_state_dict(self, state):
        """The next `iter()` goes on where `state` was taken. Ranks, readers and batch size may be others than then.

        Raises:
            TuwenError: The state is of another selection or seed, or of versions of the tables that are not there any more, or not those
                that the stream was told to read.
        """
        before = self.versions
        of = state.get("workers", 1)
        of_stream = {name: value for name, value in state.items() if name != "workers"}
        try:
            if self._takes_any_versions and state.get("versions", before) != before:
                self._reopen(state["versions"])
            self._open().check(json.dumps(of_stream))
        except TuwenError:
            if self._options["versions"] != before:
                self._reopen(before)
            raise
        worker, workers = share()
        if workers == 1 and of != 1:
            raise TuwenError(f"the state is of one of {of} workers of a DataLoader, whose own state has all of them")
        place = (state["epoch"], state["position"], of)
        if workers > 1:
            self._places.begin(worker, place)
        else:
            self._places.begin_all(place)

    def _resume(self, epoch, n_batches):
        """The next `iter()` goes on in epoch `epoch` after `n_batches` batches of each rank, as with a state that was taken there."""
        position = n_batches * self._options["batch_size"] * self._options["world"]
        self._places = self._places.own()
        self._places.begin_all((epoch, position, 1))

    @property
    def versions(self):
        """Delta versions of the tables that are read: {"examples": …, "images": …}."""
        self._open()
        return dict(self._options["versions"])

    @property
    def n_examples(self):
        """Selected examples, those of all ranks."""
        return self._open().n_examples

    @property
    def size_px(self):
        """Side of the pictures in pixels."""
        return self._open().size_px

    @property
    def skipped(self):
        """Examples of this epoch that were left out under `on_bad_image="skip"`: [(example id, why), …]."""
        return list(self._skipped)

    @property
    def unreadable(self):
        """Files of `images` that could not be opened, and why; under `on_bad_image="skip"`."""
        return self._open().unreadable

    @property
    def wait(self):
        """How long the loop waited so far, in all epochs: a `Wait`. `print(stream.wait)` is one sentence of advice."""
        rust, running = self._open(), self._running()
        sentence, figures = rust.wait(running.batches if running is not None else None)
        figures = json.loads(figures)
        elapsed_s, times = figures["elapsed_s"], figures["times"]
        percent = 100 * times["device_waited_s"] / elapsed_s if elapsed_s else 0.0
        return Wait(sentence, percent, elapsed_s, figures["batches"], times)

    def close(self):
        """Ends the epoch that is open, if one is: its threads are gone afterwards. The stream can be iterated again."""
        self._end()

    def __getstate__(self):
        """For a spawned process, which opens the same versions anew."""
        self._open()
        return {**self.__dict__, "_rust": None, "_home": None, "_copies": None, "_running": nothing, "_is_pinned": False, "_skipped": []}

    def __setstate__(self, state):
        self.__dict__.update(state)

    def __repr__(self):
        options = self._options
        return f"tuwen.Stream({self._corpus!r}, {options['split']!r}, batch_size={options['batch_size']}, world={options['world']})"

    def _open(self):
        """The stream in this process: a spawned one opens it anew, a forked one is refused."""
        if self._home != os.getpid():
            self._places = self._places.own()
            self._running, self._is_pinned, self._copies = nothing, False, None
            self._rust = _tuwen.Stream(self._corpus, json.dumps(self._options), self._read_path)
            self._home = os.getpid()
            self._state = json.loads(self._rust.state(0, 0))
            self._options["versions"] = self._state["versions"]
        return self._rust

    def _reopen(self, versions):
        """The same at other versions."""
        self._end()
        self._options["versions"], self._home = versions, None
        self._open()

    def _pin_versions(self):
        """Opens the stream; the ranks of `torch.distributed` at the versions that the first one finds."""
        if not self._is_collective:
            self._open()
            return
        found, failure = [None], None
        if self._options["rank"] == 0:
            try:
                self._open()
                found = [(self._options["versions"], None)]
            # Whatever it is: the others wait for it.
            except BaseException as error:
                found, failure = [(None, f"rank 0: {str(error) or type(error).__name__}")], error
        torch.distributed.broadcast_object_list(found, src=0)
        if failure is not None:
            raise failure
        versions, error = found[0]
        if error is not None:
            raise TuwenError(error)
        self._options["versions"] = versions
        self._open()

    def _page_lock(self, rust):
        """Puts the batches into page-locked memory, where that is wanted and can be had."""
        self._is_pinned = True
        wanted = self._pin_memory
        if wanted is None:
            wanted = self._as == "torch" and torch.cuda.is_available()
        if not wanted:
            return
        try:
            # Also where not all can be page-locked.
            self._copies = _page_lock.Copies()
            rust.page_lock(*_page_lock.cuda_host_functions(), _page_lock.COPYING)
        except (OSError, AttributeError, TuwenError) as error:
            if self._pin_memory:
                raise TuwenError(f"pin_memory: {error}") from error
            warnings.warn(f"batches are not page-locked, and copied to the device more slowly: {error}", stacklevel=3)

    def _end(self):
        if (running := self._running()) is not None:
            running.close()
        self._running = nothing


class Epoch:
    """The rest of one epoch: an iterator over batches."""

    def __init__(self, stream, batches, epoch, worker, workers):
        options = stream._options
        self.stream, self.batches, self.epoch, self.worker, self.workers = stream, batches, epoch, worker, workers
        # Between the end of a batch and the beginning of the next of the same worker.
        self.between = (workers - 1) * options["batch_size"] * options["world"]
        self.gives_empty = options["world"] > 1
        self.take = torch.from_dlpack if stream._as == "torch" else numpy_from_dlpack()
        self.channels_first = stream._channels_first

    def __iter__(self):
        return self

    def __next__(self):
        stream, take = self.stream, self.take
        if stream is None:
            raise StopIteration
        copies = stream._copies
        while True:
            if copies is not None:
                copies.give_back()
            try:
                batch = self.batches.next()
            except TuwenError:
                # Nothing comes after it, and the place stays: that is no end of the epoch.
                self.stream = None
                raise
            if batch is None:
                # If it was not closed meanwhile.
                if self.stream is not None:
                    self.stream, stream._running = None, nothing
                    stream._places.stand(self.worker, (self.epoch + 1, 0, 1))
                raise StopIteration
            if copies is not None:
                copies.lend(batch)
            stream._places.stand(self.worker, (self.epoch, batch.next_position + self.between, self.workers))
            if skipped := batch.skipped:
                stream._skipped += skipped
            # Its images cannot be read. Several ranks take their turn all the same.
            if len(batch) or self.gives_empty:
                return {
                    "pixel_values": take(batch.pixels(self.channels_first)),
                    "labels": take(batch.labels()),
                    "attention_mask": take(batch.mask()),
                    "example_ids": batch.example_ids(),
                }

    def close(self):
        """Ends the threads; there is no next batch."""
        self.stream = None
        self.batches.close()


def nothing():
    """Where no epoch is open: what a dead reference gives."""


def is_distributed():
    return torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized()


def numpy_from_dlpack():
    import numpy

    return numpy.from_dlpack


def one_of(name, value, allowed):
    if value not in allowed:
        raise TuwenError(f"{name}: expected one of {', '.join(allowed)}, found `{value}`")
