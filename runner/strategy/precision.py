"""Number formats: float32, with or without TF32, bf16, or fp16 with a gradient scaler. https://docs.pytorch.org/docs/stable/amp.html"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_FORMATS = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def set_matmuls(name: str) -> None:
    """Let CUDA multiply float32 matrices in TF32 for "tf32", in float32 for other formats; convolutions do as before.

    https://docs.pytorch.org/docs/stable/notes/cuda.html#tf32-on-ampere
    """
    matmul = torch.backends.cuda.matmul
    if (name == "tf32") != (matmul.fp32_precision == "tf32"):
        matmul.allow_tf32 = name == "tf32"  # unlike `torch.set_float32_matmul_precision`, it leaves CPUs alone


class Precision:
    """Runs forward passes in the chosen format, and scales fp16 gradients so that small ones survive.

    Its state is the scaler's, empty without fp16.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self._format = _FORMATS[name]
        self._device = device.type
        self._scaler = torch.amp.GradScaler(self._device, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context for a forward pass."""
        return nullcontext() if self._format is None else torch.autocast(self._device, dtype=self._format)

    def backward(self, loss: Tensor, share: float) -> None:
        """Add the gradient of `share` times the loss; a share of 1 leaves the loss as it is."""
        scaled: Tensor = self._scaler.scale(loss if share == 1.0 else loss * share)
        scaled.backward()  # type: ignore[no-untyped-call]

    def is_finite(self, optimizer: Optimizer) -> bool:
        """Return whether the optimizer's gradient is finite; True with fp16, whose scaler skips other steps."""
        if self._scaler.is_enabled():
            return True
        return bool(torch.isfinite(nn.utils.get_total_norm(_gradients(optimizer))))

    def step(self, optimizer: Optimizer, *, clip_norm: float | None = None, clip_value: float | None = None) -> None:
        """Update the optimizer's parameters, with the gradient clipped to a total norm, or each element to a size.

        Does nothing with fp16 and without any gradient, as of a frozen model, which the scaler refuses.
        """
        if self._scaler.is_enabled() and not _gradients(optimizer):
            return
        if clip_norm is not None or clip_value is not None:
            self._scaler.unscale_(optimizer)
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, clip_norm)
            if clip_value is not None:
                nn.utils.clip_grad_value_(parameters, clip_value)
        self._scaler.step(optimizer)
        self._scaler.update()  # after each update, so that a learner may update one model twice in a step

    def state_dict(self) -> dict[str, Any]:
        """Return the scaler's state; empty without fp16."""
        return dict(self._scaler.state_dict())

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the scaler's state, ValueError if invalid; an empty one, without fp16, leaves a fresh scaler."""
        if state_dict and self._scaler.is_enabled():
            _check(found := dict(state_dict), self._scaler.state_dict())
            self._scaler.load_state_dict(found)


def _gradients(optimizer: Optimizer) -> list[Tensor]:
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def _check(found: Mapping[str, Any], fresh: Mapping[str, Any]) -> None:
    """Raise ValueError for a state that a scaler with our settings cannot have."""
    scale, count = found.get("scale"), found.get("_growth_tracker")
    fine = type(scale) is float and 0 < scale < math.inf and type(count) is int and 0 <= count < 2**31
    if not fine or found != {**fresh, "scale": scale, "_growth_tracker": count}:
        raise ValueError(f"it is not a state of a scaler: {str(found)[:200]}")
