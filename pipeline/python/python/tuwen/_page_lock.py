"""Page-locked batches, from which CUDA copies while the loop goes on. In: batches that are handed out. Out: when the readers may fill them
again. Never waits while fewer than `COPYING` are copied from."""

import collections
import ctypes
import os

import torch

# Times at which batches were let go of, and up to which a device may not be done: so many steps the loop may be ahead of it.
COPYING = 3


class Copies:
    """Batches that a device may copy from, also when the loop has let go of their tensors: torch knows of such a copy only where the
    memory is its own. One that is let go of is kept until the device has done what it had been told by then."""

    def __init__(self):
        self.lent = []
        self.copied = collections.deque()
        self.home = os.getpid()

    def lend(self, batch):
        """Takes note of a batch that is handed out."""
        if batch.is_page_locked:
            self.lent.append(batch)

    def give_back(self):
        """Gives the readers the batches that the device is done with, and others for those that the loop has let go of."""
        if self.home != os.getpid():
            # The device is that of the process from which this one was forked.
            return
        while self.copied and (len(self.copied) >= COPYING or self.copied[0][0].query()):
            done, _ = self.copied.popleft()
            done.synchronize()
        lent, freed = [], []
        for batch in self.lent:
            (freed if batch.let_go() else lent).append(batch)
        self.lent = lent
        if freed:
            self.copied.append((self.told(), freed))

    @staticmethod
    def told():
        """An event after all that the device has been told by now, on the stream of the loop."""
        return torch.cuda.current_stream().record_event()


def cuda_host_functions():
    """Addresses of `cudaHostRegister` and `cudaHostUnregister` in the CUDA runtime that torch has loaded.

    Raises:
        OSError, AttributeError: There is none.
    """
    torch.cuda.init()
    with open("/proc/self/maps") as maps:
        names = mapped(maps, "libcudart")
    runtime = ctypes.CDLL(min(names) if names else "libcudart.so")
    functions = runtime.cudaHostRegister, runtime.cudaHostUnregister
    return tuple(ctypes.cast(function, ctypes.c_void_p).value for function in functions)


def mapped(maps, library):
    """Paths of the files of a library, in the lines of `/proc/self/maps`; they may have blanks."""
    return {line.rstrip("\n").split(maxsplit=5)[5] for line in maps if library in line}
