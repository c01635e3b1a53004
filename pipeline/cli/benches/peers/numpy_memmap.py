"""The limit to be measured against: numpy gathers shuffled rows of a memory-mapped raw file, one or two threads.

Measured: one thread: `memmap[perm[i:i+64]]`, a new array a batch; two threads: `np.take` into buffers that go round. Pixels only,
[64, 150528] u8: no ids, no captions, and nobody takes the batches. The shuffle is global. numpy is the project's own.
"""
import threading

import numpy as np

import peer


def gather(pixels, order, batch_size, worker, workers, reuse):
    buffers = [np.empty((batch_size, pixels.shape[1]), np.uint8) for _ in range(3)] if reuse else None
    for number, start in enumerate(range(0, len(order), batch_size)):
        if number % workers != worker:
            continue
        rows = order[start:start + batch_size]
        if reuse:
            np.take(pixels, rows, axis=0, out=buffers[number // workers % 3][:len(rows)], mode="clip")
        else:
            batch = pixels[rows]


def main():
    args = peer.arguments(__doc__, workers=1, epochs=3)
    pixels = args.pixels.reshape(args.n, -1)
    rng = np.random.default_rng(0)

    def epoch():
        """The threads do all the work, so the clock of an epoch is one batch of all its rows."""
        order = rng.permutation(args.n)
        threads = [
            threading.Thread(target=gather, args=(pixels, order, args.batch_size, worker, args.workers, args.workers > 1))
            for worker in range(args.workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield order, order

    peer.rate(epoch(), args.n)
    rates = [peer.rate(epoch(), args.n) for _ in range(args.epochs)]
    peer.report(rates, np.__version__, images=args.n, batch_size=args.batch_size, workers=args.workers)


if __name__ == "__main__":
    main()
