"""What `task=evaluate` says, by a plain loop."""

import json

import torch
from torch.nn.functional import cross_entropy

import runner
from runner.data import Digits

model, test = runner.load("outputs/vit"), Digits().test
losses, right = 0.0, 0
for image, label in test:
    with torch.no_grad():
        logits = model(image[None])
    losses += float(cross_entropy(logits, label[None]))
    right += int(logits.argmax() == label)
print(json.dumps({"loss": losses / len(test), "accuracy": right / len(test)}))
