"""What a checkpoint says of itself (config, step, metrics), read without torch and without its tensors."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

from runner.errors import CheckpointDamaged, CheckpointRefused

_LARGEST = 64 << 20  # bytes of the pickled structure; the tensors are not part of it


def read_header(path: Path) -> dict[str, Any]:
    """Return the entries of a checkpoint with every tensor and object replaced by an inert stand-in.

    Whatever class or function the file names, none is imported and none is called. The integrity
    of the rest of the file is `integrity.verify`'s affair.

    Raises:
        CheckpointDamaged: the structure cannot be read.
        CheckpointRefused: the structure is not a dictionary, or is unreasonably large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = next(m for m in archive.infolist() if m.filename.endswith("/data.pkl"))
            if member.file_size > _LARGEST:
                raise CheckpointRefused(f"{path} describes itself in {member.file_size} bytes, which is too many")
            entries = _InertUnpickler(io.BytesIO(archive.read(member))).load()
    except CheckpointRefused:
        raise
    except Exception as error:
        raise CheckpointDamaged(f"{path} cannot be read as a checkpoint ({error})") from error
    if not isinstance(entries, dict):
        raise CheckpointRefused(f"{path} is not a general checkpoint: it holds no dictionary of named entries")
    return entries


class Inert:
    """Stands where a checkpoint has a tensor or an object; does nothing, whatever is done to it."""

    def __init__(self, *_: Any) -> None:
        pass

    def __call__(self, *_: Any) -> "Inert":
        return Inert()

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Ignore `item`."""

    def extend(self, items: Any) -> None:
        """Ignore `items`."""


class _InertDict(dict[Any, Any]):
    def __setstate__(self, state: Any) -> None:
        pass


# The one written in Python: its memo is a dictionary, whereas the C one allocates what the file asks for.
class _InertUnpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _InertDict if (module, name) == ("collections", "OrderedDict") else Inert

    def persistent_load(self, pid: Any) -> Any:
        return Inert()
