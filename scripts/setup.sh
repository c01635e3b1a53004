#!/usr/bin/env bash
# Makes sure of what cargo does not bring: cmake and nasm (libjpeg-turbo builds with them) and .venv (libtorch is inside the
# torch wheel). `setup.sh test` adds what the tests compare with, and a Chromium that looks at the web page (without one that test is
# left out, but where CI is set). Skips what is there.
set -euo pipefail
cd "$(dirname "$0")/.."

need=()
for tool in cmake nasm; do command -v "$tool" >/dev/null || need+=("$tool"); done
browser=()
if [[ ${1:-} == test ]]; then
    browser=(chromium)
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        if command -v "$name" >/dev/null; then browser=(); fi
    done
fi
if ((${#need[@]} == 0 && ${#browser[@]})) && [[ $(id -u) != 0 || -z $(command -v apt-get) ]]; then
    echo "setup: no chromium, so nobody looks at the web page; to have it looked at: sudo apt-get install chromium" >&2
    browser=()
fi
need+=("${browser[@]}")
if ((${#need[@]})); then
    if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        echo "setup: installing ${need[*]}" >&2
        apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${need[@]}" >&2
    else
        echo "setup: ${need[*]} missing; run: sudo apt-get install ${need[*]}" >&2
        exit 1
    fi
fi

# The Makefile says where the environment lies; .venv is a link to it.
venv=${PROJECT_VENV:?run this by make: make setup}
python=$(PATH=${PATH#"$venv/bin:"} sh -c 'command -v python3.11 || command -v python3')
if [[ ! -e $venv/.ready ]] || ! "$venv/bin/python" -c ""; then
    echo "setup: making $venv (libtorch; about 5 GB)" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check -r requirements.txt
    touch "$venv/.ready"
fi
if [[ ! -L .venv || $(readlink .venv) != "$venv" ]]; then
    rm -rf .venv
    ln -s "$venv" .venv
fi
if [[ ${1:-} == test ]]; then
    stamp=$venv/.test-$(sha256sum requirements-test.txt | cut -c1-12)
    if [[ ! -e $stamp ]]; then
        echo "setup: installing what the tests compare with" >&2
        "$venv/bin/pip" install -q --disable-pip-version-check -r requirements.txt -r requirements-test.txt
        touch "$stamp"
    fi
fi
