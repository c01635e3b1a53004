"""What `growth.py` works with: corpora that are made once, copies of them that cost no disk, commands under a clock, a server of new
pictures, a tokenizer. Never says what a figure means.
"""
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]

# What the rows of a made corpus depend on: another text here, and corpora are made anew.
MADE_FROM = ["pipeline/cli/benches/growth_corpus/*.rs", "pipeline/corpus/src/layout.rs", "schemas/*.sql"]

# BERT's special tokens, in the order of their ids.
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def say(line):
    """A line for people."""
    print(line, file=sys.stderr, flush=True)


def build():
    """The binary of benches/growth_corpus, built in the profile and the selection of packages of everything else."""
    command = ["cargo", "build", "--workspace", "--bench", "growth_corpus", "--message-format=json"]
    built = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = map(json.loads, built.splitlines())
    return next(m["executable"] for m in messages if m.get("target", {}).get("name") == "growth_corpus")


class CommandFailed(Exception):
    """A command ended with another exit code than 0. The text is the command, and what it said last."""


@dataclasses.dataclass
class Run:
    """A process that has ended: wall seconds from its start to its end, those its threads ran, its largest resident set, its stdout."""

    seconds: float
    cpu_seconds: float
    peak_gib: float
    out: str

    def stages(self):
        """What `--json` says of the stages, by their names."""
        return {stage["stage"]: stage for stage in json.loads(self.out)["stages"]}


@dataclasses.dataclass
class Work:
    """A folder to work in and the two binaries. Everything that is made is below the folder, temporary files included."""

    folder: pathlib.Path
    tuwen: str
    binary: str

    def __post_init__(self):
        # What a command that was killed has left.
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        (self.folder / "tmp").mkdir(parents=True)
        # The corpora made by this process, with their numbers of pairs.
        self.made = []
        self.tokenizer = self.folder / "tokenizer.json"
        self.tokenizer.write_text(tokenizer_json(), encoding="utf-8")
        paths = sorted(path for pattern in MADE_FROM for path in ROOT.glob(pattern))
        self.key = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:8]

    def run(self, command):
        """Runs a command to its end. CPU time and peak (`ru_maxrss`) are what `wait4` says of the process."""
        command = list(map(str, command))
        environment = os.environ | {"TMPDIR": str(self.folder / "tmp")}
        with (self.folder / "commands.log").open("wb+") as log, tempfile.TemporaryFile("w+") as out:
            begun = time.perf_counter()
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=log
            )
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                raise
            seconds = time.perf_counter() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            log.seek(0)
            if process.returncode != 0:
                said = out.read() + log.read().decode(errors="replace")
                raise CommandFailed(
                    f"{' '.join(command)}: exit code {process.returncode} after {seconds:.1f} s, "
                    f"{usage.ru_maxrss / (1 << 20):.2f} GiB\n{said[-3000:]}"
                )
            return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1 << 20), out.read())

    def tuwen_run(self, command, corpus, *words):
        """`tuwen COMMAND` (curate or run) on `corpus`. Squares have 8 px, as in the made tables, and no gate is red."""
        # The crawl that the corpora are of tried twice.
        settings = ["decode.size=8", "max_rejected_percent=100", "fetch.allow_private_hosts=true", "fetch.attempts=2"]
        # By the file name, as the made rows are put into splits, and DuckDB puts them.
        settings.append("curate.split=filename")
        flags = ["--corpus", corpus, "--tokenizer", self.tokenizer, "--json"]
        for setting in settings:
            flags += ["--set", setting]
        return self.run([self.tuwen, command, *words, *flags])

    def sql(self, corpus, query):
        """`tuwen sql`; the rows are in `out`, as CSV."""
        return self.run([self.tuwen, "sql", query, "--corpus", corpus, "--format", "csv"])

    def has_command(self, name):
        """Whether this `tuwen` has the subcommand `name`."""
        return subprocess.run([self.tuwen, name, "--help"], capture_output=True).returncode == 0

    def corpus(self, n_pairs, skewed=False):
        """The made corpus of `n_pairs` rows, which nobody writes to; made if it is not there."""
        looks = "skewed" if skewed else "photos"
        folder = self.folder / f"{looks}-{n_pairs}-{self.key}"
        for stale in self.folder.glob(f"{looks}-{n_pairs}-*"):
            if stale != folder:
                shutil.rmtree(stale)
        if not folder.exists():
            command = [self.binary, "make", "--pairs", str(n_pairs), "--out", folder, *["--skewed"] * skewed]
            made = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            self.made.append((n_pairs, folder))
            say(f"made {folder.name}: {size_bytes(folder) / 1e9:.2f} GB in {made['seconds']:.0f} s: {made}")
        return folder

    def copy(self, corpus, name):
        """A copy of `corpus` to write to. Data files are hard links: Delta never changes one, and the page cache has them once."""
        target = self.folder / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(corpus, target, copy_function=link_data_file)
        return target

    @contextlib.contextmanager
    def served(self, n_rows, seed):
        """The lines of a CSV of `n_rows` new rows, without its header; their pictures are served meanwhile."""
        path = self.folder / f"served-{seed}.csv"
        command = [self.binary, "serve", "--rows", str(n_rows), "--csv", path, "--seed", str(seed)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            if not server.stdout.readline():
                sys.exit(f"{' '.join(map(str, command))}: ended with exit code {server.wait()}")
            yield path.read_text(encoding="utf-8").splitlines()[1:]
        finally:
            server.stdin.close()
            server.wait()
            path.unlink(missing_ok=True)

    def write_csv(self, name, lines):
        """A CSV of such lines."""
        path = self.folder / name
        path.write_text("\n".join(["text,url,filename", *lines]) + "\n", encoding="utf-8")
        return path

    def remove(self, *names):
        """Removes what is there of these names."""
        for name in names:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def link_data_file(source, target):
    """A hard link for a data file; a copy for a file of a log, or where the file system has no links."""
    if source.endswith(".parquet") and "_delta_log" not in source:
        with contextlib.suppress(OSError):
            return os.link(source, target)
    return shutil.copy2(source, target)


def files(folder):
    """All files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def size_bytes(folder):
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in files(folder))


def warm(corpus):
    """Reads every file of a corpus once, so that the page cache has what fits into it."""
    for path in files(corpus):
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def batches(lines, n_rows):
    """`lines` in lists of `n_rows`."""
    return [lines[first : first + n_rows] for first in range(0, len(lines), n_rows)]


def tokenizer_json():
    """A tokenizer of BERT's kind and size: one token a Chinese character, single letters, digits and signs besides."""
    ascii_signs = [chr(code) for code in range(0x21, 0x7F) if not chr(code).isupper()]
    chinese = [chr(code) for code in range(0x4E00, 0x9FA6)]
    parts = [f"##{sign}" for sign in ascii_signs if sign.isalnum()]
    vocabulary = {token: number for number, token in enumerate(SPECIAL + ascii_signs + parts + chinese)}
    ends = [{"SpecialToken": {"id": token, "type_id": 0}} for token in ("[CLS]", "[SEP]")]
    return json.dumps({
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": vocabulary[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
            for token in SPECIAL
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                       "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [ends[0], {"Sequence": {"id": "A", "type_id": 0}}, ends[1]],
            "pair": [ends[0], {"Sequence": {"id": "A", "type_id": 0}}, ends[1], {"Sequence": {"id": "B", "type_id": 1}}, ends[1]],
            "special_tokens": {
                token: {"id": token, "ids": [vocabulary[token]], "tokens": [token]} for token in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    }, ensure_ascii=False)
