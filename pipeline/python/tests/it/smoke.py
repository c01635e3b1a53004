"""What a person begins with, in an environment that has the wheel and nothing else. In: data/sample, a folder to work in."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

sample, folder = map(pathlib.Path, sys.argv[1:])
command = pathlib.Path(sys.executable).with_name("tuwen")


def tuwen(*words):
    return subprocess.run([command, *map(str, words)], capture_output=True, text=True, cwd=folder)


assert shutil.which("cargo") is None and shutil.which("rustc") is None, "Rust is on the PATH"
assert tuwen("--version").stdout.startswith("tuwen ")

words = ["--image-dir", sample / "images", "--tokenizer", sample / "tokenizer.json", "--corpus", "corpus", "--set", "decode.size=32"]
ran = tuwen("run", sample / "train.csv", sample / "test.csv", *words, "--json")
assert ran.returncode == 0, ran.stderr
stages = json.loads(ran.stdout)["stages"]
assert [stage["stage"] for stage in stages] == ["ingest", "fetch", "decode", "curate"], stages

asked = tuwen("sql", "select count(*) as n from examples where split is not null", "--format", "csv")
n = int(asked.stdout.split()[1])
assert n > 50, asked

trained = tuwen("train")
assert trained.returncode == 1 and "pip install 'tuwen[train]'" in trained.stderr, trained.stderr

os.chdir(folder)
import tuwen  # noqa: E402

assert tuwen.open("corpus").sql("select text, split from examples").columns == ["text", "split"]
assert all(report["commits"] == 0 for report in tuwen.decode(corpus="corpus", size=32, quiet=True))
try:
    tuwen.Stream("corpus")
    raise AssertionError("a stream of tensors without torch")
except tuwen.TuwenError as error:
    assert "pip install torch" in str(error), error

sys.path.append(os.environ["NUMPY"])
# torch lies beside that numpy.
sys.modules["torch"] = None
stream = tuwen.Stream("corpus", as_="numpy", batch_size=16)
shapes = [batch["pixel_values"].shape for batch in stream]
assert sum(shape[0] for shape in shapes) == stream.n_examples and shapes[0] == (16, 32, 32, 3), shapes
assert [len(stream.state_dict()), stream.state_dict()["epoch"]] == [6, 1], stream.state_dict()
