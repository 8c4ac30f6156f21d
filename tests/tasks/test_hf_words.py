"""From tokens of transformers to words: pieces, bytes, signs; and texts that cannot be."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import vlx
from tests.hf import ASKED, CAPTION, CAPTIONERS, FAMILIES, QUESTION, Tiny, ids, logits, options, picture, pixels
from vlx.errors import ImageError, InputError, ModelError, UnknownWords
from vlx.protocol.targets import Query
from vlx.tasks.huggingface.loading import wrap
from vlx.tasks.huggingface.texts import likeliest
from vlx.tasks.huggingface.tiny.words import byte_pairs, word_pieces
from vlx.tasks.huggingface.words import words_of


def cut(tokenizer: Any, text: str) -> tuple[str, list[tuple[str, list[str]]]]:
    """A text's words, each with its tokens as the tokenizer has them."""
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    whole, words = words_of(tokenizer, tokens)
    return whole, [(word, tokenizer.convert_ids_to_tokens([tokens[n] for n in own])) for word, own in words]


def test_pieces_of_words_are_joined() -> None:
    text, words = cut(word_pieces(), "a greenish house, seen at night")
    assert text == "a greenish house, seen at night"
    assert words[:3] == [("a", ["a"]), ("greenish", ["green", "##ish"]), ("house", ["house"])]
    assert [word for word, _ in words] == ["a", "greenish", "house", "seen", "at", "night"]


def test_byte_level_pieces_are_joined_and_their_spaces_left_out() -> None:
    tokenizer = byte_pairs()
    text, words = cut(tokenizer, " a greenish house.  At night")
    assert [word for word, _ in words] == ["a", "greenish", "house", "At", "night"]
    assert "".join(words[1][1]) == "Ġgreenish"
    assert len(words[1][1]) > 1
    assert text == "a greenish house.  At night"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the dog's tail", ["the", "dog's", "tail"]),
        ("a well-known house", ["a", "well-known", "house"]),
        ("a café au lait", ["a", "café", "au", "lait"]),
        ("un été là", ["un", "été", "là"]),
        ("a 😀 dog 😀", ["a", "dog"]),
        ("naïve 犬 dog", ["naïve", "犬", "dog"]),
        ("Ünlü é", ["Ünlü", "é"]),
        ("red...blue!?", ["red", "blue"]),
        ("a  dog \n on grass ", ["a", "dog", "on", "grass"]),
    ],
)
def test_letters_that_are_cut_into_bytes_lose_none(text: str, words: list[str]) -> None:
    tokenizer = byte_pairs()
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    _, found = words_of(tokenizer, tokens)
    assert [word for word, _ in found] == words
    for word, own in found:
        assert tokenizer.decode([tokens[n] for n in own]).strip() == word
    places = [n for _, own in found for n in own]
    assert places == sorted(set(places)), "no token belongs to two words"


def test_what_bert_writes_apart_stays_apart() -> None:
    tokenizer = word_pieces()
    tokens = tokenizer("the dog's black-and-white house", add_special_tokens=False)["input_ids"]
    text, found = words_of(tokenizer, tokens)
    for word, own in found:
        assert tokenizer.decode([tokens[n] for n in own]).replace(" ", "") == word.replace(" ", "")
    assert [word for word, _ in found][-1] == "house"
    assert text == tokenizer.decode(tokens)


def test_special_tokens_are_no_words() -> None:
    tokenizer = word_pieces()
    tokens = tokenizer("a red house")["input_ids"]
    assert tokens[0] == tokenizer.cls_token_id
    tokens.insert(2, tokenizer.unk_token_id)
    text, found = words_of(tokenizer, tokens)
    assert (text, found) == ("a red house", [("a", (1,)), ("red", (3,)), ("house", (4,))])
    assert words_of(tokenizer, []) == ("", [])
    assert words_of(tokenizer, [tokenizer.sep_token_id]) == ("", [])


