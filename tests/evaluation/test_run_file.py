"""The file of a run: killed at any moment it goes on, and what is no file of this run is refused."""

import json
import os
import resource
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.test_run import Squares
from tests.explanation.test_map_check import Colours, colours, squares
from tests.explanation.test_map_check import whole as prepared
from vlx.data.example import Ask, Example, Truth
from vlx.errors import InputError, ModelError, OutputError
from vlx.evaluation import Metric, Record, evaluate, of_each, read_run
from vlx.evaluation.batches import MeasuredBatch
from vlx.evaluation.context import MetricContext
from vlx.evaluation.omitted import Omitted
from vlx.evaluation.run_file import NAME, RunFile, RunHead, read
from vlx.protocol.targets import Query
from vlx.tasks.classification import Classifier

ROOT = Path(__file__).resolve().parents[2]


class Many(Squares):
    """So many pictures of two squares each."""

    def __init__(self, count: int = 6, name: str = "squares") -> None:
        self.count, self.name = count, name

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Example:
        return Example(f"é{number}", *[squares(number % 2, 1 - number % 2)], asks=super().__getitem__(0).asks)


def _heat(one: Any, context: MetricContext) -> float:
    return float(one.values.sum()) if context.case.row >= 0 else 0.0


HEAT = Metric("heat", "how much heat is there?", of_each(_heat), batch=1)


def measure(out: Path, *, data: Any = None, **more: Any) -> Any:
    wish: dict[str, Any] = {"metrics": [HEAT], "methods": ["gradcam", "random"], "targets": ["logit"], **more}
    return evaluate(colours(), Many() if data is None else data, out=out, **wish)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    return measure(folder / "run"), (folder / "run" / NAME).read_bytes()


def _folder(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NAME).write_bytes(content)
    return tmp_path / "run"


# Killed


def test_cut_short_anywhere_it_goes_on_to_the_same_bytes_and_table(tmp_path: Path, whole: Any) -> None:
    result, content = whole
    cuts = np.random.default_rng(0).integers(0, len(content), 6).tolist()
    for number, cut in enumerate([0, 5, content.index(b"\n"), len(content) - 1, *cuts]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / NAME).write_bytes(content[:cut])
        assert measure(folder, resume=True) == result
        assert (folder / NAME).read_bytes() == content


SCRIPT = """
import os, signal, sys
from pathlib import Path
from tests.evaluation import test_run_file as here

def killed(batches):
    for number, batch in enumerate(batches):
        if number == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch

here.measure(Path(sys.argv[1]), progress=killed)
"""


def test_a_killed_process_loses_no_whole_batch(tmp_path: Path, whole: Any) -> None:
    result, content = whole
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "run"), "3"], cwd=ROOT, env=environment)
    assert done.returncode == -signal.SIGKILL
    left = (tmp_path / "run" / NAME).read_bytes()
    assert content.startswith(left)
    assert left.count(b'{"done"') == 3
    assert read_run(tmp_path / "run", [HEAT]).n == 3
    again: list[int] = []

    def counted(batches: Any) -> Iterator[Any]:
        again.append(len(batches))
        yield from batches

    assert measure(tmp_path / "run", resume=True, progress=counted) == result
    assert again == [3]
    assert (tmp_path / "run" / NAME).read_bytes() == content


def test_a_whole_run_is_not_measured_again(tmp_path: Path, whole: Any) -> None:
    result, content = whole
    folder = _folder(tmp_path, content)
    assert measure(folder, resume=True) == result
    assert read_run(folder, [HEAT]) == result
    assert (folder / NAME).read_bytes() == content


# What is none of this run


def test_a_run_that_is_there_is_not_written_over(tmp_path: Path, whole: Any) -> None:
    folder = _folder(tmp_path, whole[1])
    with pytest.raises(
        InputError, match=r"/run holds a run already; go on with it by --resume, or give another folder$"
    ):
        measure(folder)
    assert (folder / NAME).read_bytes() == whole[1]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"data": Many(name="others")}, r": a run of another kind, data was squares; give another folder$"),
        ({"n": 3}, r"another kind, n was None; "),
        ({"methods": ["gradcam"]}, r"another kind, methods was gradcam,random; "),
        ({"targets": ["prob"]}, r"another kind, targets was logit; "),
        ({"metrics": [HEAT, "pointing"]}, r"another kind, metrics was heat; "),
    ],
)
def test_a_run_of_another_kind_is_refused_naming_what_differs(more: Any, told: str, tmp_path: Path, whole: Any) -> None:
    folder = _folder(tmp_path, whole[1])
    with pytest.raises(InputError, match=told):
        measure(folder, resume=True, **more)
    assert (folder / NAME).read_bytes() == whole[1]


