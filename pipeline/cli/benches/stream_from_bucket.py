"""The stream over an object store: the window order, which fetches whole windows ahead in few large requests, against the global
one, which asks for every picture. The store is `moto`, an S3 server in Python on this machine: slow at answering, so the number of
requests decides, as it does over a network. The limit is what 16 requests at once for whole files bring.

Pictures are the 224 px JPEGs of `stream_vs_peers.py`, batches of 64, two readers, one epoch; nothing is read before the clock
starts but the light columns. The last line of stdout is one JSON object: images/s, and GET requests an epoch, opening included.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import boto3

import stream_vs_peers

BUCKET = "corpus"


def serve(log):
    """A server at a free port, and its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return server, f"http://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"the S3 server ended with {server.returncode}: see {log.name}")


def upload(store, corpus):
    """Puts the corpus into the bucket; the keys of its pictures' files."""
    store.create_bucket(Bucket=BUCKET)
    paths = [path for table in ("examples", "images") for path in (corpus / table).rglob("*") if path.is_file()]
    for path in paths:
        store.upload_file(str(path), BUCKET, str(path.relative_to(corpus)))
    return [str(path.relative_to(corpus)) for path in paths if path.suffix == ".parquet" and path.parent.name == "images"]


def limit(store, keys, n_images):
    """Images/s of downloads of whole files, 16 parts at once."""
    parts = []
    for key in keys:
        length = store.head_object(Bucket=BUCKET, Key=key)["ContentLength"]
        parts += [(key, start, min(start + (8 << 20), length) - 1) for start in range(0, length, 8 << 20)]
    get = lambda part: len(store.get_object(Bucket=BUCKET, Key=part[0], Range=f"bytes={part[1]}-{part[2]}")["Body"].read())
    begun = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        list(threads.map(get, parts))
    return n_images / (time.perf_counter() - begun)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", help="the binary of benches/stream_bench.rs; built if not given")
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--window", type=int, default=16, help="row groups of a window")
    args = parser.parse_args()
    binary = args.bench or stream_vs_peers.build()[0]
    folder = stream_vs_peers.CACHE / "bench-stream"
    corpus = stream_vs_peers.jpeg_corpus(binary, folder, args.images)
    log_path = folder / "moto.log"
    with log_path.open("w") as log:
        server, address = serve(log)
        try:
            access = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
            environment = os.environ | access | {"AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true"}
            store = boto3.client("s3", endpoint_url=address, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
            report = {"limit": round(limit(store, upload(store, corpus), args.images))}
            for name, words in (("window", ["--window", str(args.window)]), ("global", [])):
                before = requests(log_path)
                command = [binary, "measure", f"s3://{BUCKET}", "--readers", "2", "--epochs", "0", *words]
                done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
                report[name] = round(json.loads(done.stdout)["first_epoch"])
                report[f"{name}_requests"] = requests(log_path) - before
                stream_vs_peers.say(f"{name}: {report[name]:,} images/s, {report[f'{name}_requests']:,} requests")
        finally:
            server.terminate()
    print(json.dumps({**report, "images": args.images}))


def requests(log_path):
    """GET requests that the server has logged."""
    return log_path.read_text().count("GET /")


if __name__ == "__main__":
    main()
