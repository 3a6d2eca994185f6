"""What `task=evaluate` says, by a plain loop over single images."""

import json

import torch
from moco.data import DigitViews

import runner

encoder, test, right = runner.load("outputs/moco")["encoder"], DigitViews().test, 0
with torch.no_grad():
    features = [encoder(image[None])[0] for image, _ in test]
for one, (_, label) in enumerate(test):
    others = [(float(features[one] @ features[other]), other) for other in range(len(test)) if other != one]
    right += int(test[max(others)[1]][1] == label)
print(json.dumps({"neighbour_accuracy": right / len(test)}))
