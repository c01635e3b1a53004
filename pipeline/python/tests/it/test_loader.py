"""The stream in PyTorch's loaders and ranks: DataLoader with workers, torchdata's StatefulDataLoader, torch.distributed."""

import json
import multiprocessing
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import unittest
import warnings

import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import tuwen

# So that not every worker imports torch.
multiprocessing.set_forkserver_preload(["torch", "tuwen._stream"])

# That there are more workers than cores.
warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)

CORPUS = pathlib.Path(os.environ["SHARED_FOLDER"]) / "corpus"


def stream(**options):
    return tuwen.Stream(CORPUS, **{"batch_size": 16, "seed": 3, **options})


def ids_of(batches):
    return [batch["example_ids"] for batch in batches]


def epochs_of(given):
    """What a process makes of a stream that it is given."""
    its, n_epochs = given
    return [ids_of(its) for _ in range(n_epochs)]


class Loaders(unittest.TestCase):
    def test_workers_give_the_batches_of_the_stream_in_its_order(self):
        alone = stream()
        epochs = [ids_of(alone) for _ in range(3)]
        for context, workers, persistent in [(None, 0, False), ("forkserver", 2, False), ("forkserver", 3, True), ("spawn", 2, False)]:
            loader = DataLoader(
                stream(), batch_size=None, num_workers=workers, multiprocessing_context=context, persistent_workers=persistent
            )
            self.assertEqual(len(loader), len(epochs[0]))
            for expected in epochs[: 1 if context == "spawn" else 3]:
                self.assertEqual(ids_of(loader), expected, f"{workers} workers by {context}")

    def test_pixels_of_workers_are_those_of_the_stream(self):
        loader = DataLoader(stream(), batch_size=None, num_workers=2, multiprocessing_context="forkserver")
        for a, b in zip(loader, stream(), strict=True):
            for name in ("pixel_values", "labels", "attention_mask"):
                self.assertTrue(torch.equal(a[name], b[name]))

    def test_set_epoch_reaches_the_workers(self):
        alone = stream()
        alone.set_epoch(7)
        expected = ids_of(alone)
        for persistent in (False, True):
            of_loader = stream()
            loader = DataLoader(
                of_loader, batch_size=None, num_workers=2, multiprocessing_context="forkserver", persistent_workers=persistent
            )
            next(iter(loader))
            of_loader.set_epoch(7)
            self.assertEqual(ids_of(loader), expected)

    def test_a_loader_that_is_begun_in_the_middle_of_an_epoch(self):
        begun, alone = stream(), stream()
        batches = iter(begun)
        next(batches)
        loader = DataLoader(begun, batch_size=None, num_workers=2, multiprocessing_context="forkserver")
        alone.set_epoch(1)
        self.assertEqual(ids_of(loader), ids_of(alone))
        self.assertEqual(len(list(batches)), len(begun) - 1)

    def test_the_number_of_workers_may_change_between_epochs(self):
        alone, divided = stream(), stream()
        for workers in (2, 0, 3, 1, 2):
            context = "forkserver" if workers else None
            loader = DataLoader(divided, batch_size=None, num_workers=workers, multiprocessing_context=context)
            self.assertEqual(ids_of(loader), ids_of(alone), f"{workers} workers")

    def test_a_plain_loader_with_workers_has_no_state_that_is_known(self):
        of_loader = stream()
        for _ in DataLoader(of_loader, batch_size=None, num_workers=2, multiprocessing_context="forkserver"):
            break
        with self.assertRaisesRegex(tuwen.TuwenError, "StatefulDataLoader"):
            of_loader.state_dict()

    def test_a_stateful_loader_goes_on_where_it_was(self):
        expected = ids_of(stream())
        for workers in (0, 2):
            options = {"batch_size": None, "num_workers": workers, "multiprocessing_context": "forkserver" if workers else None}
            loader, seen = StatefulDataLoader(stream(), **options), []
            for batch in loader:
                seen.append(batch["example_ids"])
                if len(seen) == 5:
                    state = pickle.loads(pickle.dumps(loader.state_dict()))
                    break
            resumed = StatefulDataLoader(stream(), **options)
            resumed.load_state_dict(state)
            self.assertEqual(seen + ids_of(resumed), expected, f"{workers} workers")

    def test_the_stream_is_pickled_with_its_versions(self):
        copy = pickle.loads(pickle.dumps(stream()))
        self.assertEqual(ids_of(copy), ids_of(stream()))
        self.assertEqual(copy.versions, stream().versions)

    def test_processes_that_are_given_a_stream_go_through_it_each_for_itself(self):
        shared = stream()
        next(iter(shared))
        context, n_epochs = multiprocessing.get_context("forkserver"), 2
        with context.Pool(2) as pool:
            # Both take their epochs at the same time, as far as they can.
            found = pool.map(epochs_of, [(shared, n_epochs)] * 2, chunksize=1)
        alone = stream()
        alone.set_epoch(1)
        expected = [ids_of(alone) for _ in range(n_epochs)]
        self.assertEqual(found, [expected] * 2)
        self.assertEqual(ids_of(shared), expected[0])

    def test_a_forked_process_is_refused_and_ends(self):
        with self.assertRaisesRegex(tuwen.TuwenError, 'forked from one in which tuwen runs.*\n.*num_workers=0'):
            list(DataLoader(stream(), batch_size=None, num_workers=2, multiprocessing_context="fork"))
        of_parent = stream()
        batches, corpus = iter(of_parent), tuwen.open(CORPUS)
        next(batches)
        child = os.fork()
        if child == 0:
            code = 0
            for call in (
                lambda: next(batches),
                lambda: list(of_parent),
                lambda: stream(),
                lambda: tuwen.open(CORPUS),
                lambda: corpus.sql("select 1"),
                lambda: tuwen.decode(corpus=CORPUS),
            ):
                try:
                    call()
                    code = 1
                except tuwen.TuwenError as error:
                    code = code or (0 if "forked" in str(error) else 2)
            # What it has of its parent goes without waiting for threads that are not there.
            del batches, of_parent, corpus
            os._exit(code)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertEqual(len(list(batches)), len(of_parent) - 1)


