"""Examples of a policy and of a dense output, trained here: their maps rest on what is known to decide."""

import numpy as np
import pytest
from torch import nn

import vlx
from examples import dense, policy
from examples.fitting import centre, inside, right
from vlx.tasks.beyond import Dense, Policy


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return policy.trained()


def test_a_policy_that_catches_looks_at_ball_and_paddle(net: nn.Module) -> None:
    assert right(net, policy.batch) > 0.85
    task = Policy(net, "3", policy.ACTIONS, frames=policy.FRAMES)
    for method in ("layercam", "gradcam"):
        found = policy.measured(task, method=method)
        assert found["on ball and paddle"] > 2 * max(found["by chance"], found["at the centre"]), method
    untrained = Policy(policy.trained(steps=1), "3", policy.ACTIONS, frames=policy.FRAMES)
    assert policy.measured(untrained)["on ball and paddle"] < 0.6  # the map is the network's, not the picture's


def test_what_the_policy_sees_is_owed_to_all_frames(net: nn.Module) -> None:
    """The ball's way is in the earlier frames: another past makes another action, of the same last frame."""
    task, rng = Policy(net, "3", policy.ACTIONS, frames=policy.FRAMES), np.random.default_rng(4)
    changed = 0
    for _ in range(12):
        frames, _, _ = policy.play(rng)
        still = np.repeat(frames[-1:], policy.FRAMES, 0)
        texts = [
            vlx.explain(now, now.picture, seen=False, check=False).text for now in map(task.seeing, (frames, still))
        ]
        changed += texts[0] != texts[1]
    assert changed


def test_a_dense_output_rests_on_the_region_that_is_asked_about() -> None:
    net = dense.trained()
    assert right(net, dense.batch, 64) > 0.9
    task = Dense(net, "far", dense.KINDS, dense.prepare)
    for method in ("layercam", "gradcam"):
        found = dense.measured(task, method=method)
        assert found["on the square"] > 4 * max(found["by chance"], found["at the centre"]), method
        assert found["on the square"] > 4 * found["on the disc"], method


def test_shares_of_a_map_are_counted_by_hand() -> None:
    heat, truth = np.array([[1, 0], [2, 1]], np.float32), np.array([[True, False], [True, False]])
    assert np.allclose(inside(heat, truth), (0.75, 0.5))
    assert centre((5, 5)).argmax() == 12
