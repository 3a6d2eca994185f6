"""What `task=evaluate` says, by a plain loop."""

import json

import torch
from dqn.poles import Starts, moved
from torch.utils.data import DataLoader

import runner

q, scores = runner.load("outputs/dqn")["q"], []
for (state,) in DataLoader(Starts().test, batch_size=32):
    standing = [True] * len(state)
    for _ in range(200):
        with torch.no_grad():
            state, stands = moved(state, q(state).argmax(1))
        standing = [one and bool(other) for one, other in zip(standing, stands, strict=True)]
        scores += standing
print(json.dumps({"score": sum(scores) / len(Starts().test)}))
