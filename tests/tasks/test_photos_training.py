import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file

import vlx
from vlx.errors import InputError, ModelError, UnknownWords
from vlx.tasks.captioning.train import command
from vlx.tasks.captioning.train import main as drawn
from vlx.tasks.photos import train as recipes
from vlx.tasks.photos.efficientnet import MIDDLE, WIDE, EfficientNetLite
from vlx.tasks.photos.network import NEVER, PhotoCnn, PhotoDecoder
from vlx.tasks.photos.teaching import NONE, Detector, Lesson, losses
from vlx.tasks.photos.vocabulary import END, START, UNKNOWN, Vocabulary

WORDS = [a + b for a, b in itertools.product("bdfghklmnp", ["ag", "eg", "ig", "og", "ug", "at"])]


def flickr(folder: Path, count: int = 12) -> Path:
    """So many pictures of noise with captions of made-up words, the last two for test and choosing."""
    (folder / "Images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        name = f"{number:03}.jpg"
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / "Images" / name)
        rows += [f"{name},{' '.join(np.roll(WORDS, 5 * (number + turn))[:12])} ." for turn in range(5)]
    (folder / "captions.txt").write_text("image,caption\n" + "\n".join(rows) + "\n", encoding="utf-8")
    for split, name in (("test", f"{count - 1:03}.jpg"), ("dev", f"{count - 2:03}.jpg")):
        (folder / f"Flickr_8k.{split}Images.txt").write_text(name + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flickr(tmp_path_factory.mktemp("photographs") / "flickr8k")


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    def network(_: Path | None) -> EfficientNetLite:
        torch.manual_seed(0)
        return EfficientNetLite().eval().requires_grad_(False)

    monkeypatch.setattr(recipes, "published", network)


def recipe(folder: Path, **changed: object) -> recipes.PhotoRecipe:
    return replace(
        recipes.PhotoRecipe((f"flickr8k:{folder}",), passes=3, until=3, batch=4, fewest=2, told=40, rewarded=0),
        **changed,  # type: ignore[arg-type]
    )


def trained(out: Path, made: recipes.PhotoRecipe) -> dict[str, torch.Tensor]:
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text("{}", encoding="utf-8")
    recipes.train(out, made)
    return load_file(out / "bundle" / "weights.safetensors")


def test_a_run_that_was_stopped_ends_like_an_unbroken_one(data: Path, tmp_path: Path) -> None:
    whole = trained(tmp_path / "one" / "whole", recipe(data))
    trained(tmp_path / "one" / "parts", recipe(data, until=1))
    parts = trained(tmp_path / "one" / "parts", recipe(data))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)

    task = vlx.load(tmp_path / "one" / "whole" / "bundle")
    why = vlx.explain(task, data / "Images" / "000.jpg", caption=" ".join(WORDS[:3]))
    assert why.text == "bag beg big"
    assert all(np.isfinite(word.heatmap).all() and word.signed.shape == (14, 14) for word in why)
    config = json.loads((tmp_path / "one" / "whole" / "bundle" / "config.json").read_text(encoding="utf-8"))
    assert config["pictures"] == {"flickr8k": 10}  # neither the test picture nor the one for choosing
    assert max(config["counts"]) <= 50
    with pytest.raises(UnknownWords, match="macaw"):
        vlx.explain(task, data / "Images" / "000.jpg", caption="bag macaw")


def test_named_pictures_are_kept_out_and_the_backbone_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("000.jpg\n001.jpg\n", encoding="utf-8")
    weights = trained(tmp_path / "run", recipe(data, without=(str(tmp_path / "names.txt"),), until=1))
    config = json.loads((tmp_path / "run" / "bundle" / "config.json").read_text(encoding="utf-8"))
    assert config["pictures"] == {"flickr8k": 8}
    published = recipes.published(None).state_dict()
    for name, tensor in published.items():
        assert torch.equal(weights[f"cnn.backbone.{name}"].float(), tensor.half().float()), name


