"""The map check as a metric says of every map what `vlx.explain` says of it, and of baselines the same."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import vlx
from tests.evaluation.test_run import Squares
from tests.explanation.test_map_check import colours, squares
from tests.fakes import captioner, picture
from vlx.data.example import Ask, Example
from vlx.evaluation import evaluate
from vlx.evaluation.loop import measured
from vlx.evaluation.metrics.check import CHECK
from vlx.evaluation.records import Columns
from vlx.evaluation.shown import Setting
from vlx.methods import registry
from vlx.methods.method import Method, attribution
from vlx.protocol.targets import Query

TEXTS = ("a red dog on grass", "a dog on red grass")


class Turned(Squares):
    """Pictures of two squares that are not the same, each class asked for by itself."""

    def __getitem__(self, number: int) -> Example:
        asks = [Ask(label=name, group=name) for name in ("red", "green")]
        return Example(str(number), squares(*((0, 1), (1, 0), (0, 0))[number]), asks=asks)


class Told(Squares):
    """Pictures with a caption each, whose nouns are asked about."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> Example:
        text = TEXTS[number]
        words = text.split()
        asks = [Ask(Query(caption=text), words.index(word), group="thing") for word in ("dog", "red")]
        return Example(str(number), picture(number), texts=(text,), asks=asks)


def _columns(task: Any, data: Any, *methods: Any, kinds: Any = ("logit",)) -> Columns:
    chosen = tuple(map(registry.choose, methods))
    return measured(Setting(task, data, chosen, kinds), [CHECK]).columns["check"]


def _of(columns: Columns, line: tuple[str, str]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = columns.value[columns.line == columns.lines.index(line)]
    return values


def _expected(check: Any) -> float:
    return float("nan") if check.verdict == "cannot be tested" else float(check.confirmed)


def _alike(found: Any, whys: Any) -> None:
    """The same of every map that is not empty; 0 of those that are."""
    expected = [_expected(one.check) if one.signed.max() > 0 else 0.0 for one in whys]
    np.testing.assert_array_equal(found, expected)


def test_it_says_of_each_class_what_explain_says_of_it() -> None:
    task = colours()
    columns = _columns(task, Turned(), "gradcam", "layercam")
    for method in ("gradcam", "layercam"):
        whys = [
            vlx.explain(task, Turned()[n].image, answer=name, method=method, target="logit", check=True)[0]
            for n in range(3)
            for name in ("red", "green")
        ]
        _alike(_of(columns, (method, "logit")), whys)
        assert any(why.check is not None and why.check.confirmed for why in whys)


@pytest.mark.parametrize("kind", ["attention", "state"])
def test_it_says_of_each_word_what_explain_says_of_it(kind: str) -> None:
    task = captioner(kind)
    columns = _columns(task, Told(), "gradcam", "hirescam", kinds=("logit", "logprob"))
    for method in ("gradcam", "hirescam"):
        for target in ("logit", "logprob"):
            whys = [
                vlx.explain(task, picture(n), caption=text, method=method, target=target, check=True)
                for n, text in enumerate(TEXTS)
            ]
            _alike(_of(columns, (method, target)), [why[word] for why in whys for word in ("dog", "red")])


def test_a_map_that_knows_the_thing_is_confirmed_and_noise_is_not() -> None:
    def shown(task: Any, site: Any, targets: Any) -> Any:
        return attribution(task, site, targets, site.features.A[[target.row for target in targets]][:, 0])

    known = Method("redness", "", "where the picture is red", shown, gradient=False)
    columns = _columns(colours(), Turned(), known)
    red = np.flatnonzero(_of(columns, ("redness", "logit")) == 1)
    assert {columns.groups[columns.group[columns.line == 0][n]] for n in red} == {"red"}
    assert {("random", ""), ("centre", ""), ("same", "")} < set(columns.lines)
    assert np.nansum(_of(columns, ("random", ""))) <= 1


def test_an_empty_map_counts_as_not_confirmed_and_is_counted() -> None:
    def nothing(task: Any, site: Any, targets: Any) -> Any:
        return attribution(task, site, targets, -site.features.A[[target.row for target in targets]][:, 0].abs() - 1)

    empty = Method("nothing", "", "nothing speaks for it", nothing, gradient=False)
    result = evaluate(colours(), Turned(), metrics=[CHECK], methods=[empty], targets=["logit"])
    (row,) = [row for row in result.rows if row.group == "red"]
    assert (row.value, row.empty, row.unmeasured) == (0.0, 3, 0)
    assert json.loads(json.dumps(result.to_json()))
