"""The limit to be measured against: numpy gathers shuffled rows of a memory-mapped raw file, one or two threads.

One thread: `memmap[perm[i:i+64]]`, a new array a batch. Two threads: `np.take` into buffers that go round.
Pixels only: no ids, no captions.
"""
import argparse
import threading
import time

import numpy as np


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
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw")
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    pixels = np.memmap(args.raw, np.uint8, "r").reshape(-1, args.size_px**2 * 3)
    rng = np.random.default_rng(0)

    def epoch():
        order = rng.permutation(len(pixels))
        begun = time.perf_counter()
        threads = [
            threading.Thread(
                target=gather, args=(pixels, order, args.batch_size, worker, args.threads, args.threads > 1)
            )
            for worker in range(args.threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(pixels) / (time.perf_counter() - begun)

    epoch()
    print(sum(epoch() for _ in range(args.epochs)) / args.epochs)


if __name__ == "__main__":
    main()
