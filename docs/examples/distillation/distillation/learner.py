"""Distillation: a student learns what a teacher says. https://arxiv.org/abs/1503.02531"""

from torch.nn.functional import cross_entropy, kl_div

from runner.learners import Classification


class Distillation(Classification):
    """As a classification of the student, with softened targets from the teacher."""

    models = ("student", "teacher")
    frozen = ("teacher",)

    def __init__(self, temperature=4.0, share=0.9):
        super().__init__()
        self.temperature, self.share = temperature, share

    def updates(self, step):
        return ("student",)

    def training(self, models, name, batch):
        inputs, targets = batch
        logits, taught = models["student"](inputs), models["teacher"](inputs)
        soft, wanted = ((values / self.temperature).log_softmax(1) for values in (logits, taught))
        distance = kl_div(soft, wanted, reduction="batchmean", log_target=True) * self.temperature**2
        return {"loss": self.share * distance + (1 - self.share) * cross_entropy(logits, targets)}

    def evaluation(self, models, batch):
        return super().evaluation({"model": models["student"]}, batch)

    def prediction(self, models, batch):
        return super().prediction({"model": models["student"]}, batch)
