"""What `task=evaluate` says, by a plain loop."""

import json

import torch
from stream.data import Text
from torch.nn.functional import cross_entropy

import runner

model, test = runner.load("outputs/stream"), Text().test
losses, right = 0.0, 0.0
for inputs, targets in test:
    with torch.no_grad():
        logits = model(inputs[None])[0]
    losses += float(cross_entropy(logits, targets))
    right += float((logits.argmax(1) == targets).double().mean())
print(json.dumps({"loss": losses / len(test), "accuracy": right / len(test)}))
