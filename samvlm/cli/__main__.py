"""python -m samvlm.cli: the same as the command samvlm."""

import sys

from . import main

sys.exit(main())
