"""What a chat model reasons before it answers is told apart, and marks are no words, whatever the tokenizer is."""

import re
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest

hf = pytest.importorskip("transformers")

import vlx  # noqa: E402
from tests.hf import picture  # noqa: E402
from vlx.errors import InputError  # noqa: E402
from vlx.language import unmarked  # noqa: E402
from vlx.protocol.targets import Prediction, Query  # noqa: E402
from vlx.report import answers, html, text  # noqa: E402
from vlx.report.brief import brief  # noqa: E402
from vlx.tasks.huggingface.loading import load, wrap  # noqa: E402
from vlx.tasks.huggingface.reasoning import special_ids  # noqa: E402
from vlx.tasks.huggingface.tiny.words import byte_pairs, word_pieces  # noqa: E402
from vlx.tasks.huggingface.words import read, words_of  # noqa: E402

QUESTION = "what color is the house?"
PAIRS = [
    ("<think>", "</think>"),
    ("<THINK>", "</THINK>"),
    ("<thinking>", "</thinking>"),
    ("<REASONING>", "</REASONING>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("[THINK]", "[/THINK]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
]
WAYS = ("letters", "added", "special")


@cache
def tokenizer(way: str, *marks: str) -> Any:
    """GPT-2's pieces, to which the marks are letters, tokens of their own, or special tokens."""
    made = byte_pairs()
    if way != "letters" and marks:
        made.add_tokens(list(marks), special_tokens=way == "special")
    return made


def found(way: str, written: str, *marks: str, opened: bool = False) -> tuple[str, list[str], list[str], bool]:
    """The text without marks, the words that are said, those that are reasoned, and whether the text ends within."""
    made = tokenizer(way, *marks)
    tokens = made(written, add_special_tokens=False)["input_ids"]
    reading = read(made, tokens, opened)
    for word, places in reading.words:
        assert word in made.decode([tokens[n] for n in places])
    told = list(zip((word for word, _ in reading.words), reading.reasoning, strict=True))
    return (
        unmarked(reading.text),
        [w for w, inside in told if not inside],
        [w for w, inside in told if inside],
        reading.cut,
    )


# Marks


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("begin", "end"), PAIRS)
def test_words_between_marks_are_reasoning_and_marks_are_no_words(begin: str, end: str, way: str) -> None:
    written = f"{begin}\nthe sky, it is blue.{end}\n\nthe house is red."
    said = found(way, written, begin, end)
    assert said == ("the sky, it is blue. the house is red.", "the house is red".split(), SKY, False)


SKY = ["the", "sky", "it", "is", "blue"]


@pytest.mark.parametrize("way", WAYS)
def test_reasoning_may_begin_before_the_text_and_end_behind_it(way: str) -> None:
    marks = ("<think>", "</think>")
    assert found(way, "the sky</think> red", *marks) == ("the sky red", ["red"], ["the", "sky"], False)
    assert found(way, "<think>the sky", *marks) == ("the sky", [], ["the", "sky"], True)
    assert found(way, "the sky", *marks, opened=True) == ("the sky", [], ["the", "sky"], True)
    assert found(way, "the</think> sky", *marks, opened=True) == ("the sky", ["sky"], ["the"], False)
    twice = found(way, "<think>the</think> sky <think>is</think> blue", *marks)
    assert twice == ("the sky is blue", ["sky", "blue"], ["the", "is"], False)
    assert found(way, "</think>red", *marks) == ("red", ["red"], [], False)
    assert found(way, "<think></think>red", *marks) == ("red", ["red"], [], False)


@pytest.mark.parametrize("way", WAYS)
def test_other_marks_are_no_words_either(way: str) -> None:
    marks = ("<think>", "</think>", "<answer>", "</answer>", "<|begin_of_box|>", "<|end_of_box|>")
    glm = "<think>the sky</think><answer>the <|begin_of_box|>red<|end_of_box|> house</answer>"
    assert found(way, glm, *marks) == ("the sky the red house", ["the", "red", "house"], ["the", "sky"], False)
    assert found(way, "a dog<|im_end|>", "<|im_end|>")[:2] == ("a dog", ["a", "dog"])