def test_a_bundle_with_other_counts_or_words_is_refused_briefly(data: Path, tmp_path: Path) -> None:
    trained(tmp_path / "run", recipe(data, until=1))
    path = tmp_path / "run" / "bundle" / "config.json"
    made = json.loads(path.read_text(encoding="utf-8"))
    for changed, wanted in (
        ({"counts": [1, 2]}, r"config.json: 2 counts for \d+ words; needed is one for each"),
        ({"vocabulary": made["vocabulary"][::-1]}, r"config.json: vocabulary=.*…; needed is a list of words, <pad>"),
        ({"counts": ["x"] * 1000}, r"config.json: counts=.*…; needed is a list of whole numbers"),
    ):
        path.write_text(json.dumps({**made, **changed}), encoding="utf-8")
        with pytest.raises(ModelError, match=wanted) as told:
            vlx.load(path.parent)
        assert len(str(told.value)) < 300 + len(str(path))


def test_bad_input_is_told(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"only \d+ of 60 words stand in 1000 captions"):
        trained(tmp_path / "few", recipe(data, fewest=1000))
    with pytest.raises(InputError, match="give flickr8k:DIR or coco:DIR"):
        trained(tmp_path / "kind", recipe(data, data=("imagenet:here",)))


def asked_of(data: Path, out: Path, *more: str) -> Result:
    """What the command says of a run of one pass in steps of four pictures."""
    asked = ["--data", f"flickr8k:{data}", "--out", str(out), "--passes", "1", "--batch", "4", "--rewarded", "0"]
    return CliRunner().invoke(command(asked), [*asked, "--fewest", "2", *more])


def test_what_is_wrong_with_a_run_is_told_in_a_sentence(data: Path, tmp_path: Path) -> None:
    for told, wanted in (
        (asked_of(tmp_path / "none", tmp_path / "a"), "none is no folder"),
        (asked_of(data, tmp_path / "b", "--batch", "11"), "10 pictures are fewer than a --batch of 11"),
        (asked_of(data, tmp_path / "c", "--without", str(tmp_path / "list")), "list' does not exist"),
        (asked_of(data, tmp_path / "d", "--batch", "0"), "0 is not in the range"),
    ):
        assert wanted in " ".join(told.output.split()) and isinstance(told.exception, SystemExit), told.output
        assert "Error: " in told.output


def test_another_recipe_does_not_go_on_with_a_run(data: Path, tmp_path: Path) -> None:
    assert asked_of(data, tmp_path / "run").exit_code == 0
    told = asked_of(data, tmp_path / "run", "--seed", "1")
    assert told.exit_code == 1
    assert "run holds a run of another recipe (seed 0, now 1); give another --out" in told.output
    assert json.loads((tmp_path / "run" / "recipe.json").read_text(encoding="utf-8"))["seed"] == 0
    assert asked_of(data, tmp_path / "run", "--until", "1").exit_code == 0
    assert asked_of(data, tmp_path / "run", "--rewarded", "1").exit_code == 0
    assert "(rewarded 1, now 0)" in asked_of(data, tmp_path / "run").output


def test_pictures_that_cannot_be_read_are_counted_and_named(tmp_path: Path) -> None:
    folder = flickr(tmp_path / "flickr8k")
    (folder / "Images" / "003.jpg").write_bytes(b"<html>")
    told = asked_of(folder, tmp_path / "run")
    assert told.exit_code == 0, told.output
    assert "11 photographs, 55 captions; 1 left out, cannot be read: 003.jpg" in " ".join(told.output.split())


def test_the_command_of_captioners_trains_on_photographs_too(data: Path, tmp_path: Path) -> None:
    asked = [
        "--data",
        f"flickr8k:{data}",
        "--out",
        str(tmp_path / "run"),
        "--passes",
        "1",
        "--batch",
        "4",
        "--rewarded",
        "0",
    ]
    told = CliRunner().invoke(command(asked), [*asked, "--fewest", "2"])
    assert told.exit_code == 0, told.output
    assert "pass 1/1" in told.output
    written = json.loads((tmp_path / "run" / "bundle" / "recipe.json").read_text(encoding="utf-8"))
    assert written["commands"][0].startswith(
        f"python -m vlx.tasks.captioning.train --out runs/run --data flickr8k:{data} --passes 1"
    )
    assert command(["--out", "runs/x"]) is drawn


