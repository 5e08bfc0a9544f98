# SPDX-License-Identifier: Apache-2.0
"""The ``tritongw`` command: hands the command line to the Rust core."""

import signal
import sys

from tritongw import _core


def main() -> int:
    """Run the command line in ``sys.argv``.

    Returns
    -------
    int
        The exit status of the process.
    """
    # The core handles SIGINT itself; Python's handler would raise KeyboardInterrupt on return.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _core.main(["tritongw", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