@pytest.mark.parametrize("mark", ["<image>", "[IMG]", "<image_soft_token>", "<IMG_CONTEXT>"])
def test_tokens_beside_the_vocabulary_are_no_words_and_letters_stay(mark: str) -> None:
    assert found("added", f"a {mark} dog", mark)[:2] == (f"a {mark} dog", ["a", "dog"])
    assert found("special", f"a {mark} dog", mark)[:2] == ("a dog", ["a", "dog"])
    assert found("special", f"dog{mark}red{mark}.", mark)[:2] == ("dog red.", ["dog", "red"])
    plain = words_of(tokenizer("letters"), tokenizer("letters")(f"a {mark} dog")["input_ids"])
    assert plain[0] == f"a {mark} dog", "nobody knows such a token: it is what was said"
    place = "<loc0123>"
    assert found("added", f"a dog {place}", place)[1] == ["a", "dog", place], "where it is is what was said"


def test_special_tokens_that_are_added_later_are_known() -> None:
    made = byte_pairs()
    before = special_ids(made)
    assert before == special_ids(made) == set(made.all_special_ids)
    made.add_tokens(["<|turn|>"], special_tokens=True)
    assert special_ids(made) - before == {made.convert_tokens_to_ids("<|turn|>")}


def test_text_without_marks_is_as_it_was() -> None:
    made = byte_pairs()
    for written in ("a dog [sic] <3 and x<y>z", "think of the house", "the thinking  man\n\nis red", "[OK] a dog"):
        tokens = made(written, add_special_tokens=False)["input_ids"]
        assert read(made, tokens).text == made.decode(tokens).strip()
        assert not any(read(made, tokens).reasoning)
    pieces = word_pieces()
    assert words_of(pieces, pieces("a red house")["input_ids"])[0] == "a red house"


# In answers

Chat = Callable[..., Any]


@pytest.fixture(scope="module")
def chat(tiny_folder: Callable[[str], Path]) -> Chat:
    """A chat task of its own; ``opens``: whether its template ends with <think>, ``special``: its marks are tokens."""
    read_ = cache(lambda: cast(Any, load(tiny_folder("llava"))))

    def made(opens: bool = False, special: bool = False) -> Any:
        processor, model = deepcopy(read_().prompting.processor), deepcopy(read_().model)
        if special:
            processor.tokenizer.add_tokens(["<think>", "</think>"], special_tokens=True)
            model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
            model.eval()
        if opens:
            begin = "{% if add_generation_prompt %}<think>\n{% endif %}"
            processor.chat_template = processor.chat_template + begin
        return wrap(model, processor, name="thinker")

    return made


def said(task: Any, answer: str, **more: Any) -> Prediction:
    features = task.features(task.place(task.prepare(picture(2))[None]))
    prediction: Prediction = task.predict(features, [Query(question=QUESTION, answer=answer, **more)])[0]
    return prediction


@pytest.mark.parametrize("special", [False, True])
def test_an_answer_keeps_its_tokens_and_tells_its_words_apart(chat: Chat, special: bool) -> None:
    task, written = chat(special=special), "<think>the sky is blue</think>the house is red"
    prediction = said(task, written)
    assert prediction.text == written, "what was written, marks with it"
    assert [word.reasoning for word in prediction.words] == [True] * 4 + [False] * 4
    tokens = prediction.tokens[prediction.start :]
    assert tokens == tuple(task.tokenizer(written, add_special_tokens=False)["input_ids"]), "marks with them"
    assert said(task, prediction.text).tokens == prediction.tokens, "what was said can be asked for again"
    assert not any(note.startswith("the answer is only") for note in prediction.notes)


def test_a_template_that_opens_the_reasoning_is_heard(chat: Chat) -> None:
    task = chat(opens=True)
    assert [word.reasoning for word in said(task, "the sky</think> red").words] == [True, True, False]
    cut = said(task, "the sky is")
    assert all(word.reasoning for word in cut.words)
    assert "the answer is only reasoning, which has no end" in cut.notes[0]
    asked = said(chat(), "the sky is", prompt=None)
    assert not any(word.reasoning for word in asked.words)


