"""The stream against Rust's, and what it leaves behind. `SHARED_FOLDER` is the folder that `package.rs` has made."""

import contextlib
import ctypes
import gc
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import unittest

import numpy as np
import torch

import tuwen
from tuwen._page_lock import COPYING, Copies, mapped

SHARED = pathlib.Path(os.environ["SHARED_FOLDER"])
CORPUS = SHARED / "corpus"


# Memory may be unlocked as long as the process lives.
FUNCTIONS = []


def readers():
    """Reader threads of this process."""
    names = []
    for path in pathlib.Path("/proc/self/task").iterdir():
        # One may end just now.
        with contextlib.suppress(OSError):
            names.append(pathlib.Path(path, "comm").read_text())
    return sum(name.startswith("stream-") for name in names)


def comes_about(is_so):
    """Whether `is_so` within a minute: the system lists a thread that was joined for a moment still."""
    end = time.monotonic() + 60
    while not is_so() and time.monotonic() < end:
        time.sleep(0.01)
    return is_so()


def ids_of(batches):
    return [id for batch in batches for id in batch["example_ids"]]

# A shell that runs tests in the background has its children ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Equality(unittest.TestCase):
    def test_epochs_are_those_of_rust_id_for_id_and_pixel_for_pixel(self):
        cases = json.loads((SHARED / "rust_epochs.json").read_text())
        self.assertGreater(len(cases), 5)
        for case in cases:
            for as_ in ("torch", "numpy"):
                stream = tuwen.Stream(CORPUS, as_=as_, **case["options"])
                for expected in case["epochs"]:
                    n = 0
                    for batch, wanted in zip(stream, expected, strict=True):
                        pixels, labels, mask = (np.asarray(batch[name]) for name in ("pixel_values", "labels", "attention_mask"))
                        self.assertEqual(pixels.dtype, np.uint8)
                        self.assertEqual(pixels.shape, (len(wanted["ids"]), 32, 32, 3))
                        self.assertEqual(hashlib.sha256(pixels.tobytes()).hexdigest(), wanted["pixels"], case["options"])
                        self.assertEqual(batch["example_ids"], wanted["ids"])
                        self.assertEqual(labels.tolist(), wanted["labels"])
                        self.assertEqual(mask.sum(axis=1).tolist(), wanted["lengths"])
                        self.assertTrue(np.array_equal(mask == 0, labels == -100))
                        n += 1
                    self.assertEqual(n, len(stream))

    def test_channels_first_are_the_same_pixels_without_a_copy(self):
        last, first = (tuwen.Stream(CORPUS, layout=layout) for layout in ("nhwc", "nchw"))
        for a, b in zip(last, first, strict=True):
            self.assertTrue(torch.equal(a["pixel_values"].permute(0, 3, 1, 2), b["pixel_values"]))
            self.assertTrue(b["pixel_values"].is_contiguous(memory_format=torch.channels_last))

    def test_arrays_are_the_readers_memory_and_go_round(self):
        stream = tuwen.Stream(CORPUS, batch_size=8, readers=1, prefetch=1)
        addresses = set()
        for _ in range(3):
            for batch in stream:
                addresses.add(batch["pixel_values"].data_ptr())
                self.assertTrue(batch["pixel_values"].is_contiguous())
        # Between two epochs the reader may hold one for a moment, so that there is another.
        self.assertLessEqual(len(addresses), 1 * (1 + 1) + 2 + 2)
        # One that is kept is not written to.
        batches = iter(stream)
        kept = next(batches)
        pixels, addresses = kept["pixel_values"], set()
        before = pixels.clone()
        for batch in batches:
            addresses.add(batch["pixel_values"].data_ptr())
        self.assertNotIn(pixels.data_ptr(), addresses)
        self.assertTrue(torch.equal(pixels, before))

    def test_arrays_can_be_written_to(self):
        for as_ in ("torch", "numpy"):
            batch = next(iter(tuwen.Stream(CORPUS, as_=as_)))
            batch["pixel_values"][0] = 7
            self.assertTrue((batch["pixel_values"][0] == 7).all())


