"""`python -m tuwen` is the command `tuwen`."""

import sys

from tuwen._command import main

sys.argv[0] = "tuwen"
main()
