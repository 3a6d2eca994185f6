"""`python -m runner export --format general|sharded`: a whole checkpoint in its other form, compared with the first."""

from collections.abc import Callable
from pathlib import Path

from runner.checkpoint.difference import differences
from runner.checkpoint.format import read_entries
from runner.checkpoint.listing import LAST, checkpoint_in, run_directory_of
from runner.checkpoint.writer.whole import write_general, write_sharded
from runner.errors import CheckpointRefused, ConfigError, NameTaken, NotWritable
from runner.files import Disk, remove, temporary_beside
from runner.text import printable


def convert_command(file: str, form: str, output: str | None, *, largest: int) -> int:
    """Write a checkpoint of this program in another form, and keep it only if it reads back equal.

    Raises:
        RunnerError: the checkpoint cannot be read, or the output exists or cannot be written.
    """
    path, disk = checkpoint_in(Path(file), LAST), Disk()
    entries = read_entries(path)
    target = _target(path, output, form)
    write: Callable[[Path], None] = (
        (lambda place: write_general(place, entries, disk))
        if form == "general"
        else (lambda place: write_sharded(place, entries, largest, disk))
    )
    temporary = temporary_beside(target)
    try:
        write(temporary)
        if any(differences(entries, read_entries(temporary))):
            raise CheckpointRefused(f"{path} could not be converted: the copy differs when read back; nothing was kept")
        _name(temporary, target, disk)
    except OSError as error:
        raise NotWritable(f"{target} could not be written: {error.strerror or error}; name another --output") from error
    finally:
        remove(temporary)
    print(f"{printable(target)}: the whole checkpoint as {form}, with equal tensors")
    return 0


def _name(temporary: Path, target: Path, disk: Disk) -> None:
    """Give a file or a folder its name; what has appeared there since is never replaced."""
    if temporary.is_dir():
        disk.replace(temporary, target)
    else:
        disk.link(temporary, target)
        disk.unlink(temporary)
    disk.sync_directory(target.parent)


def _target(path: Path, output: str | None, form: str) -> Path:
    # Not in the folder of the run's own checkpoints, which are listed.
    target = Path(output) if output else run_directory_of(path) / f"{path.stem}.{form}.tar"
    if target.exists() or target.is_symlink():
        raise NameTaken(f"{target} exists already; name another with --output")
    if not target.parent.is_dir():
        raise ConfigError(f"{target.parent} is not a folder; make it, or name another place with --output")
    return target
