from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vlx
from tests.fakes import (
    CELLS,
    UNITS,
    VOCABULARY,
    Blind,
    TinyCnn,
    alike,
    captioner,
    decoder,
    picture,
    prepare,
    slow_gradient,
    slow_score,
)
from vlx.errors import ModelError
from vlx.methods.cams import METHODS
from vlx.pictures.edits import made_of
from vlx.pipeline.assemble import UNUSED
from vlx.protocol.targets import Target, Term
from vlx.protocol.task import Defaults
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.shared.scene_models import Preparation

TEXT = "a red dog on grass"
TOKENS = (3, 4, 6, 8, 9)


# Against the slow way, straight from the decoder


@pytest.mark.parametrize("target", ["logprob", "logit", "prob", "margin"])
@pytest.mark.parametrize("kind", ["first", "state", "attention"])
def test_every_word_has_the_map_of_its_own_gradient(kind: str, target: Any) -> None:
    task = captioner(kind, torch.float64)
    A = task.features(task.place(prepare(picture())[None])).A
    for caption in (TEXT, None):
        why = vlx.explain(task, picture(), caption=caption, target=target, method="gradcam")
        tokens = tuple(VOCABULARY.index(word.label) for word in why)
        assert tokens
        for step, word in enumerate(why):
            terms = [Term(step, tokens[step])]
            if target == "margin":
                rival = next(label for label, _ in word.alternatives if label != word.label)
                terms.append(Term(step, VOCABULARY.index(rival), -1.0))
            asked = Target(0, "", tuple(terms), target, tokens)
            G = slow_gradient(task, A, asked)
            alpha = G.mean((1, 2))
            assert word.target == target
            assert word.score == pytest.approx(float(slow_score(task, A, asked).detach()), abs=1e-9)
            assert word.weights == pytest.approx(alpha.numpy(), abs=1e-12)
            signed = sum(alpha[k] * A[0, k] for k in range(UNITS))
            assert np.allclose(word.signed, cast(Tensor, signed).numpy(), atol=1e-12)
            assert np.allclose(word.opposed, -word.signed)
            plain = replace(asked, terms=asked.terms[:1], kind="logprob")
            assert word.logprob == pytest.approx(float(slow_score(task, A, plain).detach()), abs=1e-6)
            assert word.alternatives[0][1] == max(value for _, value in word.alternatives)


@pytest.mark.parametrize("target", ["logprob", "logit", "prob", "margin"])
def test_seen_is_the_bounded_difference_to_each_reference(target: str) -> None:
    task = captioner("attention", torch.float64)
    shown, own = picture(3, 45, 33), [picture(7, 45, 33), picture(8, 60, 30)]
    for references, pictures in ((None, made_of(shown)), (own, {"a": own[0], "b": own[1]})):
        A = task.features(task.place(prepare(shown)[None])).A
        others = [task.features(task.place(prepare(image)[None])).A for image in pictures.values()]
        why = vlx.explain(task, shown, caption=TEXT, target=target, references=references)
        room, sums = np.log(len(VOCABULARY)), np.zeros(len(others))
        for step, word in enumerate(why):
            asked = Target(0, "", (Term(step, TOKENS[step]),), "logprob", TOKENS)
            there, *gone = (float(slow_score(task, one, asked).detach()) for one in (A, *others))
            by = [max(there, -room) - max(other, -room) for other in gone]
            sums += by
            assert list(word.seen_by.values()) == pytest.approx(by, abs=1e-5)
            assert word.seen == pytest.approx(np.mean(by), abs=1e-5)
            assert word.looked == pytest.approx(np.mean([min(abs(there - other), 1) for other in gone]), abs=1e-5)
            assert references is not None or list(word.seen_by) == list(pictures)
        assert np.abs(sums).max() > 0.01
        assert list(why.sentence.seen_by.values()) == pytest.approx(sums, abs=1e-5)
        assert why.sentence.seen == pytest.approx(sums.mean(), abs=1e-5)