@pytest.mark.parametrize(("longest", "why_not"), [(1, "it was cut within"), (9, "the model ended within")])
def test_what_the_model_writes_itself_may_have_no_answer(chat: Chat, longest: int, why_not: str) -> None:
    task = chat(opens=True)
    task.longest = longest
    why = vlx.explain(task, picture(2), question=QUESTION, prompt="the house is", seen=False, check=False)
    assert len(why) and all(word.reasoning for word in why)
    assert any(f"only reasoning, which has no end: {why_not}" in note for note in why.notes), why.notes
    assert any("cut after 1 tokens" in note for note in why.notes) == (longest == 1)


def test_an_answer_that_ends_with_its_reasoning_says_so(chat: Chat) -> None:
    assert "the answer is only reasoning: nothing follows it" in said(chat(), "<think>the sky</think>").notes
    for bad in ("<think></think>", "<think>"):
        with pytest.raises(InputError, match="holds no word"):
            said(chat(), bad)


# In reports


@pytest.fixture(scope="module")
def why(chat: Chat) -> vlx.Explanation:
    answer = "<think>The sky, it is blue. so the house (there)</think> is red and there are two boats."
    return vlx.explain(chat(), picture(2, 90, 60), question=QUESTION, answer=answer, words="content")


def test_content_words_are_those_outside_of_the_reasoning(why: vlx.Explanation) -> None:
    assert [word.label for word in why if word.mapped] == ["red", "two", "boats"]
    assert all(word.seen is not None for word in why)
    told = why.provenance["words"]
    assert told == (
        "13 of 16 words have no map: those that were asked for are content words outside of its reasoning; for others "
        'give words="all" or words=[labels, positions]'
    )


def test_reports_tell_the_reasoning_from_what_is_said(why: vlx.Explanation, tmp_path: Path) -> None:
    assert answers.reasoning(why) == "The sky, it is blue. so the house (there)"
    assert answers.said(why) == "is red and there are two boats."
    lines = [str(line) for line in (*text.reasoned(why, 20), text.title(why))]
    assert lines[0].startswith("reasoning, 9 words: The sky,") and lines[0].endswith("…")
    assert "sky" not in lines[1] and "boats" in lines[1]
    assert len(brief(why).renderables) > 2
    page = html.page(why)
    head = page.partition('<div class="stage">')[0]
    assert '<details class="thoughts"><summary>Its reasoning: 9 words</summary>' in head
    thoughts, _, spoken = head.partition("</details>")
    assert (thoughts.count("<button"), spoken.count("<button")) == (9, 7)
    assert "no map was asked for (13 of 16 words)" in head
    assert "Show 13 more: words without a map" in page
    assert "<title>what color is the house? is red and there are two boats." in page
    written = why.save(tmp_path / "why.md").read_text(encoding="utf-8")
    assert "<details><summary>Reasoning</summary>" in written and "| *sky" in written and "| *red" not in written


def test_maps_of_the_reasoning_that_were_asked_for_stand_by_themselves(chat: Chat) -> None:
    answer = "<think>the sky is blue and the house</think> is red and there are two boats"
    page = html.page(vlx.explain(chat(), picture(2), question=QUESTION, answer=answer, words="all", check=False))
    assert "Show 7 more: words of its reasoning" in page and "Show 4 more: function words" in page
    places = re.findall(r'id="told-0-(\d+)"', page)
    assert sorted(map(int, places)) == list(range(len(places))), "each once"
    assert "no map was asked for" not in page


def test_reasoning_alone_is_open_and_said_to_be_no_answer(chat: Chat) -> None:
    only = vlx.explain(chat(), picture(2), question=QUESTION, answer="<think>the sky is blue")
    assert answers.only_reasoning(only) and answers.said(only) == ""
    assert str(text.title(only)) == "asked to explain: (only reasoning)"
    assert '<details class="thoughts" open><summary>Its reasoning, and no answer: 4 words</summary>' in html.page(only)
    assert '<details class="thoughts"' not in html.page(
        vlx.explain(chat(), picture(2), question=QUESTION, answer="red")
    )
