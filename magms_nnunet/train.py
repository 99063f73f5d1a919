"""``torchrun … -m magms_nnunet.train``; see :mod:`magms_nnunet.cli.train`."""

import sys

from magms_nnunet.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
