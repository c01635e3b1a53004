# make demo    the whole way on a sample crawl: fetch, decode, curate, SQL, train, caption
# make test    all tests
# make soak    a crawl of 100,000 URLs that fail as the web's do, killed 70 times: some minutes
# make build   the binaries tuwen, tuwen-trainer and tuwen-sample
# make cluster the same, and tuwen-cluster
# make install tuwen and tuwen-trainer, of the profile release, to $(PREFIX)/bin (/usr/local/bin)
# make wheel   the wheels `tuwen` and `tuwen-trainer`, of the profile release, to $(CARGO_TARGET_DIR)/wheels
# make lint    rustfmt, spelling and clippy
# make bench-decode, bench-stream, bench-python, bench-bucket, bench-train, bench-gpu, bench-growth, bench-fetch, bench-near, bench-sql,
#              bench-score, bench-captions, bench-cluster
#              measurements; the last line of each is one JSON object (bench-stream makes environments of their own for the peers
#              it measures against, and 14 GB of data sets, in the user's cache; bench-growth makes corpora there, 3 GB that stay
#              and some 40 GB while it runs; `ARGS=…` passes flags on to it)
# Everything first makes sure of what it needs (see scripts/setup.sh) and skips what is there.

SHELL := bash
export CARGO_TARGET_DIR ?= $(CURDIR)/target
# The environment, under the hash of what is in it; .venv is a link to it. By its own path libtorch has the same one for all
# checkouts, which is what the linker writes into the binaries. (Not TUWEN_…: those are settings.)
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)
export PROJECT_VENV := $(CACHE)/tuwen/venv-$(shell sha256sum requirements.txt | cut -c1-12)
export PATH := $(PROJECT_VENV)/bin:$(PATH)
BIN := $(CARGO_TARGET_DIR)/debug
PREFIX ?= /usr/local

.PHONY: demo test soak build install wheel lint bench-decode bench-stream bench-python bench-bucket bench-train bench-gpu bench-growth bench-fetch bench-near bench-sql bench-score bench-captions bench-cluster cluster setup setup-test

demo: build
	$(BIN)/tuwen-sample demo

test: setup-test
	cargo test --workspace

soak: setup-test
	cargo test --workspace --test it soak -- --ignored --nocapture

build: setup
	cargo build --workspace --exclude tuwen-cluster --bins

cluster: setup
	cargo build --workspace --bins

install: setup
	cargo build --workspace --exclude tuwen-cluster --bins --release
	install -d "$(PREFIX)/bin"
	install $(CARGO_TARGET_DIR)/release/tuwen $(CARGO_TARGET_DIR)/release/tuwen-trainer "$(PREFIX)/bin"

wheel: setup-test
	.venv/bin/maturin build --release --locked -m pipeline/python/Cargo.toml --out $(CARGO_TARGET_DIR)/wheels
	.venv/bin/maturin build --release --locked -m trainer/Cargo.toml --out $(CARGO_TARGET_DIR)/wheels

lint: setup-test
	cargo fmt --all --check
	.venv/bin/typos
	cargo clippy --workspace --all-targets -- -D warnings

bench-decode: setup-test build
	.venv/bin/python pipeline/cli/benches/decode_vs_seed.py --tuwen $(BIN)/tuwen

bench-train: setup-test build
	.venv/bin/python trainer/benches/train_vs_pytorch.py --trainer $(BIN)/tuwen-trainer

bench-gpu: setup-test build
	.venv/bin/python trainer/benches/gpu.py --tuwen $(BIN)/tuwen --trainer $(BIN)/tuwen-trainer $(ARGS)

bench-stream: setup-test
	.venv/bin/python pipeline/cli/benches/stream_vs_peers.py

bench-python: setup-test
	.venv/bin/python pipeline/cli/benches/train_python.py $(ARGS)

bench-bucket: setup-test
	.venv/bin/python pipeline/cli/benches/stream_from_bucket.py

bench-growth: setup-test build
	.venv/bin/python pipeline/cli/benches/growth.py --tuwen $(BIN)/tuwen $(ARGS)

bench-fetch: setup-test build
	.venv/bin/python pipeline/cli/benches/fetch_vs_img2dataset.py --tuwen $(BIN)/tuwen $(ARGS)

bench-near: setup-test build
	.venv/bin/python pipeline/cli/benches/near.py --tuwen $(BIN)/tuwen $(ARGS)

bench-sql: setup-test build
	.venv/bin/python pipeline/cli/benches/sql_vs_duckdb.py --tuwen $(BIN)/tuwen $(ARGS)

bench-score: setup-test build
	.venv/bin/python trainer/benches/score_roc.py --tuwen $(BIN)/tuwen $(ARGS)

bench-captions: setup-test build
	.venv/bin/python trainer/benches/captions_vs_transformers.py --tuwen $(BIN)/tuwen $(ARGS)

bench-cluster: setup-test cluster
	.venv/bin/python pipeline/cluster/benches/cluster.py --tuwen-cluster $(BIN)/tuwen-cluster $(ARGS)

setup:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh test
