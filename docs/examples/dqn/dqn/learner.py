"""Q-learning with a replay memory and a target network. https://arxiv.org/abs/1312.5602"""

import torch
from torch import nn
from torch.nn.functional import smooth_l1_loss

from dqn.poles import moved


class Dqn(nn.Module):
    """Each step moves all poles once, and learns from moves of the past; its buffers are in the checkpoint."""

    metrics = ("score",)  # moves until the pole falls, at most 200
    models = ("q", "target")
    frozen = ("target",)

    def __init__(self, poles=32, memory=20_000, discount=0.98, refresh=25, explore=400):
        super().__init__()
        self.register_buffer("poles", torch.zeros(poles, 4))
        self.register_buffer("memory", torch.zeros(memory, 10))
        self.discount, self.refresh, self.explore = discount, refresh, explore

    def updates(self, step):
        self.step = step
        return ("q",)

    def training(self, models, name, batch):
        self.play(models, batch[0])
        count = min(len(self.memory), (self.step + 1) * len(self.poles))
        before, action, after, stands = self.memory[torch.randint(count, (128,))].split((4, 1, 4, 1), 1)
        with torch.no_grad():
            future = models["target"](after).max(1, keepdim=True).values
            wanted = stands * (1 - self.discount + self.discount * future)
        return {"loss": smooth_l1_loss(models["q"](before).gather(1, action.long()), wanted)}

    @torch.no_grad()
    def play(self, models, starts):
        """Move each pole, remember the moves, and begin again with those that fell."""
        if self.step % self.refresh == 0:
            for old, new in zip(models["target"].parameters(), models["q"].parameters(), strict=True):
                old.copy_(new)
        chance = torch.rand(len(self.poles), device=starts.device)
        best, other = models["q"](self.poles).argmax(1), torch.randint(2, chance.shape, device=starts.device)
        action = torch.where(chance < max(0.05, 1 - self.step / self.explore), other, best)
        after, stands = moved(self.poles, action)
        moves = torch.cat((self.poles, action[:, None], after, stands[:, None]), 1)
        self.memory = torch.cat((moves, self.memory))[: len(self.memory)]
        fresh = starts[torch.arange(len(self.poles)) % len(starts)]
        self.poles = torch.where(stands[:, None], after, fresh)

    def evaluation(self, models, batch):
        (state,), stands, score = batch, True, 0
        for _ in range(200):
            state, still = moved(state, models["q"](state).argmax(1))
            stands = still & stands
            score = score + stands.float()
        return {"score": score}

    def prediction(self, models, batch):
        return {"action": models["q"](batch[0]).argmax(1)}
