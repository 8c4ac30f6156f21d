"""References: pictures in the place of the user's own, and the bounded figures that are made with them."""

import random
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vlx
from tests.answerers import ANSWERS, QUESTION, WORDS, vqa
from tests.fakes import UNITS, VOCABULARY, Blind, Stepped, TinyCnn, captioner, picture, prepare, slow_score
from vlx.errors import InputError
from vlx.evaluation import looking
from vlx.evaluation.metrics.looking import roc_area
from vlx.pictures.edits import MADE, made_of
from vlx.probes import references
from vlx.probes.references import References
from vlx.protocol.targets import Prediction, Query, word_target
from vlx.report import wording
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.classification import Classifier
from vlx.tasks.vqa import CnnLstmVqa

# The five made of one picture


def test_each_reference_keeps_what_it_should_and_loses_the_rest() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (43, 50, 3), np.uint8)
    made = {name: np.asarray(one) for name, one in made_of(Image.fromarray(pixels)).items()}
    assert list(made) == list(MADE)
    assert all(one.shape == pixels.shape for one in made.values())
    middle = [sorted(pixels[..., c].ravel().tolist())[43 * 50 // 2] for c in range(3)]
    assert np.abs(made["median colour"].reshape(-1, 3).astype(int) - middle).max() <= 1
    mixed = made["pixels shuffled"].reshape(-1, 3)
    assert sorted(map(tuple, mixed.tolist())) == sorted(map(tuple, pixels.reshape(-1, 3).tolist()))
    assert (mixed != pixels.reshape(-1, 3)).any(1).mean() > 0.95
    for c in range(3):
        np.testing.assert_array_equal(made["channels permuted"][..., c], pixels[..., (c + 2) % 3])
    np.testing.assert_array_equal(made["inverted"].astype(int) + pixels, 255)
    tiles = made["tiles shuffled"]  # 8 × 8 tiles of 5 × 6 pixels; 3 rows and 2 columns stay

    def cut(whole: Any) -> list[bytes]:
        return [whole[5 * i : 5 * i + 5, 6 * j : 6 * j + 6].tobytes() for i in range(8) for j in range(8)]

    assert sorted(cut(tiles)) == sorted(cut(pixels))
    assert sum(one == other for one, other in zip(cut(tiles), cut(pixels), strict=True)) < 8
    np.testing.assert_array_equal(tiles[40:], pixels[40:])
    np.testing.assert_array_equal(tiles[:, 48:], pixels[:, 48:])


def test_they_depend_on_the_picture_alone() -> None:
    one, other = picture(1), picture(2)
    np.random.seed(3)
    random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state()  # type: ignore[index]
    first = made_of(one)
    made_of(other)
    again = made_of(one)
    assert before[0] == np.random.get_state()[1].tolist()  # type: ignore[index]
    assert before[1] == random.getstate()
    assert torch.equal(before[2], torch.get_rng_state())
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)


def test_those_that_are_the_picture_itself_are_left_out() -> None:
    assert list(made_of(Image.new("RGB", (40, 40), (10, 20, 30)))) == ["channels permuted", "inverted"]
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 1), np.uint8).repeat(3, 2))
    assert list(made_of(grey)) == [name for name in MADE if name != "channels permuted"]


# Figures, by an independent computation


def test_looked_counts_one_nat_a_reference_at_most() -> None:
    assert references.looked(-0.1, [-0.1, -0.3, -9.0, -np.inf]) == pytest.approx((0 + 0.2 + 1 + 1) / 4)
    assert references.looked(-3.0, [-0.1]) == 1.0  # a reference may raise it, too
    assert references.looked(-np.inf, [-np.inf]) == 0.0
    assert np.isnan(references.looked(np.nan, [-1.0]))