def test_seen_is_zero_for_a_model_that_does_not_look() -> None:
    torch.manual_seed(0)
    why = vlx.explain(captioner(cast(Any, Blind())), picture(), caption=TEXT)
    assert [word.seen for word in why] == pytest.approx([0.0] * 5, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_sentence_is_the_whole_caption_as_one_target(method: str) -> None:
    task = captioner("attention", torch.float64)
    for target in ("logprob", "logit"):
        why = vlx.explain(task, picture(), caption=TEXT, method=method, target=target)
        assert (why.sentence.label, why.sentence.target) == (TEXT, "logprob")
        assert why.sentence.score == pytest.approx(sum(word.logprob for word in why), abs=1e-6)
        assert why.sentence.logprob == pytest.approx(why.sentence.score, abs=1e-6)
        if METHODS[method].linear and target == "logprob":
            assert np.allclose(why.sentence.signed, sum(word.signed for word in why), atol=1e-10)
    single = vlx.explain(task, picture(), caption="dog", method=method, target="logit")
    assert single.sentence.target == "logprob"
    assert single.sentence.score == pytest.approx(single[0].logprob, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_phrases_are_sums_over_their_words(method: str) -> None:
    why = vlx.explain(captioner("attention"), picture(), caption=TEXT, method=method, target="logit")
    assert [phrase.label for phrase in why.phrases] == ["a red dog", "grass"]
    for phrase, members in zip(why.phrases, ([0, 1, 2], [4]), strict=True):
        words = [why[n] for n in members]
        for name in ("signed", "opposed", "weights"):
            assert np.allclose(getattr(phrase, name), sum(getattr(word, name) for word in words), atol=1e-7)
        for name in ("score", "logprob", "seen"):
            assert getattr(phrase, name) == pytest.approx(sum(getattr(word, name) for word in words), abs=1e-6)
        assert phrase.target == "logit"
    bare = vlx.explain(captioner("attention"), picture(), caption=TEXT, seen=False)
    assert [phrase.seen for phrase in bare.phrases] == [None, None]


@pytest.mark.parametrize("method", METHODS)
def test_methods_give_the_maps_of_their_formulas(method: str) -> None:
    task = captioner("attention", torch.float64)
    A = task.features(task.place(prepare(picture())[None])).A
    why = vlx.explain(task, picture(), caption=TEXT, method=method)
    assert why.method == method
    for step, word in enumerate(why):
        G = slow_gradient(task, A, Target(0, "", (Term(step, TOKENS[step]),), "logprob", TOKENS))[None]
        assert np.allclose(word.signed, METHODS[method].map(A, G)[0].numpy(), atol=1e-12)
        relative = {"layercam": "hirescam", "gradcam++": "gradcam"}.get(method, method)
        assert word.against_method == relative
        sign = METHODS[relative].map(A, -G)[0].numpy()
        assert np.allclose(word.opposed, sign, atol=1e-12)
        assert np.allclose(word.weights, G.mean((2, 3))[0].numpy(), atol=1e-14)


def test_adapters_choose_method_and_target_and_the_user_overrides() -> None:
    task = captioner("state", defaults=Defaults("hirescam", "logit", "loop"))
    why = vlx.explain(task, picture(), caption=TEXT)
    assert (why.method, why[0].target, why.provenance["gradients"]) == ("hirescam", "logit", "loop")
    other = vlx.explain(task, picture(), caption=TEXT, method="Grad-CAM++", target="prob")
    assert (other.method, other[0].target) == ("gradcam++", "prob")
    assert other.provenance["method"] == "gradcam++"


# Scale, sign and zero


class Scaled(nn.Module):
    """The logits of another decoder, times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = decoder("attention"), factor

    def start(self, A: Tensor) -> Any:
        return cast(Any, self.inner).start(A)

    def step(self, tokens: Tensor, state: Any) -> Any:
        return cast(Any, self.inner).step(tokens, state)

    def logits(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self.factor * cast(Any, self.inner).logits(hidden))


def test_maps_keep_their_units() -> None:
    def explained(factor: float) -> vlx.Explanation:
        torch.manual_seed(0)
        cnn, scaled = TinyCnn().eval().double(), Scaled(factor).eval().double()
        task = CnnLstmCaptioner(cnn, cast(Any, scaled), VOCABULARY, prepare, end=1)
        return vlx.explain(task, picture(), caption=TEXT, target="logit")

    once, fivefold = explained(1.0), explained(5.0)
    for one, five in zip(once, fivefold, strict=True):
        assert one.heatmap.any() or one.against.any()
        assert np.allclose(5 * one.heatmap, five.heatmap, rtol=1e-5)
        assert np.allclose(5 * one.against, five.against, rtol=1e-5)
        assert five.score == pytest.approx(5 * one.score)


@pytest.mark.parametrize("method", ["gradcam", "layercam"])  # one linear, one not
def test_heat_maps_are_the_positive_part_and_never_stretched(method: str) -> None:
    why = vlx.explain(captioner("attention"), picture(2, 64, 48), caption=TEXT, method=method)
    for word in [*why, why.sentence, *why.phrases]:
        for shown, cells in ((word.heatmap, word.signed), (word.against, word.opposed)):
            assert shown.dtype == np.float32
            assert shown.shape == (48, 64) == why.image.shape[:2]
            assert shown.min() >= 0
            assert shown.max() <= max(cells.max(), 0) * (1 + 1e-6)
            assert np.allclose(shown, word.placement.paint(np.maximum(cells, 0)))
        assert word.signed.shape == CELLS
        assert word.weights.shape == (UNITS,)
    assert any(word.heatmap.any() for word in why)
    assert any(word.against.any() for word in why)


def test_a_zero_map_stays_zero_and_says_so() -> None:
    torch.manual_seed(0)
    why = vlx.explain(captioner(cast(Any, Blind(False))), picture(), caption="a dog")
    for word in [*why, why.sentence]:
        assert not word.signed.any()
        assert not word.heatmap.any()
        assert not word.against.any()
        assert word.notes == (UNUSED,)
    assert f"{UNUSED} (a, dog)" in why.notes
    with pytest.raises(
        ModelError, match="no gradient comes through to 'a', 'dog', …, though another feature map moves"
    ):
        vlx.explain(captioner(cast(Any, Blind(True))), picture(), caption="a dog")
    seeing = vlx.explain(captioner("state"), picture(), caption="a dog", method="gradcam")
    assert UNUSED not in "".join(seeing.notes)
    assert UNUSED not in seeing[0].notes


# Pictures


def test_every_kind_of_image_gives_the_same(tmp_path: Path) -> None:
    shown = picture(5)
    path = tmp_path / "shown.png"
    shown.save(path)
    array = np.asarray(shown)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1).float() / 255
    task = captioner("attention")
    wanted = vlx.explain(task, shown)
    for given in (path, str(path), array, tensor, tensor.double(), shown.convert("RGBA")):
        found = vlx.explain(task, given)
        alike(found, wanted, 1e-7)
        assert np.array_equal(found.image, array)
        assert found.image.dtype == np.uint8
    assert vlx.explain(task, path).provenance["image"] == "shown.png"


def test_explain_many_is_explain_one_by_one() -> None:
    task = captioner("attention")
    shown = [picture(n, 30 + 5 * (n % 3), 24 + 7 * (n % 2)) for n in range(7)]
    for options in ({}, {"beams": 2}, {"caption": TEXT, "method": "xgradcam", "target": "margin"}):
        single = [vlx.explain(task, image, **options) for image in shown]
        for size in (1, 3, 16):
            found = list(vlx.explain_many(task, iter(shown), batch_size=size, **options))
            assert len(found) == 7
            for one, other in zip(found, single, strict=True):
                alike(one, other)
                assert np.array_equal(one.image, other.image)


def test_explain_many_takes_pictures_whose_inputs_differ_in_size() -> None:
    def keeping(image: Image.Image) -> Tensor:
        values = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1) / 255 - 0.5
        return torch.from_numpy(values.copy())

    torch.manual_seed(0)
    task = CnnLstmCaptioner(TinyCnn().eval(), cast(Any, decoder("state").eval()), VOCABULARY, keeping, end=1)
    shown = [picture(n, *size) for n, size in enumerate([(16, 16), (24, 16), (24, 16), (16, 32), (16, 16)])]
    found = list(vlx.explain_many(task, shown, caption="a dog"))
    assert [why[0].signed.shape for why in found] == [(4, 4), (4, 6), (4, 6), (8, 4), (4, 4)]
    for why, image in zip(found, shown, strict=True):
        alike(why, vlx.explain(task, image, caption="a dog"))


def test_explain_many_is_lazy_and_takes_nothing() -> None:
    task = captioner("state")
    opened = []

    def images() -> Any:
        for seed in range(6):
            opened.append(seed)
            yield picture(seed)

    found = vlx.explain_many(task, images(), batch_size=2, caption="a dog")
    next(found)
    assert opened == [0, 1]
    assert list(vlx.explain_many(task, [])) == []


def test_a_centre_crop_is_marked_and_not_painted_cold() -> None:
    torch.manual_seed(0)
    crop = Preparation(16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    task = CnnLstmCaptioner(TinyCnn().eval(), cast(Any, decoder("attention").eval()), VOCABULARY, crop, end=1)
    why = vlx.explain(task, picture(1, 96, 48), caption=TEXT)
    visible = why.visible
    assert visible.shape == (48, 96)
    assert visible.dtype == np.bool_
    assert visible[:, 27:69].all()
    assert not visible[:, :21].any()
    assert not visible[:, 75:].any()
    assert abs(int(visible.sum()) - 48 * 48) <= 48 * 3
    for word in why:
        assert not word.heatmap[~visible].any()
        assert not word.against[~visible].any()
    assert any(word.heatmap[visible].any() for word in why)
    assert vlx.explain(captioner("state"), picture(1, 96, 48)).visible.all()


def test_maps_lie_where_the_picture_is() -> None:
    class Brightness(nn.Module):
        """The class of word 3 is the sum of A; word 4 is A's upper left corner."""

        def start(self, A: Tensor) -> Tensor:
            return torch.stack([A.sum((1, 2, 3)), A[:, :, 0, 0].sum(1)], 1)

        def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            zero = state.new_zeros(len(state), 3)
            return torch.cat([zero, state, state.new_zeros(len(state), len(VOCABULARY) - 5)], 1), state

    cnn = nn.Sequential(nn.Conv2d(3, 2, 4, 4), nn.ReLU()).eval()
    with torch.no_grad():
        cnn[0].weight.fill_(0.1)  # type: ignore[operator]
        cnn[0].bias.zero_()  # type: ignore[operator]
    task = CnnLstmCaptioner(cnn, cast(Any, Brightness().eval()), VOCABULARY, prepare)
    dark = np.full((80, 160, 3), 60, np.uint8)
    dark[48:72, 120:150] = 255
    why = vlx.explain(task, dark, caption="a red", target="logit", method="hirescam", seen=False)
    y, x = np.unravel_index(int(why["a"].heatmap.argmax()), (80, 160))
    assert abs(int(y) - 60) <= 10
    assert abs(int(x) - 135) <= 20
    dark[:20, :40] = 255
    corner = vlx.explain(task, dark, caption="a red", target="logit", method="hirescam", seen=False)["red"]
    assert corner.heatmap[5, 5] == corner.heatmap.max() > 0
    assert corner.heatmap[60, 135] == 0


# Notes


def test_notes_of_model_picture_and_caption_are_kept() -> None:
    task = captioner("state", notes=("drawn pictures only",))
    shown = picture().convert("RGBA")
    shown.putalpha(Image.new("L", shown.size, 200))
    why = vlx.explain(task, shown, caption="a zebra")
    assert "drawn pictures only" in why.notes
    assert "transparent parts shown on white" in why.notes
    assert any("zebra" in note for note in why.notes)
    assert len(why.notes) == len(set(why.notes))


def test_a_prepare_that_turns_pictures_is_noted() -> None:
    torch.manual_seed(0)
    task: Any = captioner("state")
    task.prepare = lambda image: prepare(image.rotate(30))
    why = vlx.explain(task, picture())
    assert any(note.startswith("prepare does not only resize, crop, pad or flip pictures") for note in why.notes)
