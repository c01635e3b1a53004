#!/usr/bin/env bash
# Makes sure of what cargo does not bring: cmake and nasm (libjpeg-turbo builds with them) and .venv (libtorch is inside the
# torch wheel). `setup.sh test` adds what the tests compare with, and, where it can be had, a Chromium that looks at the web page (without
# one the tests that look are left out). Skips what is there.
set -euo pipefail
cd "$(dirname "$0")/.."

install_by_apt() {
    echo "setup: installing $*" >&2
    apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >&2
}

can_install=false
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then can_install=true; fi

need=()
for tool in cmake nasm; do command -v "$tool" >/dev/null || need+=("$tool"); done
if ((${#need[@]})); then
    if $can_install; then
        install_by_apt "${need[@]}"
    else
        echo "setup: ${need[*]} missing; run: sudo apt-get install ${need[*]}" >&2
        exit 1
    fi
fi
has_browser() { command -v chromium || command -v chromium-browser || command -v google-chrome || command -v google-chrome-stable; }
if [[ ${1:-} == test ]] && ! has_browser >/dev/null; then
    if ! $can_install || ! install_by_apt chromium; then
        echo "setup: no chromium, so nobody looks at the web page; to have it looked at: sudo apt-get install chromium" >&2
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