def test_alternatives_can_be_read() -> None:
    tokenizer = word_pieces()
    logprobs = torch.full((len(tokenizer) + 2,), -20.0)
    logprobs[-2:], logprobs[tokenizer.cls_token_id] = -0.5, -1  # rows that no token has, as BLIP's [DEC]
    logprobs[tokenizer.convert_tokens_to_ids(["red", "##ish", "dog", "a", "the", "of"])] = torch.arange(-2.0, -8, -1)
    assert [other.label for other in likeliest(tokenizer, logprobs)] == ["red", "##ish", "dog", "a", "the"]
    pairs = byte_pairs()
    logprobs = torch.full((len(pairs),), -20.0)
    logprobs[pairs.convert_tokens_to_ids(["Ġ", "Ġred", "Ċ", "Ġdog", "Ġon", "a", "Ġthe"])] = torch.arange(-1.0, -8, -1)
    assert [other.label for other in likeliest(pairs, logprobs)] == ["red", "dog", "on", "a", "the"]


# Maps and numbers of words


@pytest.mark.parametrize("family", CAPTIONERS)
def test_a_words_numbers_are_its_pieces_joined(tiny_models: Tiny, family: str) -> None:
    task = tiny_models.task(family)
    tokens = task.tokenizer(CAPTION, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logprobs = logits(task, family, pixels(task, picture()), tokens).log_softmax(-1)
    why = {rule: vlx.explain(task, picture(), caption=CAPTION, subword_map=rule) for rule in ("max", "first", "sum")}
    parts = [piece for piece, token in enumerate(tokens) if token not in task.tokenizer.all_special_ids]
    own = words_of(task.tokenizer, tokens)[1][1][1]
    assert (why["max"][1].label, len(own) > 1, parts) == ("greenish", True, list(range(len(tokens))))
    for found in why.values():
        assert [word.label for word in found] == CAPTION.split()
        assert found[1].logprob == pytest.approx(sum(float(logprobs[n, tokens[n]]) for n in own), abs=1e-4)
        assert found[1].score == pytest.approx(found[1].logprob, abs=1e-4)
        assert found.sentence.logprob == pytest.approx(
            sum(float(logprobs[n, token]) for n, token in enumerate(tokens)), abs=1e-4
        )
        assert np.allclose(found[2].signed, why["max"][2].signed, atol=1e-7), "a word of one piece has one map"
        assert np.allclose(found[1].weights, why["sum"][1].weights, atol=1e-6)
    largest = why["max"][1].signed
    assert (largest >= why["first"][1].signed - 1e-7).all()
    assert not np.allclose(largest, why["sum"][1].signed)


@pytest.mark.parametrize("family", CAPTIONERS)
def test_phrases_are_cut_alike_from_said_and_given_text(
    tiny_models: Tiny, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vlx.language, "_parser", lambda models, without=(): None)
    task = tiny_models.task(family)
    said = vlx.explain(task, picture(3))
    forced = vlx.explain(task, picture(3), caption=said.text)
    assert [word.label for word in said] == said.text.split()
    assert said.text == forced.text
    assert [phrase.label for phrase in said.phrases] == [phrase.label for phrase in forced.phrases]
    assert said.phrases[0].label.startswith("a ")
    for a, b in zip([*said, *said.phrases], [*forced, *forced.phrases], strict=True):
        assert a.logprob == pytest.approx(b.logprob, abs=1e-4)
        assert np.allclose(a.signed, b.signed, atol=1e-5)
    phrase = said.phrases[0]
    inside = [said[n] for n in range(len(phrase.label.split()))]
    assert np.allclose(phrase.signed, sum(word.signed for word in inside))


@pytest.mark.parametrize("family", CAPTIONERS)
def test_a_caption_goes_on_where_its_prompt_ends(tiny_models: Tiny, family: str) -> None:
    task = tiny_models.task(family)
    whole = vlx.explain(task, picture(), caption="a red house at night")
    split = vlx.explain(task, picture(), prompt="a red", caption="house at night")
    assert (split.text, [word.label for word in split]) == ("a red house at night", ["house", "at", "night"])
    for a, b in zip(list(whole)[2:], split, strict=True):
        assert a.logprob == pytest.approx(b.logprob, abs=1e-5)
        assert np.allclose(a.signed, b.signed, atol=1e-6)
    assert "the model was given how the caption begins: a red" in split.notes
    said = vlx.explain(task, picture(), prompt="a red")
    assert said.text.startswith("a red ")
    assert said.text == " ".join(["a red", *(word.label for word in said)])


@pytest.mark.parametrize("family", CAPTIONERS)
def test_a_model_that_ends_at_once_says_nothing(tiny_models: Tiny, family: str) -> None:
    task = tiny_models.task(family)
    right, last = task.family.generate, task.family.end(task.model)[0]

    def silent(twin: Any, tokens: Any, given: Any, more: dict[str, Any]) -> Any:
        found = right(twin, tokens, given, more)
        found.sequences = torch.cat([given, ids(last)], 1)
        return found

    task.family = replace(task.family, generate=silent)
    why = vlx.explain(task, picture())
    assert (why.text, len(why), why.phrases) == ("", 0, ())
    assert "the model ended its caption before the first word" in why.notes


# What cannot be


@pytest.mark.parametrize("family", CAPTIONERS)
@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"question": QUESTION}, InputError, r"^a captioner takes no question, answer or instead_of; force a text"),
        ({"answer": "red"}, InputError, r"^a captioner takes no question, answer or instead_of"),
        ({"caption": ""}, InputError, r"^the caption '' holds no word; give at least one$"),
        ({"caption": " ?! "}, InputError, r"holds no word"),
        ({"caption": "", "prompt": "a"}, InputError, r"^the caption '' holds no word"),
        ({"prompt": "..."}, InputError, r"^the prompt '\.\.\.' holds no word"),
        ({"caption": "dog " * 300}, InputError, r"^the caption has [0-9]+ tokens, .* takes at most 63; shorten it$"),
        ({"prompt": "a dog " * 32}, InputError, r"^the prompt has 65 tokens, .* takes at most 63; shorten it$"),
        ({"prompt": "a " * 40, "caption": "a " * 24}, InputError, r"^the caption has 64 tokens, .* at most 63"),
        ({"caption": 3}, InputError, r"^caption must be a text, got int$"),
    ],
)
def test_captions_that_cannot_be(
    tiny_models: Tiny, family: str, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {name: text.strip() if isinstance(text, str) and len(text) > 9 else text for name, text in given.items()}
    with pytest.raises(error, match=message):
        vlx.explain(tiny_models.task(family), picture(), **given)


@pytest.mark.parametrize("family", CAPTIONERS)
def test_special_tokens_and_strange_signs_in_captions(tiny_models: Tiny, family: str) -> None:
    """T18."""
    task = tiny_models.task(family)
    for token in task.tokenizer.all_special_tokens:
        with pytest.raises(InputError, match=r"^the caption holds special tokens \(.*\); leave them out$"):
            vlx.explain(task, picture(), caption=f"a {token} dog")
    if family == "vit-gpt2":
        why = vlx.explain(task, picture(), caption="a café 😀 dog")
        assert [word.label for word in why] == ["a", "café", "dog"]
    else:
        with pytest.raises(UnknownWords, match=r"^.* has no tokens for some signs of the caption 'a 😀 dog'"):
            vlx.explain(task, picture(), caption="a 😀 dog")


@pytest.mark.parametrize("family", ASKED)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"^.* needs a question; give question=…$"),
        ({"question": ""}, r"^the question '' holds no word"),
        ({"question": "dog " * 300}, r"^the question has 302 tokens, .* takes at most (64|40); shorten it$"),
        ({"question": "is [SEP] a dog?"}, r"^the question holds special tokens \(\[SEP\]\); leave them out$"),
        ({"question": QUESTION, "caption": "a dog"}, r"^give a question or a caption, not both$|takes no caption"),
        ({"question": QUESTION, "prompt": "a dog"}, r"^a prompt is how a caption begins"),
    ],
)
def test_questions_that_cannot_be(tiny_models: Tiny, family: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        vlx.explain(tiny_models.task(family), picture(), **given)


def test_only_texts_that_are_matched_come_as_captions(tiny_models: Tiny) -> None:
    why = vlx.explain(tiny_models.task("blip-itm"), picture(), caption="a red house")
    assert (why.question, why.text in ("match", "no match")) == ("a red house", True)
    for family in ("blip-vqa", "vilt"):
        with pytest.raises(InputError, match=r"^.* takes no caption; ask it with question=…$"):
            vlx.explain(tiny_models.task(family), picture(), caption="a red house")


@pytest.mark.parametrize(
    ("family", "given", "message"),
    [
        ("vilt", {"answer": "rde"}, r"^'rde' is not among the 12 answers of vilt; close: red$"),
        ("vilt", {"answer": ""}, r"^'' is not among the 12 answers of vilt; some of them: yes, no, red"),
        ("vilt", {"answer": "red", "instead_of": "zzz"}, r"^'zzz' is not among the 12 answers"),
        ("vilt", {"answer": "red", "instead_of": " RED "}, r"^instead_of=' RED ' is the answer that is explained"),
        ("blip-itm", {"answer": "matches"}, r"^'matches' is not among the 2 answers of blip-itm; close: match"),
        ("blip-itm", {"answer": "match", "instead_of": "match"}, r"is the answer that is explained; name another"),
        ("blip-vqa", {"answer": "red", "instead_of": "Red"}, r"^instead_of='Red' is the answer that is explained"),
        ("blip-vqa", {"answer": ""}, r"^the answer '' holds no word"),
        ("blip-vqa", {"answer": "dog " * 70}, r"^the answer has 72 tokens, blip-vqa takes at most 64; shorten it$"),
        ("blip-vqa", {"answer": "red [SEP]"}, r"^the answer holds special tokens \(\[SEP\]\)"),
        ("blip-vqa", {"instead_of": "[CLS] red"}, r"^the instead_of holds special tokens \(\[CLS\]\)"),
    ],
)
def test_answers_that_cannot_be(tiny_models: Tiny, family: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        vlx.explain(tiny_models.task(family), picture(), question=QUESTION, **given)


@pytest.mark.parametrize("size", [(8, 4000), (4000, 8)])
@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_of_an_extreme_shape(tiny_models: Tiny, family: str, size: tuple[int, int]) -> None:
    task = tiny_models.task(family)
    if family == "vilt":
        with pytest.raises(
            ImageError, match=rf"^a picture of {size[0]} × {size[1]} pixels cannot be prepared by Vilt.*"
        ):
            vlx.explain(task, picture(0, *size), **options(family))
        return
    why = vlx.explain(task, picture(0, *size), **options(family), seen=False)
    assert why[0].heatmap.shape == size[::-1]
    assert np.isfinite(why[0].heatmap).all()


@pytest.mark.parametrize("size", [(1, 4000), (4000, 1)])
@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_of_one_row_are_prepared_or_refused(tiny_models: Tiny, family: str, size: tuple[int, int]) -> None:
    task = tiny_models.task(family)
    try:
        assert torch.isfinite(task.prepare(picture(0, *size))).all()
    except ImageError as error:
        assert family == "vilt"
        assert str(error).endswith("cut it to a less extreme shape")


@pytest.mark.parametrize("family", FAMILIES)
def test_training_mode_is_refused(tiny_models: Tiny, family: str) -> None:
    task = tiny_models.task(family)
    part = [name for name, module in task.model.named_modules() if type(module).__name__ == "Dropout"][-1]
    task.model.get_submodule(part).train()
    with pytest.raises(ModelError, match=rf"^{family}: its module '{part}' is in training mode; call model.eval\(\)"):
        vlx.explain(task, picture(), **options(family))
    task.model.train()
    with pytest.raises(ModelError, match=rf"^{family}: it is in training mode; call model.eval\(\) first$"):
        vlx.explain(task, picture(), **options(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_nan_weights_are_named(tiny_models: Tiny, family: str) -> None:
    task = tiny_models.task(family)
    with torch.no_grad():
        next(task.model.get_submodule("vilt.embeddings" if family == "vilt" else task.layer).parameters()).fill_(
            torch.nan
        )
    with pytest.raises(
        ModelError, match=rf"^{family}: .* gives NaN or infinite features; check its weights and dtype$"
    ):
        vlx.explain(task, picture(), **options(family))
    task = tiny_models.task(family)
    with torch.no_grad():
        list(task.model.parameters())[-1].fill_(torch.nan)
    with pytest.raises(ModelError, match=rf"^{family}: .*(NaN|not a finite number)"):
        vlx.explain(task, picture(), **options(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tiny_models: Tiny, family: str) -> None:
    model, processor, tokenizer = tiny_models.parts(family)
    tokenizer = type(tokenizer).from_pretrained(tokenizer.name_or_path)
    tokenizer.add_tokens(["zebra", "yak", "xylophone"])
    with pytest.raises(ModelError, match=rf"^.*: its tokenizer has {len(tokenizer)} tokens, the model knows"):
        wrap(model, (processor, tokenizer))


def test_a_query_of_a_batch_is_refused_as_a_whole(tiny_models: Tiny) -> None:
    task = tiny_models.task("vilt")
    seen = task.features(torch.cat([pixels(task, picture(n)) for n in range(2)]))
    with pytest.raises(InputError, match="needs a question"):
        task.predict(seen, [Query(question=QUESTION), Query()])
