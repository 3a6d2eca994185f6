"""`python -m runner.commands.sweep.cluster_job RUN.PY ...`: run `python RUN.PY ...` as a cluster job.

The job dies with the process that started it.
"""

import sys
from pathlib import Path
from typing import NoReturn

from runner.commands.sweep.several import run_job
from runner.signals import die_with_parent


def main() -> NoReturn:
    """Run the command line that follows this module's name, and exit."""
    die_with_parent()
    sys.argv = sys.argv[1:]
    if not sys.flags.safe_path:
        sys.path[0] = str(Path(sys.argv[0]).resolve().parent)  # as for a script, in place of the current directory
    raise SystemExit(run_job(sys.argv))


if __name__ == "__main__":
    main()
