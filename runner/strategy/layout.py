"""Memory formats of models; names, shapes and values stay as they are."""

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def to_channels_last(model: nn.Module) -> None:
    """Put a model's parameters and buffers of 4 dimensions into `torch.channels_last` memory format, in place.

    https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html
    """
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    for tensor in (
        one for one in tensors if not is_lazy(one) and one.dim() == 4
    ):  # `nn.Module.to` refuses a model with 5 dimensions
        tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
