"""`python -m runner verify`: whether files and whole run directories are what was once written; without torch."""

from collections.abc import Iterator
from pathlib import Path

from runner.checkpoint.header import read_header
from runner.checkpoint.integrity import check_regular, verify
from runner.checkpoint.listing import BEST, FOLDER, LAST, checkpoint_path
from runner.checkpoint.schema import check_schema, version_of
from runner.commands.text import safe
from runner.errors import CheckpointDamaged, CheckpointMissing, CheckpointRefused, RunnerError
from runner.run_directory.status import FILE, read_status
from runner.wiring.inherited import read_config

_CONFIG = "config.yaml"
_LONGEST = 4 << 20  # bytes of a text file


def verify_command(paths: list[str]) -> int:
    """Print a line for each file, "ok" or "damaged" with the reason; return 2 if any is damaged."""
    whole = True
    sound: set[tuple[int, int]] = set()
    for path in (file for name in paths for file in _files(Path(name))):
        try:
            _check(path, sound)
        except (RunnerError, RecursionError, OSError, ValueError) as error:
            whole = False
            print(f"damaged {safe(path)}: {safe(_reason(error, path))}", flush=True)
        else:
            print(f"ok {safe(path)}", flush=True)
    return 0 if whole else 2


def _files(path: Path) -> Iterator[Path]:
    """Yield what is to be checked: the path itself, or all that a run directory rests on."""
    if not path.is_dir():
        yield path
        return
    tars = sorted((path / FOLDER).glob("*.tar"))
    ends = [path / name for name in (LAST, BEST) if (path / name).exists() or (path / name).is_symlink()]
    if tars or ends or (path / FILE).exists():
        yield from (*tars, *ends, path / FILE, path / _CONFIG)
    else:
        yield path


def _check(path: Path, sound: set[tuple[int, int]]) -> None:
    if path.is_dir():
        raise CheckpointMissing(f"{path} is no run directory: it has neither a checkpoint nor a {FILE}")
    if path.name == FILE:
        _check_status(path)
    elif path.name == _CONFIG:
        read_config(_text(path), path)
    else:
        _check_checkpoint(path, sound)


def _check_checkpoint(path: Path, sound: set[tuple[int, int]]) -> None:
    """Check every byte, of a file of several names once, and then what the file says of itself."""
    check_regular(path)
    status = path.stat()
    if (status.st_dev, status.st_ino) not in sound:
        verify(path)
        sound.add((status.st_dev, status.st_ino))
    header = read_header(path)
    version_of(path, header)
    check_schema(path, header)
    step = header["global_step"]
    if path.parent.name == FOLDER and path.name.startswith("step_") and path.name != checkpoint_path(path, step).name:
        raise CheckpointDamaged(f"{path} holds step {step}, not the step of its name, so a resume passes it over")


def _check_status(path: Path) -> None:
    _text(path)
    if read_status(path.parent) is None:
        raise CheckpointDamaged(f"{path} does not say how the run stands; a resume writes it anew")


def _text(path: Path) -> str:
    if not path.is_file():
        raise CheckpointMissing(f"{path} is missing")
    if path.stat().st_size > _LONGEST:
        raise CheckpointRefused(f"{path} is larger than any that a run writes")
    return path.read_text(encoding="utf-8")


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply to be ours"
    return str(error).removeprefix(f"{path} ")
