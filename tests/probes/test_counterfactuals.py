"""What speaks against it: of two things side by side the other one, and only where its removal raises the score."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import vlx
from tests.explanation.test_map_check import colours, squares
from tests.fakes import picture
from tests.patchy import Meeting, Patchy
from vlx.methods.attention import ATTENTION_METHODS
from vlx.methods.cams import METHODS, layercam
from vlx.methods.hiding import OCCLUSION
from vlx.report import wording

LEFT, RIGHT = np.s_[40:80, 8:48], np.s_[40:80, 72:112]


def share(values: NDArray[np.float32], place: tuple[slice, ...]) -> float:
    return float(values[place].sum() / values.sum())


@pytest.mark.parametrize("method", [*METHODS, OCCLUSION.name])
def test_of_two_things_side_by_side_the_other_one_speaks_against(method: str) -> None:
    for first, second, place in ((0, 1, RIGHT), (1, 0, LEFT)):
        names = ("red", "green")
        why = vlx.explain(
            colours(),
            squares(0, 1),
            answer=names[first],
            instead_of=names[second],
            method=method,
            target="margin",
            seen=False,
        )
        word = why[0]
        wide = tuple(slice(side.start - 8, side.stop + 8) for side in place)  # cells are 8 pixels wide, parts 16
        assert share(word.against, wide) >= 0.9
        assert share(word.heatmap, wide) <= 0.1
        assert word.against_method == {"layercam": "hirescam", "gradcam++": "gradcam"}.get(method, method)
        assert word.counterfactual
        assert word.against_check is not None
        assert word.against_check.fall > 1


def test_the_rectified_map_of_the_negated_score_would_fail() -> None:
    """What was called a counterfactual: LayerCAM of −score, the same active cells again."""
    import torch

    A = torch.zeros(1, 2, 4, 4)
    A[0, 0, :, :2], A[0, 1, :, 2:] = 1, 1
    G = torch.tensor([1.0, -1.0])[None, :, None, None].expand_as(A).clone()
    G[0, 0] += 0.5 * torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).sign() * 3
    rectified, own = layercam(A, -G)[0], -METHODS["hirescam"].map(A, G)[0].clamp(max=0)
    assert float(rectified[:, :2].sum()) > 0
    assert (METHODS["layercam"].against, METHODS["gradcam++"].against) == ("hirescam", "gradcam")
    assert own.shape == rectified.shape


def test_it_is_called_a_counterfactual_only_where_its_trial_says_so() -> None:
    why = vlx.explain(colours(), squares(0, 1), answer="red", method="layercam", target="logprob", seen=False)
    word = why[0]
    assert word.counterfactual
    assert wording.meaning(word, "against").endswith(", by hirescam: the counterfactual.")
    untried = replace(word, against_check=None)
    assert wording.meaning(untried, "against").endswith(", by hirescam; not tried.")
    assert word.against_check is not None
    failed = replace(word, against_check=replace(word.against_check, verdict="not confirmed"))
    said = wording.meaning(failed, "against")
    assert said.endswith("not shown to be a counterfactual: random ones do as much when removed.")
    open_ = replace(word, against_check=replace(word.against_check, verdict="cannot be tested", reason="why not"))
    assert wording.meaning(open_, "against").endswith("not shown to be a counterfactual: cannot be tested (why not).")
    assert not any(replace(word, against_check=one.against_check).counterfactual for one in (untried, failed, open_))


def test_nothing_against_is_no_counterfactual() -> None:
    why = vlx.explain(colours(), squares(0), answer="red", method="layercam", target="logit", seen=False)
    check = why[0].against_check
    assert check is not None
    assert not why[0].against.any()
    assert str(check) == "cannot be tested: nothing in the map speaks against it"
    assert not why[0].counterfactual


def test_what_speaks_against_attention_is_by_hirescam_at_the_same_features() -> None:
    for task, question in ((Patchy(), None), (Meeting(), "what color is it")):
        why, linear = (
            vlx.explain(task, picture(), method=name, question=question) for name in ("gradattention", "hirescam")
        )
        for word, other in zip(why, linear, strict=True):
            assert word.against_method == "hirescam"
            assert np.allclose(word.opposed, -other.signed, atol=1e-6)
            assert not np.allclose(word.signed, other.signed)
    assert {method.against for method in ATTENTION_METHODS.values()} == {"hirescam"}
