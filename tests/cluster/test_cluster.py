"""Several processes: the same files as of one, also where a worker or the driver is killed on the way."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import vlx
from tests.clusters import deadly
from tests.fakes import picture, tiny_bundle
from vlx import cluster, folder
from vlx.cli import running
from vlx.cli.program import main
from vlx.cluster import explaining, mapping
from vlx.errors import InputError
from vlx.folder.manifest import NAME, Job, Manifest
from vlx.protocol.identity import task_digest
from vlx.report import wording

# Ray warns of what it does itself, and leaves its sockets and files to the end of the process.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "RAY_memory_monitor_refresh_ms": "0",  # it kills workers for what other programs take
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_worker_niceness": "0",
    "RAY_worker_register_timeout_seconds": "300",
}


@pytest.fixture(scope="module")
def two() -> Iterator[None]:
    """A cluster of two workers, or a skip that says why."""
    ray = pytest.importorskip("ray", reason='needs Ray: pip install -e ".[ray]"')
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("cluster") / "tiny")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five pictures, and one that is broken."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(("a", "b", "c", "deadly", "e")):
        picture(number, 60, 40).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "d.png").write_text("no picture")
    return Path("photos")


def files_of(out: Path) -> dict[str, bytes]:
    """Every file by name; the manifest without its seconds."""
    found = {path.name: path.read_bytes() for path in out.iterdir()}
    found[NAME] = re.sub(rb',"seconds":[\d.e-]+', b"", found[NAME])
    return found


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


# Without a cluster


def test_nothing_imports_ray_before_it_is_asked_for() -> None:
    told = "import sys, vlx.cli, vlx.cluster, vlx.cli.explain; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0


def test_without_ray_the_extra_is_named(photos: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    told = run("caption", photos, "--model", model, "-o", "out", "--ray")
    assert told.exit_code == 1
    assert 'pip install "vlx[ray]"' in told.stderr
    assert not (Path("out") / NAME).exists()


def test_a_picture_is_no_address(photos: Path) -> None:
    told = run("caption", "--ray", photos, "-o", "out")
    assert told.exit_code == 2
    assert "'photos' is no address: local, auto or HOST:PORT" in told.stderr.replace("\n", " ")


def test_what_falls_with_another_picture_is_tried_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue of units dies with the worker that holds it: here all that is asked in company."""
    items = [folder.Item(f"{name}.png", {}) for name in "abc"]
    asked: list[tuple[int, int]] = []

    def mapped(units: list[bytes], _make: object, pool: cluster.Pool) -> Iterator[bytes]:
        asked.append((len(units), pool.workers))
        ((path, *_),) = json.loads(units[0])
        if len(units) == 1 and path != "b.png":
            yield json.dumps([{"key": next(item.key for item in items if item.path == path)}, ""]).encode()

    monkeypatch.setattr(explaining, "mapped", mapped)
    stems = {item.key: item.path for item in items}
    plan: Any = None
    found = list(cluster.explained(plan, cluster.Pool(2), items, stems, lambda item: ""))
    assert [item.path for item, _ in found] == ["a.png", "c.png", "b.png"]
    assert [result.record.get("status") for _, result in found] == [None, None, "failed"]
    assert asked == [(3, 2), (3, 2), (1, 1), (1, 1), (1, 1)]


# Two workers


@pytest.mark.usefixtures("two")
def test_two_workers_write_what_one_process_writes(photos: Path, model: Path) -> None:
    given = ("caption", photos, "--model", model)
    alone, shared = run(*given, "-o", "alone"), run(*given, "-o", "shared", "--ray")
    assert (alone.exit_code, shared.exit_code) == (1, 1)
    bare = alone.stdout.replace("alone/", "shared/").replace(wording.RING, "")  # the driver has no explanations
    assert sorted(bare.splitlines()) == sorted(shared.stdout.splitlines())
    assert "d.png" in shared.stderr
    assert files_of(Path("alone")) == files_of(Path("shared"))


@pytest.mark.usefixtures("two")
def test_two_workers_dissect_to_the_same_table(model: Path, tmp_path: Path) -> None:
    for given in (("alone.h5",), ("shared.h5", "--ray")):
        assert run("dissect", model, "scenes:40", "--folds", 2, "-o", tmp_path / given[0], *given[1:]).exit_code == 0
    assert (tmp_path / "alone.h5").read_bytes() == (tmp_path / "shared.h5").read_bytes()


def planned(model: Path, **options: Any) -> cluster.Plan:
    load = partial(vlx.load, str(model))
    return cluster.Plan(load, task_digest, task_digest(load()), partial(deadly, **options))


class Cut(BaseException):
    """Ends a run as a kill would."""


@pytest.mark.usefixtures("two")
def test_a_killed_worker_and_a_killed_driver_change_no_file(photos: Path, model: Path, tmp_path: Path) -> None:
    given, marks = folder.items([str(photos)]).items, tmp_path / "marks"
    marks.mkdir()
    plan, job = planned(model, marks=marks), Job("caption", "tiny")
    elsewhere, here = partial(cluster.explained, plan, cluster.Pool(2)), running.explained(plan.load(), (), {})
    heard: list[str] = []

    def told(record: dict[str, Any], _why: object) -> None:
        heard.append(Path(record["path"]).name)
        if len(heard) == 1:
            raise Cut

    for name in ("alone", "shared"):
        (tmp_path / name).mkdir()
    with Manifest.opened(tmp_path / "alone", job) as held:
        folder.run(held, given, here)
    with pytest.raises(Cut), Manifest.opened(tmp_path / "shared", job) as held:
        folder.run(held, given, here, told=told, elsewhere=elsewhere)
    for mark in marks.iterdir():  # whoever died of it in the first run is not counted
        mark.unlink()
    with Manifest.opened(tmp_path / "shared", job) as held:
        folder.run(held, given, here, told=told, elsewhere=elsewhere)
    died = [mark for mark in marks.iterdir() if mark.name.startswith("deadly")]
    assert len(died) == (0 if heard[0] == "deadly.png" else 2)  # a worker died of it, and another one tried again
    assert sorted(heard) == sorted(
        [*(Path(item.path).name for item in given), *(["d.png"] if heard[0] == "d.png" else [])]
    )
    assert files_of(tmp_path / "alone") == files_of(tmp_path / "shared")


@pytest.mark.usefixtures("two")
def test_a_picture_that_kills_every_worker_fails_alone(
    photos: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "RETRIES", 0)
    given = folder.items([str(photos)]).items
    plan = planned(model, marks=tmp_path, always=True)
    found = dict(cluster.explained(plan, cluster.Pool(1), given, {item.key: "x" for item in given}, lambda item: ""))
    told = {Path(item.path).name: result.record for item, result in found.items()}
    assert {name for name, record in told.items() if record["status"] == "failed"} == {"d.png", "deadly.png"}
    assert "workers died of it" in told["deadly.png"]["error"]
    assert len(found) == len(given)


@pytest.mark.usefixtures("two")
def test_a_worker_with_other_weights_is_refused(photos: Path, model: Path) -> None:
    given = folder.items([str(photos)]).items
    plan = cluster.Plan(partial(vlx.load, str(model)), task_digest, "other", partial(deadly, marks=Path()))
    with pytest.raises(InputError, match="has other weights on this worker"):
        list(cluster.explained(plan, cluster.Pool(1), given, {item.key: "x" for item in given}, lambda item: ""))
