"""What `task=evaluate` says, by a plain loop."""

import json
from math import exp

import torch
from gpt.data import Blocks
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import runner

model, total, count = runner.load("outputs/gpt"), 0.0, 0
with torch.no_grad():
    for inputs, targets in DataLoader(Blocks(["heapq.py"], 64), batch_size=50):
        total += float(cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum"))
        count += int((targets >= 0).sum())
print(json.dumps({"loss": total / count, "perplexity": exp(total / count)}))
