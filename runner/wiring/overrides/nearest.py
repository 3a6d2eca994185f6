"""What an unknown key may have meant: the same ending, a similar spelling, or another program's name for it."""

import ast
import difflib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from runner.wiring.overrides.options import GROUPS, known_keys, options

# Other programs' names for our keys; with `=`, a whole override.
_SYNONYMS = {
    "accelerator": "device",
    "accumulate_grad_batches": "accumulate",
    "activation_checkpointing": "device.checkpoint_activations=[Block]",
    "aim": "tracker",
    "amp": "device.precision=bf16",
    "arch": "model",
    "architecture": "model",
    "auto_find_batch_size": "micro_batch_size=auto",
    "auto_scale_batch_size": "micro_batch_size=auto",
    "bf16": "device.precision=bf16",
    "bs": "batch_size",
    "checkpoint_dir": "name",
    "ckpt": "checkpoint_path",
    "ckpt_path": "checkpoint_path",
    "clearml": "tracker",
    "comet": "tracker",
    "criterion": "learner",
    "cuda": "device=cuda",
    "dataset": "data",
    "default_root_dir": "name",
    "devices": "device.index",
    "early_stop": "early_stopping.patience",
    "eval_steps": "eval_every",
    "exp_name": "name",
    "experiment_name": "name",
    "fast_dev_run": "debug=one_batch",
    "fp16": "device.precision=fp16",
    "gpu": "device.index",
    "gpus": "device=cuda",
    "grad_accum": "accumulate",
    "grad_clip": "clip_norm",
    "gradient_accumulation_steps": "accumulate",
    "gradient_checkpointing": "device.checkpoint_activations=[Block]",
    "gradient_clip_val": "clip_norm",
    "learning_rate": "optimizer.lr",
    "limit_train_batches": "debug.limit_train",
    "limit_val_batches": "debug.limit_eval",
    "log_dir": "name",
    "log_every_n_steps": "log_every",
    "logger": "tracker",
    "logging_steps": "log_every",
    "lr_scheduler": "scheduler",
    "max_duration": "epochs",
    "max_epochs": "epochs",
    "max_grad_norm": "clip_norm",
    "mlflow": "tracker",
    "neptune": "tracker",
    "net": "model",
    "network": "model",
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "opt": "optimizer",
    "optim": "optimizer",
    "output_dir": "name",
    "overfit_batches": "debug=overfit",
    "per_device_train_batch_size": "batch_size",
    "pretrained": "warm_start.path",
    "resume_from": "resume",
    "resume_from_checkpoint": "resume",
    "run_name": "name",
    "save_every": "checkpoint.every_steps",
    "save_steps": "checkpoint.every_steps",
    "save_top_k": "checkpoint.keep_best",
    "save_total_limit": "checkpoint.keep_last",
    "steps": "max_steps",
    "sched": "scheduler",
    "tf32": "device.precision=tf32",
    "torch_compile": "device.compile",
    "val_check_interval": "eval_every",
    "warmup_steps": "scheduler.warmup",
    "wandb": "tracker",
    "wd": "optimizer.weight_decay",
    "weights": "warm_start.path",
}

_OF_SEVERAL = ("none", "own", "auto")
"""Options that several groups have."""


def nearest(key: str) -> list[str]:
    """Return the keys, groups and whole overrides that `key` may mean, the likeliest first."""
    asked = key.lower().replace("-", "_").replace("/", ".")
    parent, _, last = asked.rpartition(".")
    known = [*GROUPS, *known_keys()]
    found = [_SYNONYMS[name] for name in (asked, last) if name in _SYNONYMS]
    found += sorted((name for name in known if _last(name) == last), key=lambda name: _unlike(name, asked))
    beside = {_last(name): name for name in known if name.rpartition(".")[0] == parent}
    found += [beside[end] for end in difflib.get_close_matches(last, beside, cutoff=0.65)]
    found += difflib.get_close_matches(asked, known, cutoff=0.85)
    anywhere = {_last(name): name for name in reversed(known)}
    found += [anywhere[end] for end in difflib.get_close_matches(last, anywhere, cutoff=0.7)]
    found += [name for name in known if name.replace("_", "") == asked]
    found += [f"{group}={last}" for group in GROUPS if last in options(group) and last not in _OF_SEVERAL]
    return list(dict.fromkeys(found))


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def nearest_option(option: str, known: list[str]) -> str | None:
    """Return the option of a group that `option` may mean, if any."""
    plain = {name.replace("_", ""): name for name in known}
    found = difflib.get_close_matches(option.lower().replace("_", "").replace("-", ""), plain, n=1)
    return plain[found[0]] if found else None


def _unlike(name: str, asked: str) -> float:
    return -difflib.SequenceMatcher(None, name, asked).ratio()


@lru_cache
def parameters(name: str) -> list[str]:
    """Return the parameters of a torch optimizer, read from its source, since torch is not imported here."""
    package, _, kind = name.rpartition(".")
    spec = find_spec("torch") if package == "torch.optim" else None
    path = Path(spec.origin).with_name("optim") / f"{kind.lower()}.py" if spec and spec.origin else None
    if path is None or not path.is_file():
        return []
    classes = [one for one in ast.parse(path.read_text(encoding="utf-8")).body if getattr(one, "name", "") == kind]
    made = [one for cls in classes for one in ast.walk(cls) if getattr(one, "name", "") == "__init__"]
    arguments = [one.args for one in made if isinstance(one, ast.FunctionDef)]
    return [one.arg for each in arguments for one in (*each.args[2:], *each.kwonlyargs)]
