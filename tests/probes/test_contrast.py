"""Why one word of a caption and not another: the difference of the two words' own scores, at one step."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import vlx
from tests.fakes import ALL_KINDS, KINDS, captioner, feature_map, features_of, picture, slow_gradient, slow_score
from vlx import scenes
from vlx.cli.program import main
from vlx.errors import InputError, UnknownWords, WordNotFound
from vlx.methods import engine
from vlx.probes.contrast import Contrast, contrasted
from vlx.protocol.targets import Query, Target, Term, word_target
from vlx.report import html, text, wording

CAPTION = "a red dog on grass"
PLACE, DOG, HOUSE = 2, 6, 7  # where dog stands, and the token ids


def contrast(task: Any, features: Any, other: str = "house", caption: str = CAPTION, word: str | int = "dog") -> Any:
    (prediction,) = task.predict(features, [Query(caption=caption)])
    return contrasted(task, features, prediction, Contrast(word, other))


def forced(task: Any, seed: int, caption: str, **options: Any) -> vlx.WordExplanation:
    """The word that a caption has in place of the dog, explained as any other."""
    return vlx.explain(task, picture(seed), caption=caption, **options)[PLACE]


# What it is: by two captions that differ in this word, by the decoder in a plain loop, by small steps of A


@pytest.mark.parametrize("method", ["hirescam", "gradcam"])
@pytest.mark.parametrize("target", ["logprob", "logit", "prob"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_contrast_is_one_caption_less_another(kind: str, target: str, method: str) -> None:
    task = captioner(kind, torch.float64)
    options: dict[str, Any] = {"method": method, "target": target, "check": False}
    why = vlx.explain(task, picture(1), caption=CAPTION, instead_of={"dog": "house"}, **options)
    own = forced(task, 1, CAPTION, **options)
    other = forced(task, 1, "a red house on grass", **options)
    assert why[0].score == pytest.approx(own.score - other.score, abs=1e-9)
    np.testing.assert_allclose(why[0].signed, own.signed - other.signed, atol=1e-6)
    np.testing.assert_allclose(why[0].weights, own.weights - other.weights, atol=1e-6)
    assert own.seen is not None and other.seen is not None
    assert why[0].seen == pytest.approx(own.seen - other.seen, abs=1e-9)
    for name in own.seen_by:
        assert why[0].seen_by[name] == pytest.approx(own.seen_by[name] - other.seen_by[name], abs=1e-9)
    for side, alone in zip(why.others, (own, other), strict=True):
        assert (side[0].label, side.instead_of) == (alone.label, None)
        assert side[0].logprob == pytest.approx(alone.logprob, abs=1e-9)
        np.testing.assert_allclose(side[0].signed, alone.signed, atol=1e-6)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_its_gradient_is_that_of_the_decoder_in_a_plain_loop(kind: str) -> None:
    task, A = captioner(kind, torch.float64), feature_map(1)
    features = replace(features_of(captioner(kind, torch.float64), 1), maps={"cnn": A}, layer="cnn")
    prediction = contrast(task, features)
    asked = word_target(prediction, 0, 0, "logprob")
    terms = (Term(PLACE, DOG), Term(PLACE, HOUSE, -1.0))
    by_hand = Target(0, "", terms, "logprob", tuple(task.tokens(CAPTION)[1]))
    scores, gradient = engine.gradients(task, A, [asked])
    assert float(scores[0]) == pytest.approx(float(slow_score(task, A, by_hand).detach()), abs=1e-10)
    torch.testing.assert_close(gradient[0], slow_gradient(task, A, by_hand), rtol=1e-8, atol=1e-10)
    assert float(gradient.abs().max()) > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_its_gradient_is_that_of_small_steps(kind: str) -> None:
    task = captioner(kind, torch.float64)
    features = features_of(task, 1)
    asked = word_target(contrast(task, features), 0, 0, "logprob")
    _, gradient = engine.gradients(task, features.A, [asked])
    direction = torch.randn(features.A.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def difference(A: torch.Tensor) -> float:
        """By two predictions of two captions, with nothing of a target in them."""
        moved = replace(features, maps={features.layer: A})
        queries = [Query(caption=CAPTION), Query(caption="a red house on grass")]
        own, other = (task.predict(moved, [query])[0].words[PLACE].logprob for query in queries)
        return float(own) - float(other)

    step = 1e-6
    rise = (difference(features.A + step * direction) - difference(features.A - step * direction)) / (2 * step)
    assert float((gradient[0] * direction[0]).sum()) == pytest.approx(rise, rel=1e-5, abs=1e-8)


def test_the_other_way_round_it_has_the_other_sign() -> None:
    task = captioner("attention", torch.float64)
    one = vlx.explain(task, picture(1), caption=CAPTION, instead_of={"dog": "house"}, method="hirescam")[0]
    other = vlx.explain(
        task, picture(1), caption="a red house on grass", instead_of={"house": "dog"}, method="hirescam"
    )[0]
    assert one.score == pytest.approx(-other.score, abs=1e-9)
    assert one.seen == pytest.approx(-other.seen, abs=1e-9)  # type: ignore[operator]
    np.testing.assert_allclose(one.signed, -other.signed, atol=1e-7)
    np.testing.assert_allclose(one.opposed, other.signed, atol=1e-7)


@pytest.mark.parametrize(
    "wrong",
    [
        {"terms": (Term(PLACE, DOG), Term(PLACE + 1, HOUSE, -1.0))},  # another step
        {"terms": (Term(PLACE - 1, DOG), Term(PLACE - 1, HOUSE, -1.0))},  # both at another step
        {"terms": (Term(PLACE, DOG), Term(PLACE, 5, -1.0))},  # another word
        {"tokens": (3, 5, DOG, 8, 9)},  # another word before it
        {"terms": (Term(PLACE, DOG), Term(PLACE, HOUSE))},  # the sum
    ],
    ids=["step", "place", "word", "prefix", "sign"],
)
def test_these_checks_can_fail(wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted mistakes: each makes the contrast differ from that of the two captions."""
    task = captioner("attention", torch.float64)
    right = task.rather

    def rather(*given: Any) -> Any:
        return replace(right(*given), **wrong)

    options: dict[str, Any] = {"method": "hirescam", "check": False, "seen": False}
    difference = forced(task, 1, CAPTION, **options).signed - forced(task, 1, "a red house on grass", **options).signed
    monkeypatch.setattr(task, "rather", rather)
    why = vlx.explain(task, picture(1), caption=CAPTION, instead_of={"dog": "house"}, **options)
    assert not np.allclose(why[0].signed, difference, atol=1e-4)


