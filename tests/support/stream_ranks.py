"""A rank of several that read one stream, without a run: writes what it was given in each step as `rank_N.json`."""

import json
import os
from pathlib import Path
from typing import Any

from runner.data.loaders.batches import Batch
from runner.data.loaders.delivery import Loading
from runner.data.streams.loading import StreamEvaluation, StreamLoader
from runner.strategy.processes import launched
from tests.own.streams import STREAMS, Numbers
from tests.support.comparing import difference


def content(batch: Batch) -> dict[str, Any]:
    """Return what a step has here: each micro-batch with its number of samples, and those elsewhere."""
    return {"parts": batch.parts, "counts": batch.counts, "elsewhere": batch.elsewhere, "ends": batch.ends_epoch}


def trained(make: Any, steps: int) -> list[Any]:
    """Return the steps from the beginning; assert that from each one on a restored loader gives the same."""
    loader = make()
    position, epoch, states, whole = loader.position(), 0, [], []
    batches = loader.batches(position, epoch=0)
    for _ in range(steps):
        states.append((epoch, position.state_dict()))
        batch = next(batches)
        whole.append(content(batch))
        epoch += position.advance(batch)
    for step, (epoch, state) in list(enumerate(states))[:: 1 + 2 * loader.loading.workers]:
        loader = make()
        position = loader.position()
        position.load_state_dict(state)
        batches = loader.batches(position, epoch=epoch)
        rest = [content(next(batches)) for _ in range(steps - step)]
        assert difference(rest, whole[step:]) is None, step
    return whole


def main() -> None:
    """Do what the variable READ says as JSON: a stream, its batches, and how many steps; none evaluates it twice."""
    asked = json.loads(os.environ["READ"])
    with launched() as processes:
        loading = Loading(asked["batch_size"], workers=asked["workers"], everyone=processes)
        sizes, kind = asked.get("sizes"), asked.get("kind")

        def stream() -> Any:
            return STREAMS[kind]() if kind else Numbers(sizes)

        def loader() -> StreamLoader:
            return StreamLoader(stream(), loading, seed=3, accumulate=asked.get("accumulate", 1))

        if asked.get("steps"):
            found = trained(loader, asked["steps"])
        else:
            evaluation = StreamEvaluation(stream(), loading)
            found, again = ([content(batch) for batch in evaluation] for _ in range(2))
            assert difference(found, again) is None
        text = json.dumps(found, default=lambda tensor: tensor.tolist())
        Path(f"rank_{processes.rank}.json").write_text(text if not kind else "[]")


if __name__ == "__main__":
    main()