def test_owed_never_leaves_log_c() -> None:
    room = float(np.log(10))
    found = references.owed(-0.1, [-854.0, -0.1, -1.0], room)
    assert found == pytest.approx([room - 0.1, 0.0, 0.9])
    assert references.owed(-9.0, [-0.5, -12.0], room) == pytest.approx([0.5 - room, 0.0])
    rng = np.random.default_rng(0)
    for _ in range(200):
        there, gone = -rng.exponential(9), (-rng.exponential(9, 5)).tolist()
        assert max(map(abs, references.owed(there, gone, room))) <= room + 1e-12
    assert references.owed(-0.5, [-800.0]) == [799.5]


def test_strange_references_are_named() -> None:
    own = torch.ones(1, 4, 2, 2)
    A = torch.cat([own * factor for factor in (0.05, 0.1, 1.0, 1.5, 1.6)])
    ratios = references.ratio(A, own)
    assert ratios == pytest.approx([0.05, 0.1, 1.0, 1.5, 1.6])
    note = references.strange(["a", "b", "c", "d", "e"], ratios)
    assert "unlike the picture (norm of its cells, .1 to 1.5 is usual): a (0.05), e (1.6);" in note
    assert len(note) <= 300
    assert references.strange(["b"], [0.7]) == ""
    assert len(references.strange([f"a long name of a picture {n}.jpeg" for n in range(90)], [9.0] * 90)) <= 400


def test_a_strange_reference_is_told_of_and_not_dropped() -> None:
    task, dark = vqa(), Image.new("RGB", (48, 40), (3, 3, 3))
    first = cast(Any, task.cnn).layers
    with torch.no_grad():
        for part in (first[0], first[1], first[3]):
            part.bias.zero_()
        first[1].running_mean.zero_()
    white = Image.new("RGB", (48, 40), "white")
    A, own = (task.features(prepare(one)[None]).A for one in (white, dark))
    ratio = references.ratio(A, own)
    why = vlx.explain(task, dark, question=QUESTION, references=[white, picture(2)])
    assert len(why[0].seen_by) == 2
    told = [note for note in why.notes if "these references are unlike the picture" in note]
    assert bool(told) == (not 0.1 <= ratio[0] <= 1.5)


# Planted: one that never looks, one that always does


