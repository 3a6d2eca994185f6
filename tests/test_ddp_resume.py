"""A run of several processes goes on in the same bits from a checkpoint, whatever the model, the learner, the guard."""

from pathlib import Path

import pytest

from tests.support.command_line import TINY
from tests.support.comparing import difference, entries_of
from tests.support.fork_server import ForkServer
from tests.support.ranks import run_ranks

PAIR = "{encoder: {_target_: tests.own.together.Encoder}, head: {_target_: tests.own.together.Head}}\n"
TAUGHT = """
student: {_target_: runner.models.Mlp, hidden: [8], dropout: 0.2}
teacher: {_target_: tests.own.distilling.Teacher}
"""
POINTS = (*TINY[3:], "learner._target_=tests.own.learners.StoppableClassification", "scheduler=cosine")
MLP = (*POINTS, "model=mlp", "model.hidden=[8]", "model.dropout=0.3")
NORMED = (*POINTS, "accumulate=1", "model=own", "model._target_=tests.own.ranks.Normed")
IMAGES = (
    "data=synthetic", "data.size=24", "data.shape=[1,16,16]", "batch_size=8", "epochs=2", "log_every=1", "tracker=csv",
)  # fmt: skip
CASES = {
    "stateful learner": (*MLP, "learner._target_=tests.own.learners.Leading"),
    "learner with a parameter": (*MLP, "learner._target_=tests.own.distilling.Tempered"),
    "module as a learner": (*MLP, "learner._target_=tests.own.learners.LeadingModule", "accumulate=1"),
    "batch norm": (*NORMED, "ema.decay=0.9"),
    "several buckets": (*NORMED, "+model.width=1500", "clip_norm=1", "epochs=2"),
    "skipping": (*NORMED, "on_nonfinite=skip", "on_spike=skip"),
    "unfreezing": (*NORMED, "optimizer.freeze=['^layers.0']", "optimizer.unfreeze_at={step: 5}"),
    "in turn": (*POINTS, "--config-dir=mine", "model=pair", "learner._target_=tests.own.together.InTurn"),
    "together": (*POINTS, "--config-dir=mine", "model=pair", "learner._target_=tests.own.together.Together"),
    "frozen": (*POINTS, "--config-dir=mine", "model=taught", "learner._target_=tests.own.distilling.Distilling"),
    "tokens": (*NORMED, "learner._target_=tests.own.ranks.Noting", "max_tokens=60"),
    "plateau": (*NORMED, "scheduler=plateau", "eval_every=2"),
    "data workers": (*NORMED, "data.workers=1"),
    "buffer that is filled": (*POINTS, "model=own", "model._target_=tests.own.changing_state.Filled"),
    "buffer that grows": (*POINTS, "model=own", "model._target_=tests.own.changing_state.Growing"),
    "resnet": (*IMAGES, "model=resnet", "model.depth=8"),
    "gan": (*IMAGES, "experiment=gan_digits", "data=synthetic", "model.generator.latent=4", "learner.latent=4",
            "checkpoint.monitor=val/generator_loss"),
}  # fmt: skip
SAVED = ("checkpoint=every_n_steps", "checkpoint.every_steps=1", "checkpoint.keep_last=100", "device=cpu")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_resume_is_exact(work: Path, process: ForkServer, case: str) -> None:
    (work / "mine/model").mkdir(parents=True)
    for name, text in (("pair", PAIR), ("taught", TAUGHT)):
        (work / f"mine/model/{name}.yaml").write_text(text)
    words = [word for word in (*CASES[case], *SAVED) if not word.startswith("checkpoint.keep") or "100" in word]
    codes, text = run_ranks(process, work, 2, *words, "name=x")
    assert codes == [0, 0], text
    codes, text = run_ranks(process, work, 2, "resume=outputs/x/checkpoints/step_0000000004.tar", "name=y")
    assert codes == [0, 0], text
    one, other = (entries_of(work / f"outputs/{name}/last.tar") for name in ("x", "y"))
    assert one["global_step"] > 5 and "rank_1" in one["ranks_state_dict"]
    assert difference(one, other) is None
