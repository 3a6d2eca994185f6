"""`python -m runner export`: models for other programs, each compared with the original before it is kept."""

import copy
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from runner.checkpoint.difference import differences
from runner.checkpoint.format import read_back, read_entries, read_module, write_module, write_plain
from runner.checkpoint.listing import checkpoint_in
from runner.checkpoint.reader.entries import FORMAT
from runner.checkpoint.reader.header import holds_code, read_header
from runner.checkpoint.weights.indexed import INDEX, file_names, grouped, index_of, read_indexed
from runner.checkpoint.weights.safetensors import read_safetensors_back, safetensors_bytes
from runner.checkpoint.weights.sources import BARE, read_source
from runner.checkpoint.writer.pickling import size_of
from runner.errors import CheckpointRefused, ConfigError, NameTaken, NotWritable, RunnerError
from runner.files import Disk, temporary_beside, write_durably
from runner.loop.evaluate import evaluation_mode
from runner.run_directory.names import is_segment
from runner.text import printable
from runner.wiring.build.objects import trust_of
from runner.wiring.load_model import load_models
from runner.wiring.resume.stored_config import read_config
from runner.wiring.trust.forwards import bounded

Weights = Mapping[str, Any]


_LARGEST = 1 << 24  # elements of a sample


class Form(Enum):
    """The formats of an export, with their file endings."""

    state_dict = ".pt"
    safetensors = ".safetensors"
    module = ".module.pt"


@dataclass(frozen=True)
class Original:
    """One model of the file: its weights, the model if it could be built, a sample input if one is known."""

    weights: Weights
    model: nn.Module | None = None
    sample: Tensor | None = None
    outputs: list[Tensor] | None = None
    """The model's outputs for the sample; None if it takes other inputs."""


def export_command(
    file: str, form: str, output: str | None, *, average: bool, trust: Sequence[str] | None, largest: int
) -> int:
    """Write each model of a file in another form, and keep it only if it reads back equal to the original.

    Safetensors of more than `largest` bytes become several files with an index.

    Raises:
        RunnerError: the file cannot be opened or trusted, lacks what the form needs, or the output exists.
    """
    path, kind = checkpoint_in(Path(file)), Form[form]
    originals = _originals(path, average=average, trust=trust)
    targets = {name: _target(path, output, name if len(originals) > 1 else BARE, kind) for name in originals}
    for name, original in originals.items():
        target, how = _export(original, targets[name], kind, path, largest)
        print(f"{printable(target)}: {'the model' if name == BARE else printable(name)} as {kind.name}, {how}")
    if kind is Form.module:
        print("torch.load(..., weights_only=False) runs the code in a whole module; open only files that you trust")
    return 0


def _originals(path: Path, *, average: bool, trust: Sequence[str] | None) -> dict[str, Original]:
    if trust is not None and holds_code(path):
        print(f"{printable(path)} is a pickled module: opening it runs its code, as --trust allows", file=sys.stderr)
        model = read_module(path)
        return {BARE: Original(model.state_dict(), model)}
    if path.suffix == Form.safetensors.value or path.name.endswith(INDEX) or not _has_config(path):
        return {name: Original(weights) for name, weights in read_source(path).parts.items()}
    entries = read_entries(path)
    models = load_models(path, trust or (), folder=None, average=average)
    sample, node = _sample(entries), read_config(entries["config"], path)["model"]
    with bounded(models, node, trust_of((), trust or (), folder=None, source=path)):
        outputs = {name: None if sample is None else _outputs(model, sample) for name, model in models.items()}
    return {
        BARE if name == "model" else name: Original(model.state_dict(), model, sample, outputs[name])
        for name, model in models.items()
    }


def _has_config(path: Path) -> bool:
    """Return whether a file is of a run, whose config builds the models."""
    try:
        header = read_header(path)
        return header.get("format") == FORMAT and bool(header["config"])
    except CheckpointRefused:  # not a dictionary
        return False


def _sample(entries: Mapping[str, Any]) -> Tensor | None:
    """Return an input in the shape of the run's data, if the file stores it."""
    environment = entries.get("environment")
    facts = environment.get("facts") if isinstance(environment, Mapping) else None
    if not isinstance(facts, Mapping):
        return None
    size = facts.get("image_size")
    image = [facts.get("in_channels"), *size] if isinstance(size, (list, tuple)) else []
    shape = image or [facts.get("in_features")]
    if not all(type(size) is int and size > 0 for size in shape) or math.prod(shape) > _LARGEST:
        return None
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))


