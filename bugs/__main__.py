"""`python -m bugs [NAME …] [--jobs N] [--all]`: see bugs/README.md."""

import sys

from bugs.run import main

sys.exit(main())
