"""The program that `pixio_node build` starts, beside the package: main of `pixio_engine.build` on one
PLAN.json."""

import sys

from pixio_engine.build import main

if __name__ == "__main__":
    main(sys.argv[1])
