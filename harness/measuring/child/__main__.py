"""`python -m harness.measuring.child JOB.json`."""

import sys

from harness.measuring.child.job import main

sys.exit(main())
