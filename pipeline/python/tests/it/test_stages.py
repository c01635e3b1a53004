"""The stages: their reports, their errors, Ctrl-C, and the command."""

import csv
import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

import tuwen

SHARED = pathlib.Path(os.environ["SHARED_FOLDER"])
TOKENIZER = pathlib.Path(__file__).parents[4] / "data/sample/tokenizer.json"


def command(*words, **options):
    return subprocess.run([sys.executable, "-m", "tuwen", *map(str, words)], capture_output=True, text=True, **options)

# A shell that runs tests in the background has its children ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Stages(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.corpus = self.folder / "corpus"

    def test_each_stage_reports_what_it_did_and_does_only_what_is_new(self):
        options = {"corpus": self.corpus, "quiet": True}
        ingest, fetch = tuwen.fetch(SHARED / "part-0.csv", image_dir=SHARED / "images", **options)
        self.assertEqual((ingest["stage"], ingest["rows_out"], fetch["stage"], fetch["rows_out"]), ("ingest", 100, "fetch", 100))
        [decode] = tuwen.decode(size=16, **options)
        self.assertEqual((decode["outcome"], decode["rows_out"], decode["rejected"]), ("ok", 100, {}))
        [curate] = tuwen.curate(tokenizer=TOKENIZER, **options)
        self.assertEqual(curate["rows_in"], 100)
        self.assertEqual(tuwen.Stream(self.corpus).size_px, 16)
        again = tuwen.run(SHARED / "part-0.csv", image_dir=SHARED / "images", tokenizer=TOKENIZER, settings={"decode.size": 16}, **options)
        self.assertEqual([(report["rows_out"], report["commits"]) for report in again if report["stage"] != "ingest"][0], (0, 0))

    def test_reports_are_those_that_the_command_prints(self):
        here = tuwen.run(SHARED / "part-1.csv", corpus=self.corpus, image_dir=SHARED / "images", tokenizer=TOKENIZER, quiet=True)
        other = self.folder / "other"
        words = ["run", SHARED / "part-1.csv", "--corpus", other, "--image-dir", SHARED / "images", "--tokenizer", TOKENIZER, "--json"]
        printed = json.loads(command(*words).stdout)["stages"]
        changing = {"run_id", "seconds", "started", "finished", "hints"}
        for a, b in zip(here, printed, strict=True):
            self.assertEqual({k: a[k] for k in a.keys() - changing}, {k: b[k] for k in b.keys() - changing})

    def test_errors_are_exceptions_with_the_commands_words(self):
        for call, kind, words in [
            (lambda: tuwen.decode(corpus=self.corpus, sizes=3), tuwen.WrongUsage, "--sizes"),
            (lambda: tuwen.decode(corpus=self.corpus, size=-3), tuwen.WrongUsage, "size"),
            (lambda: tuwen.decode(corpus=self.corpus, settings={"decode.sizes": 3}), tuwen.WrongUsage, "decode.size"),
            (lambda: tuwen.decode(corpus=self.corpus), tuwen.TuwenError, str(self.corpus)),
            (lambda: tuwen.fetch(self.folder / "no.csv", corpus=self.corpus), tuwen.TuwenError, "no.csv"),
        ]:
            with self.assertRaises(kind) as raised:
                call()
            self.assertIn(words, str(raised.exception))
            self.assertEqual(raised.exception.reports, [])
            self.assertIsInstance(raised.exception, tuwen.TuwenError)
        # A gate: all pictures are missing.
        with self.assertRaises(tuwen.GateRed) as raised:
            tuwen.fetch(SHARED / "part-0.csv", corpus=self.corpus, image_dir=self.folder, quiet=True)
        self.assertEqual([report["outcome"] for report in raised.exception.reports], ["ok", "gate"])
        said = command("fetch", SHARED / "part-0.csv", "--corpus", self.folder / "again", "--image-dir", self.folder)
        self.assertEqual(said.returncode, 3)
        self.assertIn(str(raised.exception).splitlines()[0], said.stderr)

    def test_ctrl_c_ends_a_fetch_after_what_came_and_python_goes_on(self):
        arrived, go_on = threading.Event(), threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

        class Slow(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                arrived.set()
                go_on.wait(120)
                self.send_error(404)

            def log_message(self, *words):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        source = self.folder / "slow.csv"
        with source.open("w", newline="") as file:
            url = f"http://127.0.0.1:{server.server_port}/"
            csv.writer(file).writerows([("text", "url", "filename"), *((f"第{n}张", f"{url}{n}.jpg", f"train-{n}.jpg") for n in range(3))])

        class Terminated(Exception):
            pass

        def interrupt(number):
            arrived.wait(120)
            os.kill(os.getpid(), number)

        # Each time, and by a handler of the program's own.
        for number, raises in [(signal.SIGINT, KeyboardInterrupt), (signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]:
            arrived.clear()
            go_on.clear()

            def handler(number, frame, raises=raises):
                # The server answers when the signal has come.
                go_on.set()
                raise raises

            signal.signal(number, handler)
            threading.Thread(target=interrupt, args=(number,)).start()
            options = {"allow_private_hosts": True, "retry_failed": True, "force": True, "quiet": True}
            with self.assertRaises(raises) as raised:
                tuwen.fetch(source, corpus=self.corpus, settings={"fetch.robots": False}, **options)
            self.assertEqual([report["stage"] for report in raised.exception.reports], ["ingest", "fetch"])
            self.assertEqual(raised.exception.reports[-1]["outcome"], "interrupted")
        # What was ingested is committed, and Python's own Ctrl-C works as before.
        self.assertIn("pairs", tuwen.open(self.corpus).versions())
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with self.assertRaises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    def test_a_stage_leaves_no_handler_of_a_signal(self):
        script = """
import os, signal, sys, tuwen
tuwen.decode(corpus=sys.argv[1], settings={"decode.size": 32}, quiet=True)
os.kill(os.getpid(), signal.SIGTERM)
"""
        done = subprocess.run([sys.executable, "-c", script, SHARED / "corpus"])
        self.assertEqual(done.returncode, -signal.SIGTERM)

    def test_the_command_is_the_command(self):
        version = command("--version")
        self.assertEqual((version.returncode, version.stdout), (0, f"tuwen {tuwen.__version__}\n"))
        self.assertEqual(command("no-such").returncode, 2)
        rows = command("sql", "select count(*) as n from pairs", "--corpus", SHARED / "corpus", "--format", "csv")
        self.assertEqual((rows.returncode, rows.stdout), (0, "n\n300\n"))
        failed = command("sql", "select no_such from pairs", "--corpus", SHARED / "corpus")
        self.assertEqual(failed.returncode, 1)
        self.assertIn("no_such", failed.stderr)
        train = command("train")
        self.assertEqual(train.returncode, 1)
        self.assertIn("pip install 'tuwen[train]'", train.stderr)
        # It does without torch, whose import takes seconds.
        imported = "import tuwen, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
        self.assertEqual(subprocess.run([sys.executable, "-c", imported]).returncode, 0)


if __name__ == "__main__":
    unittest.main()