class Ranks(unittest.TestCase):
    def test_ranks_are_those_of_torch_distributed(self):
        script = """
import os, sys, json, torch, tuwen
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=int(sys.argv[2]), world_size=2)
stream = tuwen.Stream(sys.argv[3], batch_size=16, seed=3)
print(json.dumps([[id for batch in stream for id in batch["example_ids"]], len(stream), stream.versions]))
torch.distributed.barrier()
"""
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, "-c", script, f"{folder}/store"]
            ranks = [subprocess.Popen([*words, str(rank), CORPUS], stdout=subprocess.PIPE, text=True) for rank in range(2)]
            said = [json.loads(rank.communicate(timeout=400)[0]) for rank in ranks]
        whole = [id for batch in ids_of(stream(drop_last=False)) for id in batch]
        (first, n, versions), (second, m, others) = said
        self.assertEqual((n, versions), (m, others))
        n_whole = len(whole) // 32 * 32
        self.assertEqual([len(first), len(second)], [n_whole // 2] * 2)
        self.assertEqual((first, second), (whole[0:n_whole:2], whole[1:n_whole:2]))

    def test_no_rank_waits_for_a_first_one_that_fails(self):
        script = """
import sys, torch, tuwen, tuwen._stream
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=int(sys.argv[2]), world_size=2)
if sys.argv[2] == "0":
    def fail(*arguments):
        raise MemoryError("no room")
    tuwen._stream._tuwen.Stream = fail
try:
    tuwen.Stream(sys.argv[3])
except (MemoryError, tuwen.TuwenError) as error:
    print(type(error).__name__, error)
torch.distributed.barrier()
"""
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, "-c", script, f"{folder}/store"]
            ranks = [subprocess.Popen([*words, str(rank), CORPUS], stdout=subprocess.PIPE, text=True) for rank in range(2)]
            said = [rank.communicate(timeout=400)[0] for rank in ranks]
        self.assertEqual(said, ["MemoryError no room\n", "TuwenError rank 0: no room\n"])


if __name__ == "__main__":
    unittest.main()
