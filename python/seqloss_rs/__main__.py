"""`python -m seqloss_rs` is the program `seqloss`."""

import sys

from seqloss_rs.cli import main

if __name__ == "__main__":
    sys.exit(main())
