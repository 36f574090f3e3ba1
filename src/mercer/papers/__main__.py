"""``python -m mercer.papers``: the commands of the papers without the rest of the command line."""

import sys

from mercer.papers.commands import main

sys.exit(main())
