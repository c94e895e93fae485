"""So that `python -m cli` is the `segue` command."""

import sys

from cli.main import main

sys.exit(main())
