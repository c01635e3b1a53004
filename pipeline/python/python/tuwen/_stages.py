"""The stages that fill a corpus. In: what the command line takes, as keyword arguments. Out: reports as dicts. Each does only what is
new."""

import json
import os

from tuwen import _tuwen


def run(*sources, corpus=None, settings=None, **flags):
    """Fetches, decodes and curates in order, each only what is new: `tuwen run`. Sources are files of captions with URLs or file names
    (CSV, TSV, JSON lines, Parquet).

        tuwen.run("train.csv", "test.csv", corpus="corpus", image_dir="images", tokenizer="tokenizer.json")
    """
    return reports_of("run", sources, corpus, settings, flags)


def fetch(*sources, corpus=None, settings=None, **flags):
    """Ingests sources, as `run` has them, and gets the pictures' bytes: `tuwen fetch`.

        tuwen.fetch("crawl.csv", corpus="corpus", concurrency=128, deadline="6h")
    """
    return reports_of("fetch", sources, corpus, settings, flags)


def decode(*, corpus=None, settings=None, **flags):
    """Decodes every distinct original to a square of RGB pixels: `tuwen decode`.

        tuwen.decode(corpus="corpus", size=256, filter="bicubic")
    """
    return reports_of("decode", (), corpus, settings, flags)


def curate(*, corpus=None, settings=None, **flags):
    """Cleans captions, chooses splits, tokenises: `tuwen curate`.

        tuwen.curate(corpus="corpus", tokenizer="tokenizer.json", split="hash")
    """
    return reports_of("curate", (), corpus, settings, flags)


for function in (run, fetch, decode, curate):
    function.__doc__ += f"""
    Args:
        corpus: Its folder or URL [default: the setting `corpus`].
        settings: Settings by their keys, such as {{"curate.min_chars": 4}}.
        flags: Those of the command, with _ for -: `image_dir="images"` is `--image-dir images`, `force=True` is `--force`, a list is
            divided by commas. `quiet=True` says less on stderr.

    Returns:
        A report of each stage, in order: dicts with `stage`, `outcome`, `rows_in`, `rows_out`, `rejected` (rows by reason), `known`,
        `commits`, `seconds`, `versions_read`, `versions_written`, …, as `tuwen {function.__name__} --json` prints them.

    Raises:
        WrongUsage: A flag or a setting that there is not, or may not have this value.
        GateRed: Too many rows were rejected, or another gate was red.
        CorpusHeld: Another run holds the corpus (`wait=60` waits a minute for it).
        KeyboardInterrupt: Ctrl-C ended it after the chunk under way, which is committed; a second one does not wait for that. So does
            whatever else a handler of a signal raises; a handler is never replaced.
        TuwenError: Anything else. The reports of the stages before are `reports` of each of these.
    """


def reports_of(command, sources, corpus, settings, flags):
    """Runs the command in this process."""
    if corpus is not None:
        flags = {"corpus": corpus, **flags}
    arguments = ["tuwen", command]
    for name, value in flags.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            arguments.append(flag)
        elif value is not None and value is not False:
            arguments.append(f"{flag}={text_of(value)}")
    for key, value in (settings or {}).items():
        arguments.append(f"--set={key}={text_of(value)}")
    if sources:
        arguments += ["--", *map(os.fspath, sources)]
    try:
        reports, is_interrupted = _tuwen.stages(arguments)
    except BaseException as error:
        error.reports = json.loads(getattr(error, "reports", "[]"))
        raise
    reports = json.loads(reports)
    if is_interrupted:
        interrupted = KeyboardInterrupt("interrupted: what is committed stays, the next run does the rest")
        interrupted.reports = reports
        raise interrupted
    return reports


def text_of(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(map(text_of, value))
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
