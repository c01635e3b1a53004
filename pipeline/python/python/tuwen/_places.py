"""Where the processes of a stream stand. In: places, from one process or the workers of a DataLoader. Out: the place at which each goes
on. Never opens anything."""

import ctypes

from tuwen._tuwen import TuwenError

try:
    import torch
    from torch.utils.data import get_worker_info
except ModuleNotFoundError:
    torch = None

    def get_worker_info():
        """Without torch there are no workers."""


# Processes of a DataLoader among which a stream can be divided.
MOST_WORKERS = 256


class Places:
    """Where the workers of a DataLoader stand, each for itself; worker 0 is the one there is without workers. A place is an epoch, a
    position, and among how many workers that position is divided (1: it is that of the rank). In memory that the processes share,
    so that the next epoch is another one although its workers are new."""

    def __init__(self):
        # Of each worker two places: where it stands, and where its next epoch begins.
        n = MOST_WORKERS * 6
        self.memory = torch.zeros(n, dtype=torch.int64).share_memory_() if torch else (ctypes.c_int64 * n)()
        # By another process.
        self.given = None
        self._view()
        self.begin_all((0, 0, 1))

    def _view(self):
        of_torch = lambda memory: (ctypes.c_int64 * len(memory)).from_address(memory.data_ptr())
        self.values = of_torch(self.memory) if torch else self.memory

    def __getstate__(self):
        return {"memory": self.memory, "written": self.written, "given": self.values[:]}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._view()

    def own(self):
        """Those of this process: itself, but in a process that was given a stream and is no worker of a DataLoader, which would move
        the places of others, a copy of what it was given."""
        if self.given is None or get_worker_info() is not None:
            return self
        own = Places()
        own.values[:], own.written = self.given, self.written
        return own

    def where(self, worker):
        """Where a worker stands."""
        return tuple(self.values[worker * 6 : worker * 6 + 3])

    def stand(self, worker, place):
        """A worker stands there now."""
        self.values[worker * 6 : worker * 6 + 3] = place
        self.written = (worker, place)

    def following(self, worker):
        """Where the next epoch of a worker begins."""
        return tuple(self.values[worker * 6 + 3 : worker * 6 + 6])

    def begin(self, worker, place):
        """The next epoch of a worker begins there."""
        self.values[worker * 6 + 3 : worker * 6 + 6] = place
        self.stand(worker, place)

    def begin_all(self, place, first=0):
        """The next epoch of all of them, from `first` on, begins there."""
        for worker in reversed(range(first, MOST_WORKERS)):
            self.begin(worker, place)

    def take(self, worker, workers):
        """Where the epoch of one of `workers` begins. The next is the whole of the next one, also for workers that there are not yet:
        for them the first one moves."""
        place = self.following(worker)
        following = (place[0] + 1, 0, 1)
        if worker == 0:
            self.begin_all(following, workers)
        self.begin(worker, following)
        self.stand(worker, place)
        return place

    def is_moved_by_others(self):
        """Whether another process has moved on the one that this process moved last."""
        worker, place = self.written
        return self.where(worker) != place


def share():
    """Which worker of a DataLoader this is, and of how many."""
    info = get_worker_info()
    if info is None:
        return 0, 1
    if info.num_workers > MOST_WORKERS:
        raise TuwenError(f"expected a DataLoader of at most {MOST_WORKERS} workers, found {info.num_workers}")
    return info.id, info.num_workers
