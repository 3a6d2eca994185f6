"""What `task=evaluate` says, by a plain loop over single lines."""

import json
from pathlib import Path

import torch
import yaml
from bert.data import Lines
from torch.nn.functional import cross_entropy

import runner

files = yaml.safe_load(Path("conf/data/lines.yaml").read_text())
model, data = runner.load("outputs/bert"), Lines(files["train"], files["val"], files["test"])
losses, found, true, both = 0.0, 0, 0, 0
for sample in data.test:
    with torch.no_grad():
        logits = model(torch.tensor([sample["input_ids"]])).logits
    losses += float(cross_entropy(logits, torch.tensor([sample["labels"]])))
    found, true = found + int(logits.argmax()), true + sample["labels"]
    both += int(logits.argmax()) * sample["labels"]
print(json.dumps({"loss": losses / len(data.test), "f1": 2 * both / (found + true)}))
