"""The stream by its Python module: epochs of `tuwen.Stream`, as tensors, as a loop that never waits takes them.

In: a corpus. Out: one JSON object, as `stream_bench measure` prints it for the stream by Rust: one epoch to warm up, the median of
the others. Every batch is whole: pixels, labels, mask and ids.
"""
import argparse
import json
import statistics
import time

import tuwen


def epoch(stream):
    """Images/s of one whole epoch."""
    begun, n = time.perf_counter(), 0
    for batch in stream:
        n += len(batch["example_ids"])
    assert n == stream.n_examples, f"expected {stream.n_examples} examples, found {n}"
    return n / (time.perf_counter() - begun)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--numpy", action="store_true", help="arrays instead of tensors")
    args = parser.parse_args()
    as_ = "numpy" if args.numpy else "torch"
    # As the bench of Rust, which does not check checksums.
    stream = tuwen.Stream(args.corpus, batch_size=args.batch_size, readers=args.readers, verify=False, as_=as_)
    warm_up = epoch(stream)
    speeds = [epoch(stream) for _ in range(args.epochs)]
    print(json.dumps({"images_per_s": statistics.median(speeds), "best": max(speeds), "first_epoch": warm_up}))


if __name__ == "__main__":
    main()