class Resume(unittest.TestCase):
    def test_the_middle_of_an_epoch_goes_on_with_other_ranks_and_readers(self):
        whole = ids_of(tuwen.Stream(CORPUS, seed=3, batch_size=8, world=2, rank=0, drop_last=False)) + ids_of(
            tuwen.Stream(CORPUS, seed=3, batch_size=8, world=2, rank=1, drop_last=False)
        )
        begun, states = [], []
        for rank in range(2):
            stream = tuwen.Stream(CORPUS, seed=3, batch_size=8, world=2, rank=rank)
            for n, batch in enumerate(stream, 1):
                begun += batch["example_ids"]
                if n == 5:
                    states.append(stream.state_dict())
                    break
        self.assertEqual(states[0], states[1])
        self.assertEqual(states[0]["position"], 5 * 8 * 2)
        state = json.loads(json.dumps(states[0]))
        for world in (1, 2, 3):
            rest = []
            for rank in range(world):
                stream = tuwen.Stream(CORPUS, seed=3, batch_size=5, world=world, rank=rank, drop_last=False, readers=3)
                stream.load_state_dict(state)
                self.assertEqual(stream.state_dict(), state)
                rest += ids_of(stream)
            self.assertEqual(len(begun) + len(rest), len(whole))
            self.assertEqual(sorted(begun + rest), sorted(whole), f"{world} ranks")

    def test_the_same_stream_goes_on_id_for_id(self):
        whole = [batch["example_ids"] for batch in tuwen.Stream(CORPUS, batch_size=8)]
        stream = tuwen.Stream(CORPUS, batch_size=8)
        for n, _ in enumerate(stream, 1):
            if n == 4:
                break
        resumed = tuwen.Stream(CORPUS, batch_size=8)
        resumed.load_state_dict(stream.state_dict())
        self.assertEqual([batch["example_ids"] for batch in resumed], whole[4:])
        # And then the next epoch, from its beginning.
        stream.set_epoch(1)
        self.assertEqual(ids_of(resumed), ids_of(stream))
        self.assertEqual(resumed.state_dict(), {**stream.state_dict(), "epoch": 2, "position": 0})

    def test_each_iteration_is_another_epoch_and_set_epoch_says_which(self):
        stream = tuwen.Stream(CORPUS)
        epochs = [ids_of(stream) for _ in range(3)]
        self.assertEqual(len({tuple(ids) for ids in epochs}), 3)
        self.assertEqual(len({tuple(sorted(ids)) for ids in epochs}), 1)
        next(iter(stream))
        stream.set_epoch(1)
        self.assertEqual(ids_of(stream), epochs[1])
        self.assertEqual(ids_of(stream), epochs[2])

    def test_a_state_of_another_stream_is_refused(self):
        state = tuwen.Stream(CORPUS, seed=1).state_dict()
        for options in ({"seed": 2}, {"seed": 1, "where": "n_tokens > 12"}, {"seed": 1, "shuffle": "none"}):
            with self.assertRaisesRegex(tuwen.TuwenError, "the state is of another stream"):
                tuwen.Stream(CORPUS, **options).load_state_dict(state)

    def test_set_epoch_leaves_the_place_that_was_loaded(self):
        whole = [batch["example_ids"] for batch in tuwen.Stream(CORPUS, batch_size=8)]
        stream = tuwen.Stream(CORPUS, batch_size=8)
        batches = iter(stream)
        next(batches)
        state = stream.state_dict()
        stream.load_state_dict(state)
        stream.set_epoch(0)
        self.assertEqual([batch["example_ids"] for batch in stream], whole[1:])
        # It was not loaded for another time.
        stream.set_epoch(0)
        self.assertEqual([batch["example_ids"] for batch in stream], whole)

    def test_a_corpus_that_has_grown_is_read_at_the_versions_of_the_state(self):
        newest = tuwen.Stream(CORPUS, batch_size=8)
        versions = {**newest.versions, "examples": newest.versions["examples"] - 1}
        then = tuwen.Stream(CORPUS, batch_size=8, versions=versions)
        batches = iter(then)
        next(batches)
        state = then.state_dict()
        expected = [batch["example_ids"] for batch in batches]
        resumed = tuwen.Stream(CORPUS, batch_size=8)
        resumed.load_state_dict(state)
        self.assertEqual((resumed.versions, len(resumed)), (versions, len(then)))
        self.assertEqual([batch["example_ids"] for batch in resumed], expected)
        # Not where others were asked for, and a state that is refused changes nothing.
        for stream, wrong in [
            (tuwen.Stream(CORPUS, batch_size=8, versions=newest.versions), state),
            (newest, {**state, "seed": 9}),
            (newest, {**state, "versions": {**versions, "examples": 99}}),
        ]:
            before = stream.versions
            with self.assertRaises(tuwen.TuwenError):
                stream.load_state_dict(wrong)
            self.assertEqual(stream.versions, before)
            self.assertGreater(len(ids_of(stream)), len(then) * 8)

    def test_versions_are_pinned(self):
        newest = tuwen.Stream(CORPUS)
        versions = {**newest.versions, "examples": newest.versions["examples"] - 1}
        then = tuwen.Stream(CORPUS, versions=versions)
        self.assertEqual(then.versions, versions)
        self.assertLess(then.n_examples, newest.n_examples)
        with self.assertRaisesRegex(tuwen.TuwenError, "99"):
            tuwen.Stream(CORPUS, versions={**versions, "examples": 99})


