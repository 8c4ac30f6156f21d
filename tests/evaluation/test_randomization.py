"""Maps before and after a model's weights were permuted, or its labels shuffled: similarities, steps and verdicts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vlx
from tests.evaluation.test_check_metric import TEXTS, Told, Turned
from tests.evaluation.test_permuting import changed, copied, state
from tests.explanation.test_map_check import colours
from tests.fakes import captioner, picture
from vlx.data.example import Ask, Example
from vlx.errors import InputError, ModelError
from vlx.evaluation import Record, evaluate, read_run
from vlx.evaluation.figures import Telling
from vlx.evaluation.loop import measured
from vlx.evaluation.metrics.labels import LABELS, labels
from vlx.evaluation.metrics.randomization import RANDOMIZATION
from vlx.evaluation.records import Columns
from vlx.evaluation.shown import Setting
from vlx.evaluation.similarity import similar
from vlx.methods.method import Method, attribution
from vlx.protocol.targets import Query

NAN = float("nan")


def slow_spearman(a: Any, b: Any) -> float:
    """Pearson's correlation of mean ranks, counted one by one."""
    ranks = [
        [sum(o < v for o in values) + sum(o == v for o in values) / 2 for v in values]
        for values in (np.ravel(a).tolist(), np.ravel(b).tolist())
    ]
    first, second = (np.array(one) - np.mean(one) for one in ranks)
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()))


# Similarity


def test_similarities_are_rank_correlations_of_what_speaks_for_it_and_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        before, after = rng.normal(size=(2, 4, 5))
        positive, absolute, _ = similar(before, after)
        assert positive == pytest.approx(slow_spearman(np.maximum(before, 0), np.maximum(after, 0)))
        assert absolute == pytest.approx(slow_spearman(np.abs(before), np.abs(after)))
    assert similar(before, before)[:2] == (1.0, 1.0)
    assert similar(before, 3 * before)[:2] == pytest.approx((1.0, 1.0))


def test_a_map_that_became_empty_or_none_is_as_unlike_as_can_be() -> None:
    before = np.array([[1.0, -2, 0], [3, 4, -1], [0, 0, 2]])
    for after in (None, np.zeros((3, 3)), -np.abs(before), np.full((3, 3), np.nan)):
        assert similar(before, after) == (0.0, 0.0, 0.0)
    flat = np.ones((3, 3))
    assert similar(flat, flat)[:2] == (1.0, 1.0)
    assert np.isnan(similar(flat, before)[:2]).all()
    assert similar(before, flat)[:2] == (0.0, 0.0)
    assert np.isnan(similar(-flat, before)[0])


def test_ssim_is_scikit_images_on_a_scale_from_0_to_the_maximum() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    before, after = np.random.default_rng(0).normal(size=(2, 8, 8))
    one, other = np.maximum(before, 0), np.maximum(after, 0)
    expected = metrics.structural_similarity(one / one.max(), other / other.max(), win_size=7, data_range=1)
    assert similar(before, 5 * after)[2] == pytest.approx(expected)
    assert similar(before[:4, :4], before[:4, :4])[2] == pytest.approx(1)
    assert np.isnan(similar(before[:2], after[:2])[2])


# Steps


def _measured(task: Any, data: Any, *methods: Any, metric: Any = RANDOMIZATION) -> Columns:
    from vlx.evaluation.run import _methods

    return measured(Setting(task, data, tuple(_methods(task, methods)), ("logit",)), [metric]).columns[metric.name]


@pytest.mark.parametrize("method", ["gradcam", "layercam", "gradient"])
def test_every_step_compares_with_the_maps_of_a_model_with_these_weights(method: str) -> None:
    task = captioner()
    columns = _measured(task, Told(), method)
    copy = copied(task, picture())
    names = [block.name for block in copy.blocks]
    asked = [(n, word) for n in range(2) for word in ("dog", "red")]

    def signed(of: Any) -> list[Any]:
        whys = [
            vlx.explain(of, picture(n), caption=text, method=method, target="logit") for n, text in enumerate(TEXTS)
        ]
        return [whys[n][word].signed for n, word in asked]

    before = signed(task)
    for step in range(len(names)):
        for name, blocks in (("then", copy.blocks[: step + 1]), ("alone", copy.blocks[step : step + 1])):
            with copy.permuted(blocks) as other:
                after = signed(other)
            for number, (one, two) in enumerate(zip(before, after, strict=True)):
                beside = columns.beside[number]
                assert beside["steps"] == names
                if not np.ptp(np.maximum(one, 0)):
                    continue
                expected = slow_spearman(np.maximum(one, 0), np.maximum(two, 0)) if (two > 0).any() else 0.0
                assert beside[name][step][0] == pytest.approx(expected, abs=2e-4)
    first = [row["then"][0][0] for row in columns.beside.values()]
    np.testing.assert_allclose(columns.value, [NAN if one is None else one for one in first], atol=1e-5)