# What the explanation is


def test_what_is_explained_is_the_word_and_both_sides() -> None:
    task = captioner("attention")
    why = vlx.explain(task, picture(1), caption=CAPTION, instead_of={"dog": "house"})
    assert (why.text, why.instead_of, why.forced, len(why)) == (CAPTION, "house", True, 1)
    assert (why[0].label, why.sentence, why.phrases, why.question) == ("dog", why[0], (), None)
    assert [other.text for other in why.others] == ["dog", "house"]
    assert why["dog"].check is not None and why["dog"].check.unit == "lead"
    assert {look.kind for look in why[0].looks} == set(why[0].seen_by)
    assert "“dog” and “house” are compared after the same words, “a red”; what follows is not looked at" in why.notes
    assert why.method == "hirescam"
    assert (
        vlx.explain(task, picture(1), caption=CAPTION, instead_of={2: "house"}, method="layercam").method == "layercam"
    )


def test_what_other_pictures_say_is_said_at_the_same_place() -> None:
    task = captioner("state", seed=1)  # it says something else at every place
    why = vlx.explain(task, picture(1), caption=CAPTION, instead_of={"dog": "house"}, references=[picture(2)])
    (look,) = why[0].looks
    (there,) = task.predict(features_of(task, 2), [Query(caption=CAPTION)])
    assert look.said == (max(there.words[PLACE].alternatives, key=lambda one: one.logprob).label,)
    (house,) = task.predict(features_of(task, 2), [Query(caption="a red house on grass")])
    assert look.logprobs == pytest.approx((there.words[PLACE].logprob - house.words[PLACE].logprob,), abs=1e-5)


