"""`python -m harness.measuring.stand_in --out FOLDER`: pre-train the stand-in."""

import sys

from harness.measuring.stand_in.pretrain import main

sys.exit(main())