def test_the_users_model_is_left_as_it_was() -> None:
    task: Any = captioner()
    task.cnn.register_forward_hook(lambda *_: None)
    task.decoder.requires_grad_(False)
    before, version = state(task), task.version()
    random = torch.get_rng_state()
    evaluate(task, Told(), metrics=[RANDOMIZATION], methods=["gradcam", "guided"])
    assert not changed(before, state(task))
    assert task.version() == version
    assert torch.equal(random, torch.get_rng_state())
    assert len(task.cnn._forward_hooks) == 1
    assert all(one.grad is None for one in (*task.cnn.parameters(), *task.decoder.parameters()))
    assert not any(one.requires_grad for one in task.decoder.parameters())


def test_edges_never_change_and_fail_and_are_told_so() -> None:
    result = evaluate(captioner(), Told(), metrics=[RANDOMIZATION], methods=["edges", "uniform", "gradcam"])
    for name in ("edges", "uniform"):
        rows = [row for row in result.rows if row.method == name and "passes" not in row.metric]
        assert rows
        assert {(row.value, row.low, row.high) for row in rows} == {(1.0, 1.0, 1.0)}
        assert result.value("decoder", name, "logprob", "randomization, passes") == 0.0
    assert any(note.startswith("edges logprob fails: rank correlation 1.00 (1.00 to 1.00)") for note in result.notes)
    assert json.loads(json.dumps(result.to_json()))
    assert "randomization" in str(result.table().columns[2]._cells)


def test_a_method_that_cannot_make_its_maps_any_more_counts_as_changed() -> None:
    task = captioner()
    own = state(task)

    def proud(of: Any, site: Any, targets: Any) -> Any:
        if changed(own, state(of)) and len(targets) != 1:
            raise ModelError("not these weights together")
        if changed(own, state(of)) and targets[0].label == "red":
            raise ModelError("not these weights")
        return attribution(of, site, targets, site.features.A[[target.row for target in targets]][:, 0] + 0.01)

    method = Method("proud", "", "only of its own model", proud, gradient=False)
    columns = _measured(task, Told(), method, "gradcam")
    told = [columns.beside[n] for n in np.flatnonzero(columns.line == columns.lines.index(("proud", "logit"))).tolist()]
    firsts = [one["then"][0] for one in told]
    assert firsts[1] == firsts[3] == [0.0, 0.0, 0.0]
    assert [one["gone"]["then"][0] for one in told] == [0, 1, 0, 1]
    assert firsts[0][0] == pytest.approx(1)


def test_pictures_that_nobody_tells_anything_of_will_do() -> None:
    class Bare(Turned):
        def __getitem__(self, number: int) -> Example:
            return Example(str(number), super().__getitem__(number).image)

    result = evaluate(colours(), Bare(), metrics=["randomization", "check"], methods=["gradcam", "edges"])
    assert {row.count for row in result.rows if row.method == "edges"} == {3}


@pytest.mark.parametrize("family", ["blip-captioning", "blip-vqa", "vilt"])
def test_models_of_transformers_are_permuted_from_the_head_down(family: str, tiny_models: Any) -> None:
    class Asked(Told):
        def __getitem__(self, number: int) -> Example:
            if family == "blip-captioning":
                query = Query(caption="a greenish house on the water")
            else:
                query = Query(question="what color is the greenish house?")
            return Example(str(number), picture(number), asks=[Ask(query, 2 if query.caption else 0, group="thing")])

    task = tiny_models.task(family)
    before = state(task)
    result = evaluate(task, Asked(), metrics=[RANDOMIZATION], methods=["gradcam", "edges"])
    steps = list(dict.fromkeys(row.group for row in result.rows))
    assert len(steps) > 2
    assert not changed(before, state(task))
    assert any(note.startswith("edges") and " fails: " in note for note in result.notes)


# Figures, from records alone


def _record(key: str, first: float | None, method: str = "gradcam", still: Any = ()) -> Record:
    rows = [[first, 0.5, None], [0.1, 0.2, None]]
    beside = {"steps": ["head", "cnn"], "then": rows, "alone": rows, "gone": {"then": [0, 1], "alone": [0, 0]}}
    value = NAN if first is None else first
    return Record(
        key, 0, "thing", method, "logit", "randomization", value, beside={**beside, **still} if still else beside
    )


def test_the_verdict_goes_by_the_upper_end_of_the_interval() -> None:
    values: dict[str, Any] = {
        "sure": [0.3, 0.31, 0.29, 0.3],
        "torn": [0.1, 0.9, 0.1, 0.6],
        "same": [0.9, 0.9, 0.9, None],
    }
    columns = Columns(_record(str(n), value, method) for method, own in values.items() for n, value in enumerate(own))
    rows = list(RANDOMIZATION.figures("randomization", columns, Telling()))
    passes = {row.method: row.value for row in rows if row.metric == "randomization, passes"}
    assert passes == {"sure": 1.0, "torn": 0.0, "same": 0.0}
    torn = next(row for row in rows if row.method == "torn" and row.metric == "randomization")
    assert torn.value < 0.5 < torn.high
    same = next(row for row in rows if row.method == "same" and row.metric == "randomization")
    assert (round(same.value, 6), same.count, same.unmeasured, same.empty) == (0.9, 4, 1, 0)
    second = next(row for row in rows if row.method == "sure" and row.group == "cnn")
    assert (round(second.value, 6), second.empty) == (0.1, 4)
    assert not any("SSIM" in row.metric for row in rows)
    notes = list(RANDOMIZATION.notes(columns))
    assert notes[0].startswith("sure logit passes: rank correlation 0.30 (0.29 to 0.3")
    assert notes[1].startswith("torn logit fails: ")
    assert any(note.startswith("SSIM left out: pip install 'vlx[ssim]'") for note in notes)


