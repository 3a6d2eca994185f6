"""The cost of the forward passes of a file's model, counted in advance on the `meta` device."""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from runner.errors import TargetRefused
from runner.loop.evaluate import evaluation_mode
from runner.wiring.trust.budget import Budget, too_much
from runner.wiring.trust.built_in import ROOTS
from runner.wiring.trust.targets import Trust, target_names


@contextmanager
def bounded(
    models: Mapping[str, nn.Module], node: Mapping[str, Any], trust: Trust, twins: Mapping[str, nn.Module] | None = None
) -> Iterator[None]:
    """Refuse, in this context, forward passes that take far more than an ordinary model of the file's size.

    `node` is the config's `model`. The user's own code and typed names are trusted. A model that is divided over
    processes is counted by its twin of the same name.

    Raises:
        TargetRefused: before the pass takes memory or time.
    """
    budget, names = trust.budget, sorted(target_names(node))
    own = any(name.split(".")[0] not in ROOTS for name in names)
    with ExitStack() as stack:
        if isinstance(budget, Budget) and names and not own and not any(map(budget.passes, names)):
            for name, model in models.items():
                hook = _Counted(budget.size, too_much(names[0], "model"), (twins or {}).get(name))
                stack.callback(model.register_forward_pre_hook(hook).remove)
        yield


class _Counted:
    """A forward pre-hook that tries each new shape of inputs on `meta`."""

    def __init__(self, size: int, refusal: TargetRefused, twin: nn.Module | None) -> None:
        self._size, self._refusal, self._twin = size, refusal, twin
        self._known: set[Any] = set()

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        form = (torch.is_grad_enabled(), *(tensor.shape for tensor in tensors))
        if form in self._known or any(tensor.is_meta for tensor in tensors):
            return
        self._known.add(form)
        counting = _Counting(
            self._refusal,
            largest=2**28 + 64 * self._size + 500 * sum(tensor.nbytes for tensor in tensors),
            whole=2**31 + 256 * self._size + 5000 * sum(tensor.nbytes for tensor in tensors),
            work=2 * 10**11 + 2 * self._size * sum(tensor.numel() for tensor in tensors),
        )
        module = module if self._twin is None else self._twin
        state = {name: value.to("meta") for name, value in (*module.named_parameters(), *module.named_buffers())}
        there = [value.to("meta") if isinstance(value, Tensor) else value for value in inputs]
        try:
            with torch.no_grad(), evaluation_mode({"model": module}), counting:
                torch.func.functional_call(module, state, tuple(there))
        except TargetRefused:
            raise
        except Exception as error:
            if isinstance(error, NotImplementedError) and "'Meta'" in str(error):  # its cost is unknown
                raise self._refusal from None
            return  # such as wrong inputs, which the pass itself reports
        if torch.is_grad_enabled():
            counting.check_whole()


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts bytes and operations, and refuses what exceeds the limits."""

    def __init__(self, refusal: TargetRefused, *, largest: int, whole: int, work: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._refusal, self._largest, self._whole, self._work = refusal, largest, whole, work

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [one for one in (result if isinstance(result, (tuple, list)) else [result]) if isinstance(one, Tensor)]
        if func.is_view or not made:
            return result
        size = sum(one.numel() * one.element_size() for one in made)
        self._whole -= size
        self._work -= _operations(func, args, kwargs or {}, result, made)
        if size > self._largest or self._work < 0:
            raise self._refusal
        return result

    def check_whole(self) -> None:
        """Raise the refusal if gradients would keep more bytes than allowed."""
        if self._whole < 0:
            raise self._refusal


def _operations(func: Any, args: Any, kwargs: Any, result: Any, made: list[Tensor]) -> int:
    """Return roughly how many multiplications an operator makes; a moving window counts its size per output."""
    if count := flop_registry.get(func.overloadpacket):
        return int(count(*args, **kwargs, out_val=result))
    taken = sum(arg.numel() for arg in args if isinstance(arg, Tensor))
    outputs = sum(one.numel() for one in made)
    if "pool" not in func.name():
        return taken + outputs
    if "adaptive" in func.name():
        return taken + 2 * outputs
    window = next((arg for arg in args if isinstance(arg, (list, tuple))), ())
    return taken + outputs * math.prod(window)
