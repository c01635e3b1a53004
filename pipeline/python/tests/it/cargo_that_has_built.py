#!/usr/bin/env python3
"""cargo for maturin in a test: where maturin builds the library, this names the one that `cargo test` has built (`BUILT_LIBRARY`).

maturin builds the package alone, which gives DataFusion other features than the workspace has, and would compile it once more.
Everything else is cargo's own.
"""

import json
import os
import subprocess
import sys

CARGO = os.environ["REAL_CARGO"]


def artifact(manifest):
    """The message by which cargo says what it has built."""
    metadata = [CARGO, "metadata", "--no-deps", "--offline", "--format-version=1", "--manifest-path", manifest]
    packages = json.loads(subprocess.run(metadata, check=True, stdout=subprocess.PIPE).stdout)["packages"]
    package = next(package for package in packages if package["name"] == "tuwen-python")
    target = next(target for target in package["targets"] if "cdylib" in target["kind"])
    return {
        "reason": "compiler-artifact",
        "package_id": package["id"],
        "manifest_path": package["manifest_path"],
        "target": target,
        "profile": {"opt_level": "1", "debuginfo": 0, "debug_assertions": True, "overflow_checks": True, "test": False},
        "features": [],
        "filenames": [os.environ["BUILT_LIBRARY"]],
        "executable": None,
        "fresh": True,
    }


if "rustc" in sys.argv:
    print(json.dumps(artifact(sys.argv[sys.argv.index("--manifest-path") + 1])))
    print(json.dumps({"reason": "build-finished", "success": True}))
else:
    os.execvp(CARGO, [CARGO, *sys.argv[1:]])