def test_other_weights_pictures_and_versions_are_refused(tmp_path: Path, whole: Any) -> None:
    head, *rest = whole[1].split(b"\n", 1)
    for name, told in (("weights", "weights"), ("pictures", "pictures"), ("version", "version"), ("model", "model")):
        other = {**json.loads(head), name: "0.0"}
        folder = tmp_path / name
        folder.mkdir()
        (folder / NAME).write_bytes(json.dumps(other).encode() + b"\n" + rest[0])
        with pytest.raises(InputError, match=rf"a run of another kind, {told} was 0\.0; give another folder$"):
            measure(folder, resume=True)


@pytest.mark.parametrize(
    "content",
    [b"mine", b"mine\nand mine\n", b'{"run": 2}\n', b'{"run": 1}\n', b"[1]\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n"],
)
def test_what_is_no_run_is_refused_and_kept(content: bytes, tmp_path: Path) -> None:
    folder = _folder(tmp_path, content)
    with pytest.raises(InputError, match=r"records\.jsonl: (no run of vlx evaluate|holds a line that is no record)"):
        measure(folder, resume=True)
    with pytest.raises(InputError, match=r"records\.jsonl: (no run of vlx evaluate|holds a line that is no record)"):
        read_run(folder)
    assert (folder / NAME).read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"nonsense",
        b'{"key": 1}',
        b'{"done": 3, "measured": 1}',
        b'{"done": [], "measured": "x"}',
        b'{"done": [], "measured": 1, "omitted": [1]}',
        b'{"key": "a", "ask": 99999999999, "group": "", "method": "", "target": "", "metric": "heat", "value": 1}',
        b'{"key": "a", "ask": 1e999, "group": "", "method": "", "target": "", "metric": "heat", "value": 1}',
        b'{"key": "a", "ask": 0, "group": "", "method": "", "target": "", "metric": "heat", "value": [1]}',
    ],
)
def test_a_broken_line_in_the_midst_is_told(line: bytes, tmp_path: Path, whole: Any) -> None:
    lines = whole[1].split(b"\n")
    folder = _folder(tmp_path, b"\n".join([*lines[:4], line, *lines[4:]]))
    for again in (lambda: measure(folder, resume=True), lambda: read_run(folder, [HEAT])):
        with pytest.raises(InputError, match=r"records\.jsonl: holds a line that is "):
            again()


@pytest.mark.parametrize(
    ("name", "value"), [("metrics", 3), ("methods", "a"), ("n", "x"), ("left_out", [1]), ("of", 1)]
)
def test_a_head_of_other_types_is_no_head(name: str, value: Any, tmp_path: Path, whole: Any) -> None:
    head, rest = whole[1].split(b"\n", 1)
    folder = _folder(tmp_path, json.dumps({**json.loads(head), name: value}).encode() + b"\n" + rest)
    with pytest.raises(
        InputError, match=r"records\.jsonl: no run of vlx evaluate of this version; give another folder$"
    ):
        read_run(folder, [HEAT])


def test_a_folder_without_a_run_and_a_metric_that_is_not_here_are_told(tmp_path: Path, whole: Any) -> None:
    with pytest.raises(InputError, match=r"records\.jsonl: cannot be read \(No such file or directory\)$"):
        read_run(tmp_path)
    with pytest.raises(
        InputError, match=r"/run: measured by 'heat', which is no metric here; give it as metrics=\[…\]$"
    ):
        read_run(_folder(tmp_path, whole[1]))


@pytest.mark.parametrize("metric", ["deletion", "in-out", "seeds", "pointing-rejection"])
@pytest.mark.parametrize("strange", ["x", [], {}, 10**400])
def test_what_stands_beside_a_value_and_is_no_number_is_told(metric: str, strange: Any, tmp_path: Path) -> None:
    names = {"deletion": "logit", "in-out": "inside", "seeds": "precision", "pointing-rejection": "max"}
    record = Record("a", 0, "dog", "gradcam", "logit", metric, 0.5, beside={names[metric]: strange})
    lines = [replace(HEAD, metrics=[metric]).to_json(), record.to_json(), {"done": ["a"], "measured": 1}]
    folder = _folder(tmp_path, "".join(json.dumps(line) + "\n" for line in lines).encode())
    with pytest.raises(InputError, match=r"/run: no table can be made of its records \(\w+\), as of ones that were ed"):
        read_run(folder)


