"""tuwen (图文): a crawl of (caption, image URL) rows as a clean, SQL-queryable corpus, streamed into any PyTorch loop.

A corpus is one folder (or object-store URL) of Delta tables with the pixels already decoded.

    import tuwen

    # Fill it: each call does only what is new, and says what it did.
    tuwen.run("train.csv", "test.csv", corpus="corpus", image_dir="images", tokenizer="tokenizer.json")

    # Train on it: batches of u8 pixels and labels, globally shuffled, by threads that need no Python.
    stream = tuwen.Stream("corpus", batch_size=64)
    for epoch in range(3):
        stream.set_epoch(epoch)
        for batch in stream:  # also torch.utils.data.DataLoader(stream, batch_size=None)
            pixels = tuwen.normalise(batch["pixel_values"].to("cuda", non_blocking=True))  # [b, 3, s, s] float32
            loss = model(pixel_values=pixels, labels=batch["labels"].to("cuda")).loss
    print(stream.wait)  # how long the loop waited for batches, and what to change
    torch.save(stream.state_dict(), "stream.pt")  # load_state_dict() goes on there, with any number of ranks

    # Ask it: rows as Arrow, which pyarrow, polars, pandas and DuckDB take as they are.
    rows = tuwen.open("corpus").sql("select text from examples where split = $split", {"split": "test"})
    polars.DataFrame(rows)

What fails raises `TuwenError`, with the words of the command `tuwen`. `tuwen.huggingface` has a `Trainer` that is fed by a stream.
"""

import importlib

from tuwen._corpus import Corpus, Rows, open
from tuwen._stages import curate, decode, fetch, run
from tuwen._tuwen import CorpusHeld, GateRed, TuwenError, WrongUsage, __version__

__all__ = [
    "Corpus",
    "CorpusHeld",
    "GateRed",
    "Rows",
    "Stream",
    "TuwenError",
    "Wait",
    "WrongUsage",
    "curate",
    "decode",
    "fetch",
    "normalise",
    "open",
    "run",
]

# What imports torch, where that is there, comes when it is asked for: the command `tuwen` does without.
_LATER = {"Stream": "tuwen._stream", "Wait": "tuwen._stream", "normalise": "tuwen._normalise"}


def __getattr__(name):
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'tuwen' has no attribute '{name}'")


def __dir__():
    return sorted({*globals(), *_LATER})
