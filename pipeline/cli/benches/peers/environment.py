"""The peers' virtual environments, which are not the project's. In: a requirements file. Out: the Python that has what it names.

An environment lies in the user's cache under the hash of its requirements, and sees what the project's environment has (torch,
transformers) behind its own packages: 5 GB that are not installed again, and one torch for all. A requirement that cannot be
installed is told on stderr and left out; it is tried again at the next run. Never changes the project's environment.
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

# FFCV builds against these, and finds them with pkg-config.
FFCV_PACKAGES = ["libopencv-dev", "libturbojpeg0-dev", "pkg-config", "g++"]


def say(line):
    print(line, file=sys.stderr, flush=True)


def python_with(requirements):
    """The Python of the environment for the file `requirements`; made if it is not there."""
    lines = [line for line in requirements.read_text().splitlines() if line and not line.startswith("#")]
    # .venv may be a link in a checkout that goes; what it leads to stays.
    project = os.path.realpath(sysconfig.get_path("purelib"))
    key = hashlib.sha256("\n".join([project, sys.version, *lines]).encode()).hexdigest()[:12]
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    folder = cache / f"tuwen/venv-peers-{key}"
    python, ready = folder / "bin/python", folder / ".ready"
    if ready.exists():
        return python
    say(f"peers: making {folder} for {requirements.name}")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, stdout=sys.stderr)
        packages = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
        pathlib.Path(packages.strip(), "project.pth").write_text(project + "\n")
    if all([install(python, line, requirements) for line in lines]):
        ready.touch()
    return python


def install(python, line, requirements):
    """Whether `line` is installed, by itself, so that one that fails takes no other with it."""
    if line.startswith("ffcv"):
        system_packages()
    say(f"peers: installing {line}")
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", requirements, line]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        say(f"peers: {line} could not be installed:\n" + "\n".join(done.stdout.splitlines()[-8:]))
    return done.returncode == 0


def system_packages():
    """What FFCV is built against; only root can install it, others are told how."""
    found = shutil.which("pkg-config") and shutil.which("g++")
    if found and subprocess.run(["pkg-config", "--exists", "opencv4", "libturbojpeg"]).returncode == 0:
        return
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *FFCV_PACKAGES]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        say(f"peers: FFCV needs {' '.join(FFCV_PACKAGES)}\nhint: sudo {' '.join(command)}")
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    say(f"peers: installing {' '.join(FFCV_PACKAGES)}")
    for step in (["apt-get", "update", "-qq"], command):
        subprocess.run(step, env=environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(python_with(pathlib.Path(name)))