def test_the_models_own_caption_and_a_word_that_it_has_twice() -> None:
    task = captioner("attention")
    said = vlx.explain(task, picture(1), check=False, seen=False)
    place = len(said) - 1
    why = vlx.explain(task, picture(1), instead_of={place: "house" if said[place].label != "house" else "dog"})
    assert (why.text, why.forced, why[0].label) == (said.text, False, said[place].label)
    twice = "a dog on a red dog"
    late = vlx.explain(task, picture(1), caption=twice, instead_of={5: "house"}, method="hirescam", check=False)
    again = vlx.explain(task, picture(1), caption=twice, instead_of={-1: "house"}, method="hirescam", check=False)
    early = vlx.explain(task, picture(1), caption=twice, instead_of={1: "house"}, method="hirescam", check=False)
    assert np.array_equal(late[0].signed, again[0].signed)
    assert not np.allclose(late[0].signed, early[0].signed, atol=1e-4)
    assert late[0].score == pytest.approx(
        vlx.explain(task, picture(1), caption=twice)[5].score
        - vlx.explain(task, picture(1), caption="a dog on a red house")[5].score,
        abs=1e-5,
    )


def test_reasons_call_it_by_both_words() -> None:
    scene = scenes.draw(10_000_021)
    why = vlx.explain(
        vlx.load("scenes/captioner"),
        scene.image,
        caption=scene.caption,
        instead_of={"orange": "white"},
        names="shipped",
        seen=False,
        check=False,
    )
    assert text.sentences(why)[0].startswith("“orange” rather than “white” perhaps because of units named")
    whole = vlx.explain(vlx.load("scenes/captioner"), scene.image, caption=scene.caption, seen=False, check=False)
    place = scene.caption.split().index("orange")
    assert why[0].score == pytest.approx(whole[place].score - why.others[1][0].score, abs=1e-4)


def test_many_pictures_may_have_a_contrast_each() -> None:
    task = captioner("attention")
    given = [{"dog": "house"}, {"red": "blue"}]
    several = list(vlx.explain_many(task, [picture(1), picture(2)], caption=CAPTION, instead_of=given))
    assert [(why[0].label, why.instead_of) for why in several] == [("dog", "house"), ("red", "blue")]
    same = list(vlx.explain_many(task, [picture(1), picture(2)], caption=CAPTION, instead_of=given[0]))
    assert [why.instead_of for why in same] == ["house", "house"]
    assert several[0][0].score == pytest.approx(same[0][0].score, abs=1e-6)


# Shown and saved


@pytest.mark.parametrize("ending", ["h5", "json"])
def test_saved_and_loaded_it_is_the_same(tmp_path: Path, ending: str) -> None:
    why = vlx.explain(captioner("attention"), picture(1), caption=CAPTION, instead_of={"dog": "house"}, occlusion=True)
    again = vlx.Explanation.load(why.save(tmp_path / f"why.{ending}"))
    assert (again.text, again.instead_of, again.notes) == (why.text, why.instead_of, why.notes)
    for one, other in zip([why, *why.others], [again, *again.others], strict=True):
        assert np.array_equal(one[0].signed, other[0].signed) and np.array_equal(one[0].opposed, other[0].opposed)
        assert (one[0].score, one[0].seen, one[0].seen_by) == (other[0].score, other[0].seen, other[0].seen_by)
        assert repr((one[0].check, one[0].looks, one.instead_of)) == repr(
            (other[0].check, other[0].looks, other.instead_of)
        )
    assert html.page(again) == html.page(why)


def test_it_is_told_everywhere(tmp_path: Path) -> None:
    from rich.console import Console

    why = vlx.explain(captioner("attention"), picture(1), caption=CAPTION, instead_of={"dog": "house"})
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(text.table(why))
    terminal = console.export_text()
    title = f"dog rather than house in “{CAPTION}”"
    assert f"asked to explain: {title}" in terminal and "dog − house" in terminal
    assert "The picture moves the lead over “house” by" in terminal and "share of “dog” between the two" in terminal
    page, markdown = html.page(why), text.markdown(why)
    assert f"<title>Why {title} · vlx</title>" in page and f'<p class="question">{CAPTION}</p>' in page
    assert "Warm: features that speak for “dog” rather than “house”. Blue: for “house”." in page
    assert page.count("share of “dog” between the two") == 1 and "each alone" in page
    assert f"# Why {title}" in markdown and "| dog rather than house |" in markdown
    assert title in why.plot().get_suptitle()
    assert wording.RING not in page + terminal + markdown.partition("![")[0]  # a difference is no word of language's
    assert "owed to language" not in page


