"""The command `tuwen`. In: `sys.argv`. Out: the exit code of the Rust command, which this is."""

import os
import signal
import sys
import sysconfig
from pathlib import Path

from tuwen import _tuwen


def main():
    # Ctrl-C is the command's: Python's own handler would also raise when the command has ended well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    find_trainer()
    sys.exit(_tuwen.main(sys.argv))


def find_trainer():
    """`tuwen train` and its like become the `tuwen-trainer` of this environment, if that is installed."""
    trainer = Path(sysconfig.get_path("scripts")) / "tuwen-trainer"
    if trainer.exists():
        os.environ.setdefault("TUWEN_TRAINER", str(trainer))


if __name__ == "__main__":
    main()