class Errors(unittest.TestCase):
    def test_what_is_wrong_is_said(self):
        for options, words in [
            ({"batch_size": 0}, "`batch_size`: expected at least 1"),
            ({"readers": 0}, "`readers`: expected at least 1"),
            ({"where": "no_such > 1"}, "no_such"),
            ({"where": "random() > 0.5"}, "must be the same whenever it is made"),
            ({"shuffle": "all"}, "shuffle: expected one of global, window, none, found `all`"),
            ({"as_": "jax"}, "as_: expected one of torch, numpy"),
            ({"layout": "chw"}, "layout"),
            ({"rank": 1}, "expected rank and world, or neither"),
            ({"rank": 2, "world": 2}, "`rank`: expected less than `world`"),
            ({"read_path": "no"}, "read_path"),
            ({"flip": 2}, "`flip`: expected 0 to 1"),
        ]:
            with self.assertRaises(tuwen.TuwenError, msg=options) as raised:
                tuwen.Stream(CORPUS, **options)
            self.assertIn(words, str(raised.exception))
        with self.assertRaisesRegex(tuwen.TuwenError, "no-corpus"):
            tuwen.Stream("no-corpus")

    def test_a_bad_image_is_named_or_skipped(self):
        import shutil
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            corpus = pathlib.Path(folder, "corpus")
            shutil.copytree(CORPUS, corpus)
            pixels = next(iter(tuwen.Stream(corpus, as_="numpy", shuffle="none", batch_size=1)))["pixel_values"].tobytes()
            for file in (corpus / "images").glob("*.parquet"):
                data = bytearray(file.read_bytes())
                if (at := data.find(pixels)) >= 0:
                    data[at + 10] ^= 16
                    file.write_bytes(data)
            with self.assertRaisesRegex(tuwen.TuwenError, r"example [0-9a-f]{32}: .*images"):
                list(tuwen.Stream(corpus))
            # An epoch that failed has not come to its end, and neither has one that was closed.
            failing = tuwen.Stream(corpus, batch_size=16)
            batches = iter(failing)
            with self.assertRaises(tuwen.TuwenError):
                list(batches)
            self.assertEqual(list(batches), [])
            self.assertEqual(failing.state_dict()["epoch"], 0)
            batches = iter(failing)
            failing.close()
            self.assertEqual(list(batches), [])
            self.assertEqual((failing.state_dict()["epoch"], failing.state_dict()["position"]), (1, 0))
            whole = tuwen.Stream(corpus, on_bad_image="skip", batch_size=16)
            ids = ids_of(whole)
            self.assertEqual(len(ids), whole.n_examples - 1)
            self.assertEqual(len(whole.skipped), 1)
            self.assertNotIn(whole.skipped[0][0], ids)