@pytest.mark.parametrize(
    ("labels", "layer", "classes", "told"),
    [
        (["green", "red", "blue"], "body", None, "labels was "),
        (["red", "green", "blue"], "body.1", None, "layer was body"),
        (["red", "green", "blue"], "body", {"red": ["blue"]}, "classes was by their names"),
    ],
)
def test_a_run_of_the_same_weights_asked_otherwise_is_refused(
    labels: list[str], layer: str, classes: Any, told: str, tmp_path: Path
) -> None:
    wish: dict[str, Any] = {"metrics": [HEAT], "methods": ["gradcam"], "targets": ["logit"], "out": tmp_path / "run"}
    evaluate(colours(), Many(1), **wish)
    before = (tmp_path / "run" / NAME).read_bytes()
    other = Classifier(Colours().eval(), layer, labels, prepared)
    with pytest.raises(InputError, match=f"a run of another kind, {told}"):
        evaluate(other, Many(1), resume=True, classes=classes, **wish)
    assert (tmp_path / "run" / NAME).read_bytes() == before


def test_a_file_from_before_tells_no_labels_and_is_gone_on_with(tmp_path: Path) -> None:
    measure(tmp_path / "run", data=Many(1))
    path = tmp_path / "run" / NAME
    head, *others = path.read_bytes().splitlines(keepends=True)
    old = {key: value for key, value in json.loads(head).items() if key not in ("layer", "labels", "classes")}
    path.write_bytes(b"".join([json.dumps(old).encode() + b"\n", *others]))
    assert measure(tmp_path / "run", data=Many(1), resume=True).rows


# Writing


HEAD = RunHead("m", "w", "d", "p", ["heat"], [], [], None, "vlx", "1")


def batch(number: int, value: float = 0.5, key: str = "") -> MeasuredBatch:
    key = key or f"{number}.jpg"
    return MeasuredBatch((key,), (Record(key, 0, "dog", "gradcam", "logit", "heat", value),), 1, (), Omitted())


def test_two_processes_cannot_write_one_file_and_neither_harms_it(tmp_path: Path) -> None:
    with RunFile(tmp_path / "run", HEAD) as first:
        first.write(batch(0))
        before = first.path.read_bytes()
        for resume in (True, False):
            with pytest.raises(InputError, match=r": another run writes to it; wait for it, or give another folder$"):
                RunFile(tmp_path / "run", HEAD, resume=resume)
        assert first.path.read_bytes() == before
        first.write(batch(1))
    with RunFile(tmp_path / "run", HEAD, resume=True) as again:
        assert again.count == 2
        assert [one.keys for one in again.known()] == [("0.jpg",), ("1.jpg",)]


def test_a_file_that_is_refused_is_let_go(tmp_path: Path) -> None:
    RunFile(tmp_path / "run", HEAD).__exit__(None, None, None)
    with pytest.raises(InputError, match="a run of another kind, n was None"):
        RunFile(tmp_path / "run", replace(HEAD, n=3), resume=True)
    with RunFile(tmp_path / "run", HEAD, resume=True) as file:
        assert file.count == 0


@pytest.mark.parametrize("room", [20, 600, 900])
def test_a_full_disk_is_told_and_what_is_there_is_whole(room: int, tmp_path: Path) -> None:
    if os.fork() == 0:  # a limit on the size of files holds for a whole process
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            with pytest.raises(OutputError, match=r"records\.jsonl: cannot be written \(File too large\)"):  # noqa: SIM117
                with RunFile(tmp_path / "run", HEAD) as file:
                    for number in range(9):
                        file.write(batch(number))
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.wait()[1] == 0
    assert (tmp_path / "run" / NAME).stat().st_size <= room
    with RunFile(tmp_path / "run", HEAD, resume=True) as file:
        count = file.count
        for number in range(count, 3):
            file.write(batch(number))
    assert (count > 0) == (room > 300)
    assert [one.keys[0] for one in read(tmp_path / "run")[1]] == [f"{n}.jpg" for n in range(max(count, 3))]


