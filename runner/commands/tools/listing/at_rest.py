"""Whether a run is at rest, so that a tool may change its directory."""

from pathlib import Path

from runner.commands.tools.listing.run import Run
from runner.errors import RunInUse
from runner.run_directory.inside import check_inside
from runner.run_directory.ownership import is_owned, owner_of
from runner.sweeps.results.table import RECORD


def check_at_rest(run: Run) -> None:
    """Check that nobody works in a run's directory, nor in the sweep that it is a job of.

    Raises:
        RunInUse: a process does, here or on another host.
        LeadsElsewhere: something in it is a link.
    """
    sweeps = (directory for directory in run.path.absolute().parents if (directory / RECORD).is_file())
    for directory in (run.path, *sweeps):
        if is_owned(directory):
            raise in_use(directory)
    if run.state == "running" and run.status is not None:  # on another host, or where there are no locks
        raise RunInUse(f"{run.path} trains on {run.status.host}; wait until it ends, or stop it there")
    check_inside(run.path)


def in_use(directory: Path) -> RunInUse:
    """Return the error for a directory that a process works in."""
    owner = owner_of(directory)
    who = "another process" if owner is None else f"process {owner.pid} of {owner.host} since {owner.started}"
    return RunInUse(f"{directory} is in use by {who}; wait until it ends, or stop it with SIGTERM, which saves first")
