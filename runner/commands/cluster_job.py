"""A job of a sweep on a cluster: the run's own command line, ended with the process that started it."""

import sys
from typing import NoReturn

from runner.signals import die_with_parent


def main() -> NoReturn:
    """Be the run whose command line, from `run.py` on, are this process's arguments."""
    die_with_parent()
    sys.argv = sys.argv[1:]
    from runner.commands.main import main as run

    run()


if __name__ == "__main__":
    main()