def test_blocks_that_move_nothing_are_named() -> None:
    columns = Columns([_record("a", 0.2, still={"still": ["pooler"]})])
    assert "left out, since they move no score: pooler" in list(RANDOMIZATION.notes(columns))


def test_a_run_that_was_written_makes_the_same_table(tmp_path: Path) -> None:
    asked: Any = {"metrics": [RANDOMIZATION], "methods": ["gradcam"], "out": tmp_path / "run"}
    whole = evaluate(captioner(), Told(), **asked)
    assert read_run(tmp_path / "run", [RANDOMIZATION]) == whole
    file = tmp_path / "run" / "records.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:3]))
    assert evaluate(captioner(), Told(), **asked, resume=True) == whole
    assert file.read_bytes().splitlines(keepends=True) == lines


# A twin that was trained on shuffled labels


def test_labels_compares_with_the_twins_maps_of_the_same_asks() -> None:
    task, twin = captioner(), captioner(seed=1)
    columns = _measured(task, Told(), "gradcam", "edges", metric=labels(twin))
    expected = []
    for n, text in enumerate(TEXTS):
        one, two = (vlx.explain(of, picture(n), caption=text, method="gradcam", target="logit") for of in (task, twin))
        for word in ("dog", "red"):
            before, after = one[word].signed, two[word].signed
            gone = not (after > 0).any()
            expected.append(0.0 if gone else slow_spearman(np.maximum(before, 0), np.maximum(after, 0)))
    values = columns.value[columns.line == columns.lines.index(("gradcam", "logit"))]
    known = ~np.isnan(values)
    assert known.any()
    np.testing.assert_allclose(values[known], np.array(expected)[known], atol=2e-4)
    assert set(columns.value[columns.line == columns.lines.index(("edges", "logit"))]) == {1.0}


def test_labels_needs_a_twin_of_the_same_make() -> None:
    task = captioner()
    with pytest.raises(
        InputError, match=r"^--metrics labels needs a twin that was trained on shuffled labels: give --t"
    ):
        evaluate(task, Told(), metrics=[LABELS])
    with pytest.raises(ModelError, match=r"^tiny is its own twin; give a second model, trained on shuffled labels$"):
        evaluate(task, Told(), metrics=[labels(task)])
    with pytest.raises(InputError, match=r"^the twin Colours does classification, tiny does captioning; give one of"):
        evaluate(task, Told(), metrics=[labels(colours())])


def test_what_the_twin_cannot_be_asked_is_counted() -> None:
    from tests.fakes import VOCABULARY

    class Short(Told):
        closed = ""

    poor = captioner(seed=1)
    poor.vocabulary = ["cat" if word == "dog" else word for word in VOCABULARY]
    result = evaluate(captioner(), Short(), metrics=[labels(poor)], methods=["gradcam"])
    row = next(row for row in result.rows if row.metric == "labels")
    assert (row.group, row.count) == ("the twin", 4)


# Quantus


def test_quantus_correlates_the_same_maps_alike() -> None:
    quantus = pytest.importorskip("quantus")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 4, 4),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 3),
    ).eval()
    seen: list[Any] = []

    def explain_func(model: Any, inputs: Any, targets: Any, **_: Any) -> Any:
        shown = torch.as_tensor(inputs).requires_grad_()
        scores = model(shown)[range(len(inputs)), torch.as_tensor(targets)]
        made = torch.autograd.grad(scores.sum(), shown)[0].sum(1, keepdim=True).detach().numpy()
        seen.append(made)
        return made

    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    measure = quantus.MPRT(
        similarity_func=quantus.similarity_func.correlation_spearman,
        layer_order="top_down",
        abs=True,
        normalise=False,
        disable_warnings=True,
        display_progressbar=False,
    )
    scores = measure(
        model=net, x_batch=x, y_batch=np.array([0, 1]), a_batch=None, explain_func=explain_func, device="cpu"
    )
    rows = list(scores.values()) if isinstance(scores, dict) else scores
    before, *after = seen
    for step, made in zip(rows[-len(after) :], after, strict=False):
        for number, value in enumerate(np.ravel(step)):
            ours = similar(np.abs(before[number, 0]).astype(float), np.abs(made[number, 0]).astype(float))[1]
            assert ours == pytest.approx(float(value), abs=1e-6)