class Reader(nn.Module):
    """Says which channel of the picture is strongest, or nothing but what it likes."""

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.looks = looks

    def forward(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        liked = torch.tensor([4.0, 0.0, 0.0], dtype=A.dtype).repeat(len(tokens), 1)
        if not self.looks:
            return liked + 0 * A.sum((1, 2, 3))[:, None]
        return 60 * A.amax((2, 3)).repeat_interleave(len(tokens) // len(A), 0)


class Pixels(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 4)


def reader(looks: bool) -> CnnLstmVqa:
    return CnnLstmVqa(
        Pixels().eval(),
        Reader(looks).eval(),
        WORDS,
        ["red", "green", "blue"],
        prepare,
        unknown=1,
        outputs="softmax",
        name="reader",
    )


def coloured(number: int) -> Image.Image:
    """A picture of which a part is of one of three colours, the rest nearly white."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(100, 110, (40, 48, 3), np.uint8)
    y, x = rng.integers(0, 20, 2)
    pixels[y : y + 16, x : x + 16, number % 3] = 250
    return Image.fromarray(pixels)


def figures(task: Any, count: int, **options: Any) -> list[float]:
    found = [vlx.explain(task, coloured(n), question=QUESTION, **options)[0] for n in range(count)]
    return [cast(float, word.looked) for word in found]


def test_l_tells_a_model_that_never_looks_from_one_that_always_does(monkeypatch: pytest.MonkeyPatch) -> None:
    never, always = figures(reader(False), 9), figures(reader(True), 9)
    assert never == pytest.approx([0.0] * 9, abs=1e-6)
    assert min(always) > 0.2
    assert roc_area(never, always) == 1.0
    # an instrument that shows the picture itself in place of its references must fail
    monkeypatch.setattr(references, "made_of", lambda picture: dict.fromkeys(MADE, picture))
    assert roc_area(figures(reader(False), 9), figures(reader(True), 9)) < 0.7


def test_the_metric_of_looking_tells_them_apart_too() -> None:
    for looks in (False, True):
        values = [row.value for row in looking(reader(looks), 1).rows if row.metric == "nats"]
        assert len(values) >= 4
        assert max(values) < 1e-6 if not looks else 0.1 < float(np.mean(values)) <= 1


def test_anyway_is_said_of_the_one_that_never_looks_and_of_no_other() -> None:
    own = [coloured(n) for n in range(100, 120)]

    def said(task: Any, **options: Any) -> str:
        why = vlx.explain(task, coloured(0), question=QUESTION, **options)
        return wording.verdict(why[0])

    assert said(reader(False), references=own) == (
        "would have said “red” anyway: 20 of your 20 other pictures give the same, p 96.5 %"
    )
    assert "anyway" not in said(reader(False), references=own[:15])
    assert "anyway" not in said(reader(False))
    assert "anyway" not in said(reader(False), looks=True)
    plain = [Image.new("RGB", (48, 40), (n, 2 * n, 90)) for n in range(20)]
    assert "anyway" not in said(reader(False), references=plain)  # read as colours
    assert "anyway" not in said(reader(True), references=own)


def test_a_caption_that_does_not_look_owes_nothing() -> None:
    why = vlx.explain(captioner(cast(Any, Blind())), picture(), caption="a red dog")
    for word in why:
        assert (word.seen, word.looked) == pytest.approx((0.0, 0.0), abs=1e-6)


# Numbers have no p


def test_a_number_is_told_in_its_own_unit() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(TinyCnn(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(UNITS, 1)).eval()
    task = Classifier(model, "0", ["age"], prepare, outputs="value")
    shown = picture(3)
    word = vlx.explain(task, shown)[0]
    with torch.no_grad():
        own, *others = (float(model(prepare(one)[None])) for one in (shown, *made_of(shown).values()))
    assert list(word.seen_by.values()) == pytest.approx([own - other for other in others], abs=1e-5)
    assert word.looked is None
    assert wording.seen_said(word).startswith("the picture adds ")


# The user's own


def test_references_are_a_list_or_a_folder(tmp_path: Path) -> None:
    for number in range(3):
        picture(number).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    task = vqa()
    listed = vlx.explain(task, picture(9), question=QUESTION, references=[tmp_path / f"{n}.png" for n in range(3)])[0]
    for folder in (tmp_path, str(tmp_path)):
        found = vlx.explain(task, picture(9), question=QUESTION, references=folder)[0]
        assert list(found.seen_by) == ["0.png", "1.png", "2.png"]
        assert found.seen_by == listed.seen_by
    look = found.looks[0]
    assert (look.kind, len(look.said)) == ("your own", 3)
    with torch.no_grad():
        for said, number in zip(look.said, range(3), strict=True):
            A = task.features(prepare(picture(number))[None]).A
            assert said == ANSWERS[int(task.logits(A, [task.tokens(QUESTION)[1]])[0].argmax())]


def test_the_picture_is_no_reference_of_itself() -> None:
    task = vqa()
    with_it = vlx.explain(task, picture(1), question=QUESTION, references=[picture(0), picture(1), picture(2)])[0]
    without = vlx.explain(task, picture(1), question=QUESTION, references=[picture(0), picture(2)])[0]
    assert len(with_it.seen_by) == 2
    assert list(with_it.seen_by.values()) == pytest.approx(list(without.seen_by.values()), abs=1e-6)
    with pytest.raises(InputError, match="references hold nothing but the picture itself"):
        vlx.explain(task, picture(1), question=QUESTION, references=[picture(1)])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "references holds no picture; give some of your own, or leave it out for five made of the picture"),
        (picture(), "references=Image: give pictures of your own in a list, or their folder"),
        (np.zeros((9, 9, 3), np.uint8), "references=ndarray: give pictures of your own in a list"),
        ("nowhere", "references='nowhere' is no folder; give a folder of pictures of your own"),
        (7, "references=int: give pictures of your own in a list"),
    ],
)
def test_what_cannot_be_references_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        vlx.explain(vqa(), picture(), question=QUESTION, references=given)
    assert len(str(refused.value)) <= 300


def test_hidden_parts_are_filled_with_the_median_colour_or_the_users_own_picture() -> None:
    shown, own = picture(3, 30, 20), picture(4, 60, 60)
    assert references.filling(shown).tobytes() == made_of(shown)["median colour"].tobytes()
    filled = references.filling(shown, References(("a",), (own,)))
    assert filled.tobytes() == own.resize((30, 20)).tobytes()


# Half the sides


class Fixed(Stepped):
    """Reads 32 × 32 cells one by one: no other size will do."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Linear(UNITS * 32 * 32, 12)

    def start(self, A: Tensor) -> tuple[Tensor, ...]:
        return self._run(self.picture(A.flatten(1))[:, None], None)[1]


def large(image: Image.Image) -> Tensor:
    pixels = np.asarray(image.convert("RGB").resize((128, 128))).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("fixed", [False, True])
def test_references_are_shown_at_half_the_sides_to_a_model_that_takes_them(fixed: bool) -> None:
    torch.manual_seed(0)
    cnn, decoder = TinyCnn().eval(), (Fixed() if fixed else Stepped()).eval()
    with torch.no_grad():
        decoder.picture.weight *= 100
    task = CnnLstmCaptioner(cnn, decoder, VOCABULARY, large, end=1)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    whys = [vlx.explain(task, image, caption="a red dog", check=False) for _ in range(2)]
    made = torch.stack([large(one) for one in made_of(image).values()])
    small = made if fixed else made.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))  # means of 2 × 2 pixels
    with torch.no_grad():
        target = word_target(task_said(task, image), 1, 0, "logprob")
        gone = [slow_score(task, cnn(one[None]), target) for one in small]
        other = [slow_score(task, cnn(one[None]), target) for one in made]
    for why in whys:
        moved = [abs(why[1].logprob - float(score)) for score in gone]
        assert why[1].looked == pytest.approx(np.minimum(moved, 1).mean(), rel=1e-4)
        whole = np.minimum([abs(why[1].logprob - float(score)) for score in other], 1).mean()
        assert fixed or why[1].looked != pytest.approx(whole, rel=1e-2), "the size makes a difference"
    sides = [len(one) for one in cnn.seen if one.shape[2] == 64 and len(one) == 5]
    assert len(sides) == (1 if fixed else 2), "a model that does not take them is asked once"
    assert references.elsewhere(task, image, large(image)).features.A.shape[2:] == (32, 32), "nothing asked"


