# What type checkers see of the package; help(tuwen) says what each thing means. The tests hold it to the sources.
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, TypedDict

from torch.utils.data import IterableDataset

from tuwen._tuwen import CorpusHeld as CorpusHeld
from tuwen._tuwen import GateRed as GateRed
from tuwen._tuwen import TuwenError as TuwenError
from tuwen._tuwen import WrongUsage as WrongUsage
from tuwen._tuwen import __version__ as __version__

_Path = str | PathLike[str]
_Report = dict[str, Any]

class _Batch(TypedDict):
    """Tensors, or arrays of numpy."""

    pixel_values: Any
    labels: Any
    attention_mask: Any
    example_ids: list[str]

@dataclass(frozen=True)
class Wait:
    sentence: str
    percent: float
    elapsed_s: float
    batches: int
    times_s: dict[str, float]

class Stream(IterableDataset[_Batch]):
    def __init__(
        self,
        corpus: _Path,
        split: str = "train",
        *,
        where: str | None = None,
        batch_size: int = 64,
        shuffle: Literal["global", "window", "none"] = "global",
        seed: int = 0,
        rank: int | None = None,
        world: int | None = None,
        readers: int | None = None,
        prefetch: int = 4,
        drop_last: bool | None = None,
        versions: Mapping[str, int] | None = None,
        as_: Literal["torch", "numpy"] = "torch",
        layout: Literal["nhwc", "nchw"] = "nhwc",
        window_row_groups: int = 16,
        group_by_length: bool = False,
        verify: bool = True,
        on_bad_image: Literal["fail", "skip"] = "fail",
        flip: float = 0.0,
        random_resized_crop: bool | Mapping[str, tuple[float, float]] | None = None,
        read_path: Literal["fastest", "general", "pread"] = "fastest",
        pin_memory: bool | None = None,
    ) -> None: ...
    def __iter__(self) -> Iterator[_Batch]: ...
    def __len__(self) -> int: ...
    def set_epoch(self, epoch: int) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
    def close(self) -> None: ...
    @property
    def versions(self) -> dict[str, int]: ...
    @property
    def n_examples(self) -> int: ...
    @property
    def size_px(self) -> int: ...
    @property
    def skipped(self) -> list[tuple[str, str]]: ...
    @property
    def unreadable(self) -> list[str]: ...
    @property
    def wait(self) -> Wait: ...

class Rows:
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __arrow_c_schema__(self) -> object: ...
    @property
    def columns(self) -> list[str]: ...

class Corpus:
    def __init__(self, corpus: _Path | None = None, memory_bytes: int | None = None) -> None: ...
    def sql(self, query: str, params: Mapping[str, Any] | None = None) -> Rows: ...
    def tables(self) -> list[str]: ...
    def versions(self) -> dict[str, int]: ...

def open(corpus: _Path | None = None, *, memory_bytes: int | None = None) -> Corpus: ...
def run(*sources: _Path, corpus: _Path | None = None, settings: Mapping[str, Any] | None = None, **flags: Any) -> list[_Report]: ...
def fetch(*sources: _Path, corpus: _Path | None = None, settings: Mapping[str, Any] | None = None, **flags: Any) -> list[_Report]: ...
def decode(*, corpus: _Path | None = None, settings: Mapping[str, Any] | None = None, **flags: Any) -> list[_Report]: ...
def curate(*, corpus: _Path | None = None, settings: Mapping[str, Any] | None = None, **flags: Any) -> list[_Report]: ...
def normalise(pixels: Any, model: object | None = None, dtype: Any = None) -> Any: ...
