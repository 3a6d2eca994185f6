"""What `task=evaluate` says, by a plain loop over single images."""

import json

import torch
from detection.data import Scenes
from detection.learner import best, hits

import runner

model, found, truths = runner.load("outputs/detection"), [], 0
for image, boxes in Scenes().test:
    with torch.no_grad():
        (scores,), (places,) = best(*model(image[None]))
    found += zip(scores.tolist(), hits(places, boxes).tolist(), strict=True)
    truths += len(boxes)
area, right = 0.0, 0
for number, (_, hit) in enumerate(sorted(found, key=lambda pair: -pair[0]), start=1):
    right += hit
    area += hit * right / number / truths
print(json.dumps({"average_precision": area}))