def test_what_was_cut_short_is_taken_away_before_it_goes_on(tmp_path: Path) -> None:
    with RunFile(tmp_path / "run", HEAD) as file:
        file.write(batch(0))
    before = file.path.read_bytes()
    file.path.write_bytes(before + b'{"key": "' + b"x" * 5000)
    with RunFile(tmp_path / "run", HEAD, resume=True) as file:
        assert file.path.read_bytes() == before
        file.write(batch(1))
    assert [one.keys[0] for one in read(tmp_path / "run")[1]] == ["0.jpg", "1.jpg"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/records\.jsonl: cannot be written \(File exists\)$"):
        RunFile(tmp_path / "file", HEAD)


def test_names_and_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    records = [
        Record(
            "a\udcff\n.jpg", 0, "é\u2028", "own", "", "heat", float("nan"), 0.25, {"empty": 1, "rows": [[None, 0.1]]}
        ),
        Record("b", 3, "", "own", "logit", "heat", 1 / 3),
    ]
    with RunFile(tmp_path / "run", HEAD) as file:
        file.write(MeasuredBatch(("a\udcff\n.jpg", "b"), tuple(records), 2, ("c",), Omitted()))
    (found,) = read(tmp_path / "run")[1]
    assert list(map(repr, found.records)) == list(map(repr, records))
    assert (found.keys, found.unread, found.measured) == (("a\udcff\n.jpg", "b"), ("c",), 2)


def test_what_stands_beside_a_value_is_the_same_with_a_file_and_without(tmp_path: Path) -> None:
    def odd(context: MetricContext) -> Any:
        beside = {"n": np.int64(3), "many": np.arange(2), "no": float("nan"), "pair": (1, True)}
        return {("own", "logit"): (float("inf") if context.case.row else np.float32(0.5), beside)}

    seen: list[Any] = []

    def kept(name: str, columns: Any, telling: Any) -> Iterator[Any]:
        seen.append((columns.value.tolist(), dict(columns.beside)))
        yield from ()

    metric = Metric("odd", "what is odd?", odd, figures=kept)
    measure(tmp_path / "run", metrics=[metric], data=Many(2))
    read_run(tmp_path / "run", [metric])
    assert str(seen[0]) == str(seen[1])
    assert seen[0][1][0] == {"n": 3, "many": [0, 1], "no": None, "pair": [1, True]}
    assert np.isnan(seen[0][0]).sum() == 2
    with pytest.raises(
        InputError, match=r"^metric 'odd' puts object beside a value; give numbers, texts, lists and dic"
    ):
        evaluate(colours(), Many(1), metrics=[replace(metric, measure=lambda _: {("a", ""): (1.0, {"x": object()})})])


# Several processes


def test_two_processes_write_the_same_file_as_one(tmp_path: Path, whole: Any) -> None:
    result = measure(tmp_path / "run", workers=2)
    assert result == whole[0]
    assert (tmp_path / "run" / NAME).read_bytes() == whole[1]


def _refused(one: Any, context: MetricContext) -> float:
    if context.example.key == "é1":
        raise InputError("no such thing")
    return 1.0


def _killed(one: Any, context: MetricContext) -> float:
    if context.example.key == "é3":
        os.kill(os.getpid(), signal.SIGKILL)
    return _heat(one, context)


def test_what_goes_wrong_in_another_process_is_told_and_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such thing"):
        measure(tmp_path / "a", metrics=[replace(HEAT, measure=of_each(_refused))], workers=2)
    with pytest.raises(
        ModelError, match=r"^workers=2: a process ended by itself, .*; go on by --resume, with fewer work"
    ):
        measure(tmp_path / "b", metrics=[replace(HEAT, measure=of_each(_killed))], workers=2)
    assert measure(tmp_path / "b", resume=True).n == 6


def test_what_cannot_be_given_to_another_process_is_refused() -> None:
    own = Metric("own", "what is it?", of_each(lambda one, context: 1.0), batch=1)
    with pytest.raises(
        InputError, match=r"^workers=2: the task, its data or a metric cannot be given to another process"
    ):
        evaluate(colours(), Many(), metrics=[own], methods=["gradcam"], workers=2)
    with pytest.raises(InputError, match=r"^workers=0; give how many processes measure, from 1$"):
        evaluate(colours(), Many(), workers=0)


# Memory


def test_ten_times_the_pictures_need_hardly_more_memory(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        with RunFile(tmp_path / str(count), HEAD) as file:
            for number in range(count):
                file.write(batch(number, number / count))
        tracemalloc.start()
        read_run(tmp_path / str(count), [HEAT])
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(10)
    assert peak(1000) - peak(100) < 18 * 2**20  # the draws of intervals are twice [1000 draws, 1000 pictures] for once


def test_pictures_are_let_go_when_they_are_measured() -> None:
    class Counted(Many):
        alive = most = 0

        def __getitem__(self, number: int) -> Example:
            def drawn() -> Any:
                Counted.alive += 1
                Counted.most = max(Counted.most, Counted.alive)
                return squares(0, 1)

            example = _Told(
                str(number), drawn, asks=[Ask(Query(), label="red", truth=Truth(np.ones((128, 128), bool)))]
            )
            return example

    class _Told(Example):
        def __del__(self) -> None:
            if "image" in vars(self):
                Counted.alive -= 1

    evaluate(colours(), Counted(12), metrics=[HEAT], methods=["gradcam"])
    assert Counted.most <= 3
