"""Steps per second of the examples' GPT and BERT, and batches per second of a stream: `python -m tests.bench.projects`.

Each as a ratio: to a plain loop over the same data, collate and model; and to torchdata's StatefulDataLoader with as
many workers (`python -m pip install torchdata`), both asked for their state every 50 batches.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from tests.bench.loop import REPOSITORY, TIMED, _python

ROUNDS, STEPS, BATCHES = 5, {"gpt": 150, "bert": 400}, 600
SIZES = {"gpt": ["model.width=64", "model.depth=2"], "bert": ["model.config.hidden_size=128"]}
FILES = ["abc.py", "bisect.py", "fnmatch.py", "glob.py", "queue.py", "sched.py", "string.py", "types.py"]


def ours(kind: str, work: str) -> float:
    """Return the seconds per step of `run.py` on an example."""
    folder = f"{REPOSITORY}/docs/examples/{kind}"
    words = ["--config-dir", f"{folder}/conf", f"experiment={kind}", *SIZES[kind], f"max_steps={STEPS[kind]}"]
    words += ["eval_every=100000", "device=cpu"]
    text = _python(
        ["-c", f"import sys; sys.path.insert(0, {folder!r})\n" + TIMED.format(last=STEPS[kind], words=words)], work
    )
    return float(text.split("seconds per step ")[1].split()[0])


def plain(kind: str) -> float:
    """Return the seconds per step of a plain loop on an example, logging to TensorBoard every 50 steps."""
    from torch.utils.tensorboard import SummaryWriter

    sys.path.insert(0, f"{REPOSITORY}/docs/examples/{kind}")
    torch.manual_seed(0)
    data, collate, model = gpt() if kind == "gpt" else bert()
    decayed = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.003)
    scheduler = LambdaLR(optimizer, lambda step: max(0.0, 1 - step / STEPS[kind]))
    loader = DataLoader(data, batch_size=32, shuffle=True, collate_fn=collate)
    writer = SummaryWriter("outputs/plain")  # type: ignore[no-untyped-call]
    step, total, began = 0, 0.0, 0.0
    while True:
        for batch in loader:
            began = time.perf_counter() if step == 10 else began
            optimizer.zero_grad()
            loss = loss_of(model, batch)
            loss.backward()
            clip_grad_norm_(model.parameters(), 1)
            optimizer.step()
            scheduler.step()
            total += loss.item()
            step += 1
            if step % 50 == 0:
                writer.add_scalar("train/loss", total / 50, step)  # type: ignore[no-untyped-call]
                total = 0.0
            if step == STEPS[kind]:
                return (time.perf_counter() - began) / (step - 10)


def gpt() -> tuple[Any, Any, Any]:
    """Return the GPT's data, its collate (torch's own), and the model."""
    from gpt.data import Blocks
    from gpt.model import Gpt

    return Blocks(FILES, 64), None, Gpt(256, 64, width=64, depth=2)


def bert() -> tuple[Any, Any, Any]:
    """Return BERT's data, its collate, and the model."""
    from bert.data import Lines
    from transformers import AutoModelForSequenceClassification, BertConfig

    data, sizes = Lines(FILES, FILES[:1], FILES[:1]), {"hidden_size": 128, "intermediate_size": 128}
    config = BertConfig(vocab_size=500, num_hidden_layers=2, num_attention_heads=2, num_labels=2, **sizes)
    return data.train, data.collate, AutoModelForSequenceClassification.from_config(config)


def loss_of(model: Any, batch: Any) -> Any:
    """Return the mean loss of a batch."""
    if not isinstance(batch, list):
        return model(**batch).loss
    losses = torch.nn.functional.cross_entropy(model(batch[0]).transpose(1, 2), batch[1], reduction="sum")
    return losses / (batch[1] >= 0).sum()


class Numbers(IterableDataset[torch.Tensor]):
    """Vectors of 1024 numbers without an end."""

    def __init__(self) -> None:
        self.place = 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        info = get_worker_info()
        while True:
            self.place += 1
            yield torch.full((1024,), float(self.place + (info.id if info else 0)))

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = state["place"]


def our_stream() -> float:
    """Return the batches per second of our loader."""
    from runner.data.loaders.delivery import Loading
    from runner.data.streams.loading import StreamLoader

    loader = StreamLoader(Numbers(), Loading(32, workers=2), seed=0)
    position = loader.position()
    return _rate(loader.batches(position, epoch=0), position.advance, position.state_dict)


def their_stream() -> float:
    """Return the batches per second of torchdata's loader."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    loader = StatefulDataLoader(Numbers(), batch_size=32, num_workers=2)
    return _rate(iter(loader), lambda batch: None, loader.state_dict)


def _rate(batches: Iterator[Any], advance: Any, state: Any) -> float:
    began = 0.0
    for number, batch in enumerate(islice(batches, BATCHES + 10)):
        began = time.perf_counter() if number == 10 else began
        advance(batch)
        if number % 50 == 0:
            state()
    return BATCHES / (time.perf_counter() - began)


def main() -> None:
    """Measure and print each ratio."""
    with tempfile.TemporaryDirectory() as work:
        for kind in STEPS:
            pairs = [(ours(kind, work), _called("plain", kind, work)) for _ in range(ROUNDS)]
            mine, others = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"{kind}: ours {mine * 1e3:.2f} ms a step, plain {others * 1e3:.2f}: speed {others / mine:.3f}")
        pairs = [(_called("our_stream", "", work), _called("their_stream", "", work)) for _ in range(ROUNDS)]
        mine, others = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"stream: ours {mine:.0f} batches/s, StatefulDataLoader {others:.0f}: speed {mine / others:.2f}")


def _called(function: str, kind: str, work: str) -> float:
    call = f"print(projects.{function}({kind and repr(kind)}))"
    code = f"import torch; torch.set_num_threads(1)\nfrom tests.bench import projects\n{call}"
    return float(_python(["-c", code], work).split()[-1])


if __name__ == "__main__":
    main()
