"""`python -m bugs [NAME …] [--jobs N]`: see bugs/README.md."""

import sys

from bugs.run import main

sys.exit(main())
