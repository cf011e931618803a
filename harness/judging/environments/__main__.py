"""`python -m harness.judging.environments STACK`: have this node build a stack's environment."""

import sys

from harness.errors import HarnessError
from harness.judging.environments.build import environment_for

if __name__ == "__main__":
    try:
        print(environment_for(sys.argv[1]))
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
