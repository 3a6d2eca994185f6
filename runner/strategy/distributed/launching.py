"""Start the processes of a run by torchrun, in this process.

https://docs.pytorch.org/docs/stable/elastic/run.html
"""

from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main


def torchrun(program: str, words: Sequence[str], *, processes: int) -> bool:
    """Run a program in so many processes of this host to their end; return whether all exited with 0."""
    try:
        main(["--standalone", f"--nproc-per-node={processes}", program, *words])
    except (ChildFailedError, SignalException):
        return False
    return True