# What cannot be


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"horse": "dog"},
            WordNotFound,
            r"^instead_of: 'horse' is no word of the caption 'a red dog on grass'; name on",
        ),
        ({"dogs": "house"}, WordNotFound, r"is no word of the caption .*; close: dog$"),
        ({7: "house"}, WordNotFound, r"^instead_of: there is no word 7; the caption has 5: 'a red dog on grass'$"),
        ({"dog": "macaw"}, UnknownWords, r"^this captioner has no word for 'macaw'; name one of the 10 in the vocabu"),
        ({"dog": "hous"}, UnknownWords, r"^this captioner has no word for 'hous' \(close: house\)"),
        ({"dog": "red house"}, InputError, r"^'red house' is 2 words for tiny \(red house\), .*; name a single one$"),
        (
            {"dog": "Dog"},
            InputError,
            r"^instead_of=\{'dog': 'Dog'\}: 'dog' is the word that is explained; name another",
        ),
        ({"dog": ""}, InputError, r"^the word '' holds no word; give at least one$"),
        (
            "house",
            InputError,
            r"^instead_of='house': this is a captioner, name the word of its caption, too: instead_o",
        ),
        (
            {"dog": "house", "red": "blue"},
            InputError,
            r"names 2 words; give one at a time: instead_of=\{'dog': 'cat'\}$",
        ),
        ({}, InputError, r"^instead_of=\{\} names 0 words; give one at a time"),
        (
            {"dog": 3},
            InputError,
            r"^instead_of=\{'dog': 3\}: give a word of the caption, or its position, and the other",
        ),
        ({True: "house"}, InputError, r"give a word of the caption, or its position"),
        ([{"dog": "house"}], InputError, r"^instead_of must be such as .*, got list; one for each picture is for expl"),
    ],
    ids=str,
)
def test_contrasts_that_cannot_be(given: Any, error: type[Exception], message: str) -> None:
    for unknown in (None, 2):
        with pytest.raises(error, match=message) as raised:
            vlx.explain(captioner("state", unknown=unknown), picture(), caption=CAPTION, instead_of=given)
        assert len(str(raised.value)) < 300


def test_a_word_that_stands_there_twice_needs_its_position() -> None:
    with pytest.raises(
        WordNotFound, match=r"^instead_of: 'dog' stands 2 times in .*; give its position: \{0: …\}, \{2"
    ):
        vlx.explain(captioner("state"), picture(), caption="dog on dog", instead_of={"dog": "house"})


def test_answers_take_no_mapping() -> None:
    from tests.answerers import QUESTION, vqa

    with pytest.raises(InputError, match=r"^instead_of=\{'red': 'blue'\} names a word of a caption; of an answer or a"):
        vlx.explain(vqa(), picture(), question=QUESTION, instead_of={"red": "blue"})


def test_a_captioner_that_cannot_be_asked_is_named() -> None:
    from tests.protocol.test_protocol import Outsider

    with pytest.raises(InputError, match=r"^outsider has no rather\(\), which a contrast of words needs; leave"):
        vlx.explain(Outsider(), picture(), instead_of={"bright": "dark"})


def test_nothing_said_has_no_word_to_contrast() -> None:
    task = captioner("state", end=6)  # dog ends every caption
    with torch.no_grad():
        task.decoder.output.bias[6] = 100
    with pytest.raises(WordNotFound, match=r"'dog' is no word of the caption ''"):
        vlx.explain(task, picture(), instead_of={"dog": "house"})


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlx, "load", lambda name, **options: captioner("attention"))
    picture(1).save(tmp_path / "it.png")
    command = ["caption", str(tmp_path / "it.png"), "--out", str(tmp_path), "--caption", CAPTION, "--names", "none"]
    done = CliRunner().invoke(main, [*command, "--instead-of", "dog=house"])
    assert done.exit_code == 0, done.output
    assert "dog rather than house in" in done.output
    assert "--instead-of=dog=house" in (tmp_path / "it.html").read_text(encoding="utf-8")
    assert "dog rather than house in" in CliRunner().invoke(main, [*command, "--instead-of", "2=house"]).output
    wrong = CliRunner().invoke(main, [*command, "--instead-of", "house"])
    assert wrong.exit_code == 2 and "write WORD=OTHER, for example dog=cat" in wrong.output