def test_references_at_half_the_sides_are_told_beside_other_pictures_at_their_whole() -> None:
    torch.manual_seed(0)
    task = CnnLstmCaptioner(TinyCnn().eval(), Stepped().eval(), VOCABULARY, large, end=1)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    swap = Image.fromarray(np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    why = vlx.explain(task, image, caption="a red dog", looks=True, swaps=[swap], check=False)
    target = word_target(task_said(task, image), 1, 0, "logprob")
    small = [large(one).unfold(1, 2, 2).unfold(2, 2, 2).mean((3, 4)) for one in made_of(image).values()]
    with torch.no_grad():
        gone = [float(slow_score(task, task.cnn(one[None]), target)) for one in small]
        swapped = float(slow_score(task, task.cnn(large(swap)[None]), target))
    told = {look.kind: look.logprobs for look in why[1].looks}
    assert [told[kind][0] for kind in made_of(image)] == pytest.approx(gone, abs=1e-5)
    assert told["swapped"] == pytest.approx([swapped], abs=1e-5)
    assert len(told["blurred"]) == 3
    assert all(len(look.said) == len(look.logprobs) for look in why[1].looks)


def task_said(task: CnnLstmCaptioner, image: Image.Image) -> Prediction:
    return task.predict(task.features(task.place(large(image)[None])), [Query(caption="a red dog")])[0]


def test_models_with_small_pictures_or_more_than_a_map_keep_their_size() -> None:
    task = captioner("state")
    why = vlx.explain(task, picture(), check=False)
    assert why[0].seen_by
    assert not references._half.of(task)
    assert {one.shape[2] for one in task.cnn.seen} == {16}