def _target(path: Path, output: str | None, name: str, kind: Form) -> Path:
    if name != BARE and not is_segment(name):
        raise CheckpointRefused(f"{path} is refused: its part {name[:100]!r} is not a valid file name")
    chosen = Path(output) if output else path.with_name(f"{path.stem}{kind.value}")
    target = chosen if name == BARE else chosen.with_name(f"{chosen.name.removesuffix(kind.value)}.{name}{kind.value}")
    if target.exists() or target.is_symlink():
        raise NameTaken(f"{target} exists already; name another file with --output")
    if not target.parent.is_dir():
        raise ConfigError(f"{target.parent} is not a folder; make it, or name another file with --output")
    return target


def _export(original: Original, target: Path, kind: Form, path: Path, largest: int) -> tuple[Path, str]:
    """Write one model; return what to name to whoever reads it, and how it was compared."""
    if kind is Form.safetensors and size_of(dict(original.weights)) > largest:
        return _export_indexed(original, target, path, largest)
    write, read = _ways(original, kind, path)
    return target, _kept_if_equal(target, write, lambda written: _compared(original, read(written), path))


def _export_indexed(original: Original, target: Path, path: Path, largest: int) -> tuple[Path, str]:
    """Write several safetensors, then their index."""
    groups = grouped(original.weights, largest)
    stem = target.name.removesuffix(Form.safetensors.value)
    named = dict(zip(file_names(stem, len(groups)), groups, strict=True))
    index = target.with_name(f"{stem}{INDEX}")
    for taken in (target.with_name(name) for name in (*named, index.name)):
        if taken.exists() or taken.is_symlink():
            raise NameTaken(f"{taken} exists already; name another file with --output")
    content = index_of(named)
    try:
        for name, group in named.items():
            part = Original(group)
            write, read = _ways(part, Form.safetensors, path)
            _kept_if_equal(target.with_name(name), write, partial(_read_and_compare, part, read, path))
        return index, _kept_if_equal(
            index, lambda file: file.write(content), partial(_read_and_compare, original, read_indexed, path)
        )
    except BaseException:
        for name in named:
            target.with_name(name).unlink(missing_ok=True)
        raise


def _read_and_compare(part: Original, read: Callable[[Path], Any], path: Path, written: Path) -> str:
    return _compared(part, read(written), path)


def _kept_if_equal(target: Path, write: Callable[[Any], Any], compare: Callable[[Path], str]) -> str:
    """Write a temporary file, compare it, then move it to its name; return how it was compared."""
    temporary, disk = temporary_beside(target), Disk()
    try:
        write_durably(temporary, write, disk)
        how = compare(temporary)
        disk.link(temporary, target)
        disk.unlink(temporary)
        disk.sync_directory(target.parent)
    except OSError as error:
        raise NotWritable(f"{target} could not be written: {error.strerror or error}; name another --output") from error
    finally:
        temporary.unlink(missing_ok=True)
    return how


def _ways(original: Original, kind: Form, path: Path) -> tuple[Callable[[Any], Any], Callable[[Path], Any]]:
    """Return the writer of a form, and its reader in plain PyTorch or safetensors."""
    if kind is Form.safetensors:
        content = safetensors_bytes(original.weights, path)
        return lambda file: file.write(content), read_safetensors_back
    if kind is Form.state_dict:
        return lambda file: write_plain(file, original.weights), read_back
    if original.model is None:
        raise ConfigError(f"{path} holds weights and no model, so it cannot become a module; use --format state_dict")
    return lambda file: write_module(file, original.model), read_module


def _compared(original: Original, found: Any, path: Path) -> str:
    """Return how the copy was compared with the original; raise CheckpointRefused if they differ."""
    model = found if isinstance(found, nn.Module) else None
    weights = found.state_dict() if model is not None else found
    same = not any(differences(dict(original.weights), dict(weights)))
    if same and original.model is not None and original.sample is not None and original.outputs is not None:
        if model is None:
            model = copy.deepcopy(original.model)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.zero_()
            model.load_state_dict(weights)
        if any(differences(original.outputs, _outputs(model, original.sample))):
            raise _changed(path)
        return "with equal outputs on a sample"
    if not same:
        raise _changed(path)
    return "with equal tensors"


def _outputs(model: nn.Module, sample: Tensor) -> list[Tensor] | None:
    """Return the model's outputs for the sample; None if it takes other inputs."""
    try:
        with torch.no_grad(), evaluation_mode({"model": model}):
            result = model(sample)
    except RunnerError:
        raise
    except Exception:  # the user's model takes other inputs than the data
        return None
    tensors = [result] if isinstance(result, Tensor) else [item for item in result if isinstance(item, Tensor)]
    return tensors or None


def _changed(path: Path) -> CheckpointRefused:
    return CheckpointRefused(f"{path} could not be exported: the copy differs when read back; nothing was kept")
