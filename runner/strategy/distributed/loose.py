"""Gradients of parameters that no model exchanges, such as a learner's own temperature."""

from typing import Any

import torch
import torch.distributed as dist
from torch.optim import Optimizer

from runner.strategy.distributed.group import in_time
from runner.strategy.strategies import Models


def average_loose(optimizer: Optimizer, models: Models, group: Any) -> None:
    """Average, over the processes, the gradients of an optimizer's parameters that are in none of the models."""
    of_models = {id(parameter) for model in models.values() for parameter in model.parameters()}
    for settings in optimizer.param_groups:
        for parameter in settings["params"]:
            if parameter.requires_grad and id(parameter) not in of_models:
                if parameter.grad is None:  # in other processes it may have one
                    parameter.grad = torch.zeros_like(parameter)
                with in_time():
                    dist.all_reduce(parameter.grad, group=group)
                parameter.grad /= dist.get_world_size(group)
