"""`python -m slimmer` is `slimmer`."""

import sys

from slimmer.cli import main

sys.exit(main())
