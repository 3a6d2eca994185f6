"""How many processes a launcher such as torchrun has started for one run."""

import os

from runner.errors import ConfigError


def check_single_process() -> None:
    """Raise ConfigError in each of several processes that were started for one run: they are not supported yet."""
    size = os.environ.get("WORLD_SIZE", "")
    if "RANK" in os.environ and size.isdecimal() and int(size) > 1:
        raise ConfigError(
            f"WORLD_SIZE={size} says that {size} processes were started for one run, which is not supported yet; start "
            "it without torchrun: strategy=data_parallel uses all GPUs of this machine"
        )
