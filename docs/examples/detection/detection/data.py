"""Images (1, 32, 32) with up to three bright rectangles, and their boxes (n, 4): left, top, right, bottom."""

import random

import torch


def drawn(count, seed):
    chance = random.Random(seed)
    for _ in range(count):
        image, boxes = torch.tensor([chance.random() for _ in range(32 * 32)]).view(1, 32, 32) / 3, []
        for _ in range(chance.randint(0, 3)):
            left, top, width, height = *chance.choices(range(23), k=2), *chance.choices(range(6, 11), k=2)
            image[:, top : top + height, left : left + width] += 0.5 + chance.random() / 2
            boxes.append([left, top, left + width, top + height])
        yield image, torch.tensor(boxes).float().view(-1, 4)


class Transposed(list):
    def __getitem__(self, index):
        image, boxes = super().__getitem__(index)
        return (image.mT, boxes[:, [1, 0, 3, 2]]) if random.random() < 0.5 else (image, boxes)


class Scenes:
    in_channels = 1

    def __init__(self, count=512):
        self.train, self.val, self.test = Transposed(drawn(count, 1)), list(drawn(64, 2)), list(drawn(64, 3))

    def collate(self, samples):
        images, boxes = zip(*samples, strict=True)
        return {"images": torch.stack(images), "boxes": list(boxes)}