def test_a_cell_of_both_depths_is_of_one_place() -> None:
    torch.manual_seed(0)
    network = PhotoCnn(8)
    middle, last = torch.zeros(1, MIDDLE, 6, 8), torch.zeros(1, WIDE, 3, 4)
    plain = network.fused(middle, last)
    middle[0, :, 2, 7] += 1
    last[0, :, 2, 1] += 1
    changed = (network.fused(middle, last) != plain).any(1)[0]
    assert {(int(i), int(j)) for i, j in changed.nonzero()} == {(2, 7), (4, 2), (4, 3), (5, 2), (5, 3)}


def decoder(units: int = 8, words: int = 12) -> PhotoDecoder:
    torch.manual_seed(0)
    return PhotoDecoder(units, words, embedding=16, hidden=24, keys=8)


def test_steps_and_the_whole_text_at_once_say_the_same_and_never_what_is_no_word() -> None:
    network = decoder().double().eval()
    A = torch.randn(2, 8, 3, 4, dtype=torch.float64).relu()
    tokens = torch.tensor([[START, 5, 6, 7], [START, 9, 4, 4]])
    state, rows = network.start(A), []
    for step in range(tokens.shape[1]):
        hidden, state = network.step(tokens[:, step], state)
        rows.append(hidden)
        assert torch.allclose(state[-1].sum(1), torch.ones(2, dtype=torch.float64))
    assert torch.allclose(torch.stack(rows, 1), network.unroll(tokens, network.start(A)), atol=1e-12)
    logprobs = network.logits(rows[-1]).log_softmax(1)
    assert (logprobs[:, [0, START, UNKNOWN]] < NEVER / 2).all()
    assert (logprobs[:, [END, 4, 5]] > -20).all()


def test_what_a_word_owes_to_the_picture_comes_by_its_own_attention() -> None:
    network = decoder().eval()
    A = torch.randn(1, 8, 3, 4).relu()
    tokens = torch.tensor([[START, 5, 6, 7]])
    out, _ = network.lstm(network.heard(tokens))
    hidden = network.unroll(tokens, network.start(A))
    assert torch.equal(hidden[..., :24], out), "the LSTM has heard of the picture"


def test_a_lesson_asks_for_every_word_but_the_unknown() -> None:
    lesson = Lesson.of([[[START, 5, UNKNOWN, 6, END]], [[START, 7, END], [START, END]]])
    assert lesson.read[0, 0].tolist() == [START, 5, UNKNOWN, 6]
    assert lesson.said[0, 0].tolist() == [5, NONE, 6, END]
    assert lesson.said[1].tolist() == [[7, END, NONE, NONE], [END, NONE, NONE, NONE]]
    assert lesson.said[0, 1].tolist() == [NONE] * 4


def test_attention_is_taught_to_lie_where_a_word_is_from_captions_alone() -> None:
    """A thing makes its unit fire in a cell of its own; the other units are noise. Only captions are told."""
    network, words = decoder(), 4
    detector = Detector(network, [4, 5, 6, 7])
    optimizer = torch.optim.Adam([*network.parameters(), *detector.parameters()], 1e-2)
    generator = torch.Generator().manual_seed(0)

    def drawn_things(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        A = torch.rand(count, 8, 16, generator=generator) * 0.3
        things = torch.randint(0, words, (count,), generator=generator)
        cells = torch.randint(0, 16, (count,), generator=generator)
        A[torch.arange(count), things, cells] = 2.0
        return A.reshape(count, 8, 4, 4), things + 4, cells

    for step in range(150):
        A, tokens, _ = drawn_things(32)
        lesson = Lesson.of([[[START, token, END]] for token in tokens.tolist()])
        optimizer.zero_grad()
        losses(network, detector, A, lesson).total(1.0, 0.5 if step > 30 else 0.0).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    network.eval()
    A, tokens, cells = drawn_things(100)
    hidden, state = network.step(torch.full((100,), START), network.start(A))
    assert (network.logits(hidden).argmax(1) == tokens).float().mean() > 0.9
    assert (state[-1].argmax(1) == cells).float().mean() > 0.9


def test_a_vocabulary_counts_captions_and_leaves_little_words_untold() -> None:
    made = Vocabulary.of([f"a {word} and a {word}" for word in WORDS] * 3, 3)
    assert made.words[4:6] == ("a", "and")
    assert made.counts[4:7] == (180, 180, 3)
    assert len(made.told(3, 1000)) == len(WORDS)
    assert made.tokens("A bag, zebra") == [START, made.words.index("a"), made.words.index("bag"), UNKNOWN, END]