class Leftovers(unittest.TestCase):
    def test_an_exception_in_the_loop_leaves_nothing(self):
        stream = tuwen.Stream(CORPUS, batch_size=4)

        def loop():
            for _ in stream:
                raise ValueError("of the loop")

        with self.assertRaises(ValueError):
            loop()
        self.assertTrue(comes_about(lambda: readers() == 0))
        self.assertEqual(len(ids_of(stream)), stream.n_examples)
        self.assertTrue(comes_about(lambda: readers() == 0))

    def test_a_loop_that_is_left_ends_its_threads(self):
        stream = tuwen.Stream(CORPUS, batch_size=4)
        batches = iter(stream)
        next(batches)
        self.assertGreater(readers(), 0)
        del batches
        self.assertTrue(comes_about(lambda: readers() == 0))
        for _ in stream:
            break
        self.assertTrue(comes_about(lambda: readers() == 0))
        # A second epoch ends the first.
        stream = tuwen.Stream(CORPUS, batch_size=4)
        first, second = iter(stream), iter(stream)
        self.assertEqual(list(first), [])
        self.assertEqual(len(list(second)), len(stream))

    def test_a_hundred_streams_leave_memory_flat(self):
        def rss_mib():
            gc.collect()
            status = pathlib.Path("/proc/self/status").read_text()
            return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")) / 1024

        def use(n):
            for _ in range(n):
                for batch in tuwen.Stream(CORPUS, batch_size=64):
                    pass

        use(20)
        before, threads = rss_mib(), len(os.listdir("/proc/self/task"))
        use(100)
        # The batches of each stream are about a MiB.
        self.assertLess(rss_mib() - before, 25)
        self.assertTrue(comes_about(lambda: len(os.listdir("/proc/self/task")) <= threads + 2))
        self.assertLess(len(os.listdir("/proc/self/fd")), 100)

    def test_sigint_in_an_epoch_leaves_no_thread(self):
        script = """
import contextlib, os, pathlib, signal, time, tuwen
signal.signal(signal.SIGINT, signal.default_int_handler)
stream = tuwen.Stream(os.environ["SHARED_FOLDER"] + "/corpus", batch_size=4)
try:
    n = 0
    while True:
        for batch in stream:
            n += 1
            if n == 10:
                signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    pass
def readers():
    names = []
    for path in pathlib.Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            names.append(pathlib.Path(path, "comm").read_text())
    return sum(name.startswith("stream-") for name in names)
# The system lists a thread that was joined for a moment still.
end = time.monotonic() + 60
while readers() and time.monotonic() < end:
    time.sleep(0.01)
print(readers(), n)
"""
        done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, timeout=300)
        self.assertEqual((done.returncode, done.stdout), (0, "0 10\n"))

    def test_a_signal_ends_the_waiting_for_a_batch(self):
        # Nobody takes the interrupt but the waiting itself, which a reader that is stopped would make endless.
        stream = tuwen.Stream(CORPUS, batch_size=4)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        begun = time.monotonic()
        with self.assertRaises(KeyboardInterrupt):
            while time.monotonic() - begun < 30:
                for _ in stream:
                    pass
        stream.close()
        self.assertTrue(comes_about(lambda: readers() == 0))

    def test_page_locked_memory_is_unlocked_before_it_is_freed(self):
        register, unregister, locked, log = host_functions()
        stream = tuwen.Stream(CORPUS, batch_size=8, readers=2, prefetch=2)
        stream._page_lock = lambda rust: None
        stream._open().page_lock(register, unregister, 0)
        self.assertEqual(list(locked.values()), [8 * 32 * 32 * 3] * (2 * 3 + 2))
        pointers, seen = set(locked), []
        for _ in range(2):
            for batch in stream:
                seen.append(batch["pixel_values"].data_ptr())
        # Between two epochs a reader of the first may hold one for a moment: then batches lie in other memory too.
        self.assertLessEqual(len(set(seen) - pointers), 2)
        # A loop that keeps all batches gets memory of another kind, and nothing is unlocked that is in use.
        kept = list(stream)
        self.assertEqual(len(kept), len(stream))
        # One of them is the last batch of the loop above, unless that lies in other memory; readers may hold two as above.
        n_locked = sum(batch["pixel_values"].data_ptr() in locked for batch in kept)
        self.assertLessEqual(n_locked, len(pointers))
        self.assertGreaterEqual(n_locked, len(pointers) - 3)
        next(iter(stream))
        del kept, batch
        gc.collect()
        stream.close()
        del stream
        gc.collect()
        self.assertEqual((locked, len(log)), ({}, len(pointers)))
        # A batch is never larger than what there is.
        stream = tuwen.Stream(CORPUS, batch_size=10**9, rank=0, world=4)
        stream._open().page_lock(register, unregister, 0)
        self.assertEqual(set(locked.values()), {-(-stream.n_examples // 4) * 32 * 32 * 3})

    def test_page_locked_memory_is_not_filled_while_a_device_copies_from_it(self):
        class Told:
            """What a device was told, and does when the loop waits for it."""

            def __init__(self):
                self.is_done = False
                events.append(self)

            def query(self):
                return self.is_done

            def synchronize(self):
                self.is_done = True

        register, unregister, locked, _ = host_functions()
        stream = tuwen.Stream(CORPUS, batch_size=8, readers=2, prefetch=1)
        stream._page_lock = lambda rust: None
        rust = stream._open()
        stream._copies, events = Copies(), []
        stream._copies.told = Told
        rust.page_lock(register, unregister, COPYING)
        n_locked, seen = len(locked), []
        self.assertEqual(n_locked, 2 * (1 + 1) + 2 + COPYING)
        for _ in range(2):
            for batch in stream:
                seen.append(batch["pixel_values"].data_ptr())
                # What was let go of, and is copied from still, is in nobody's hands.
                copying = {held.pixels(False).address for _, freed in stream._copies.copied for held in freed}
                self.assertNotIn(seen[-1], copying)
                self.assertLessEqual(len(copying), COPYING)
        # Between two epochs a reader of the first may hold one for a moment: then batches lie in other memory too, of which nobody is told.
        others = set(seen) - set(locked)
        self.assertLessEqual(len(others), 2)
        # The device was waited for only where it was that far behind.
        waited_for = [event.is_done for event in events]
        n_behind = waited_for.count(False)
        self.assertEqual(waited_for, [True] * (len(events) - n_behind) + [False] * n_behind)
        self.assertLessEqual(n_behind, COPYING)
        if not others:
            self.assertEqual(n_behind, COPYING)
        self.assertEqual(len(locked), n_locked)

    def test_the_cuda_runtime_is_found_below_a_folder_with_a_blank(self):
        line = "7f00-7f01 r-xp 00000000 00:1 12                  /opt/my models/libcudart.so.12\n"
        self.assertEqual(mapped([line, line, "7f02-7f03 rw-p 00000000 00:00 0 \n"], "libcudart"), {"/opt/my models/libcudart.so.12"})


def host_functions():
    """Addresses of functions that stand for `cudaHostRegister` and `cudaHostUnregister`, the memory that is locked, and what was unlocked."""
    locked, log = {}, []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint)
    def register(pointer, n_bytes, flags):
        locked[pointer] = n_bytes
        return 0

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
    def unregister(pointer):
        # The memory is still there.
        ctypes.string_at(pointer, locked.pop(pointer))
        log.append(pointer)
        return 0

    FUNCTIONS.extend((register, unregister))
    return *(ctypes.cast(function, ctypes.c_void_p).value for function in (register, unregister)), locked, log


class Pixels(unittest.TestCase):
    def test_normalise_is_what_vits_processor_does(self):
        from transformers import ViTImageProcessor

        for settings in ({}, {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}, {"do_normalize": False}):
            processor = ViTImageProcessor(size={"height": 32, "width": 32}, **settings)
            for layout in ("nhwc", "nchw"):
                for as_ in ("torch", "numpy"):
                    batch = next(iter(tuwen.Stream(CORPUS, layout=layout, as_=as_)))
                    pixels = batch["pixel_values"]
                    first = torch.as_tensor(pixels)
                    first = first.permute(0, 3, 1, 2) if layout == "nhwc" else first
                    expected = processor(list(first), return_tensors="np", do_resize=False)["pixel_values"]
                    found = tuwen.normalise(pixels, processor)
                    self.assertEqual(tuple(found.shape), expected.shape)
                    self.assertLess(np.abs(np.asarray(found) - expected).max(), 1e-6)
        self.assertEqual(tuwen.normalise(batch["pixel_values"], dtype=np.float16).dtype, np.float16)
        with self.assertRaisesRegex(tuwen.TuwenError, "preprocessor_config.json"):
            tuwen.normalise(batch["pixel_values"], "no-model")

    def test_the_wait_is_said_as_the_trainer_says_it(self):
        stream = tuwen.Stream(CORPUS)
        list(stream)
        time.sleep(0.05)
        self.assertRegex(str(stream.wait), r"^device waited [0-9.]+ %: ")
        self.assertEqual(stream.wait.batches, len(stream))
        self.assertGreater(stream.wait.times_s["readers_busy_s"], 0)
        self.assertLessEqual(stream.wait.percent, 100)

    def test_help_is_enough_to_begin(self):
        import pydoc

        said = pydoc.plain(pydoc.render_doc(tuwen))
        for words in ("tuwen.run(", "tuwen.Stream(", "load_state_dict", "class Stream", "normalise(", "WrongUsage"):
            self.assertIn(words, said)

    def test_the_stubs_have_the_signatures_of_the_sources(self):
        import ast
        import inspect

        stubs = ast.parse(pathlib.Path(tuwen.__file__).with_name("__init__.pyi").read_text()).body
        functions = [(node, tuwen) for node in stubs if isinstance(node, ast.FunctionDef)]
        classes = [node for node in stubs if isinstance(node, ast.ClassDef) and node.name != "_Batch"]
        functions += [(node, getattr(tuwen, of.name)) for of in classes for node in of.body if isinstance(node, ast.FunctionDef)]
        named = {node.name for node, of in functions if of is tuwen} | {node.name for node in classes}
        self.assertEqual(named | {"CorpusHeld", "GateRed", "TuwenError", "WrongUsage"}, set(tuwen.__all__))
        for node, of in functions:
            found = getattr(of, node.name)
            if isinstance(found, property):
                continue
            # Names and defaults; of what stands for all flags, its own name.
            wanted = [ast.unparse(argument).split(":")[0] for argument in (*node.args.args, *node.args.kwonlyargs)]
            parameters = inspect.signature(found).parameters.values()
            plain = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
            self.assertEqual(wanted, plain, node.name)
            defaults = [ast.literal_eval(default) for default in (*node.args.defaults, *filter(None, node.args.kw_defaults))]
            self.assertEqual(defaults, [p.default for p in parameters if p.default is not p.empty], node.name)


if __name__ == "__main__":
    unittest.main()
