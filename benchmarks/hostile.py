"""Files of another's making, by the thousand: each either works or is refused in one sentence.

    python -m benchmarks.hostile --n 5000

Takes good files of every kind that vlx reads, damages them (bits, bytes, pieces, numbers, values of JSON), opens them
as a user would, and uses what loads: repr, maps, every saving. Prints, for each kind:

- fine: it works. refused: a VlxError that names the input, under 300 characters.
- foreign: any other exception, a crash included. hung: longer than 20 s of the processor. over memory: more than 1 GB
  beyond the start.
- silently wrong: it loads, though its digest was made of something else.
"""

import io
import json
import multiprocessing
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

import vlx
from vlx import neuron_names
from vlx.errors import VlxError
from vlx.folder import Job, manifest, records

OUTCOMES = ("fine", "refused", "foreign", "hung", "over memory", "silently wrong")
CAPTIONER = "scenes/captioner-pooled"
TRANSFORMERS = (
    "config.json",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "model.safetensors",
)
SECONDS, MEMORY = 20.0, 2**30
WAITED = 6  # times as long by the clock, for what sleeps
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, -(2**63), 2**53 + 1, 1e308, -1e-320, 0.5, "", "nan", "inf", "<script>"),
    *("\0", "\ud800", "../../etc/passwd", "x" * 10_000, [], {}, [[]], [None], {"png": "AAAA"}, [0] * 1000),
)
NUMBERS = (b"0", b"-1", b"1e999", b"NaN", b"99999999999999999999", b"1e-400", b"2147483648", b"true", b"")


@dataclass(frozen=True)
class Kind:
    """One kind of input: good ones, how one is used, and whether any change of it must be found."""

    name: str
    ending: str
    good: tuple[bytes, ...]
    use: Callable[[Path], object]
    sealed: bool = False


# Using what loads


def _explanation(path: Path) -> object:
    why = vlx.Explanation.load(path)
    for one in (why, *why.others):
        repr(one), repr(list(one)), one.visible
        for word in (*one.words, *one.phrases, one.sentence):
            repr(word), word.heatmap, word.against, str(word.because), str(word.check)
    for ending in ("json", "h5", "md", "html"):
        why.save(path.parent / f"again.{ending}")
    return why


def _table(path: Path) -> object:
    names = neuron_names.read(path)
    repr(names), [names.candidates(unit) for unit in range(min(len(names), 50))], names.unique_detectors()
    names.save(path.parent / "again.h5")
    names.save(path.parent / "again.csv")
    return names


def _picture(path: Path) -> object:
    from vlx.pictures.opening import open_image

    return np.asarray(open_image(path).image)


def _labels(path: Path) -> object:
    from vlx.data.files import label_map

    return label_map(path)


def _bundle(name: str) -> Callable[[Path], object]:
    """Opens a bundle of which one file is the damaged one."""

    def use(path: Path) -> object:
        folder = path.parent / "bundle"
        folder.mkdir(exist_ok=True)
        for own in ("config.json", "weights.safetensors"):
            (folder / own).write_bytes(path.read_bytes() if own == name else _embedded(own))
        return vlx.load(folder)

    return use


def _embedded(name: str) -> bytes:
    return (files("vlx.scenes") / "models" / "captioner-pooled" / name).read_bytes()


@cache
def _model(name: str) -> Any:
    return vlx.load(name)


def _said(model: str, option: str) -> Callable[[Path], object]:
    """Asks an embedded model with the text of the file."""

    def use(path: Path) -> object:
        asked: Any = {option: path.read_bytes().decode("utf-8", "surrogateescape"), "seen": False, "check": False}
        why = vlx.explain(_model(model), Image.new("RGB", (64, 64), "red"), **asked)
        for ending in ("json", "md", "html"):
            why.save(path.parent / f"again.{ending}")
        return why

    return use


def _labelled(path: Path) -> object:
    """Looks for a class by each of the file's lines."""
    from vlx.tasks.classification.labels import Labels

    names = path.read_bytes().decode("utf-8", "replace").split("\n")
    labels = Labels(names)
    return [labels.find(name, len(names)) for name in names]


def _transformers(name: str) -> Callable[[Path], object]:
    """Opens a folder of transformers of which one file is the damaged one, and explains a picture by it."""

    def use(path: Path) -> object:
        folder = path.parent / "transformers"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(_tiny(), folder)
        (folder / name).write_bytes(path.read_bytes())
        task = vlx.load(folder)
        return vlx.explain(task, Image.new("RGB", (64, 64), "red"), seen=False, check=False)

    return use


def _list(path: Path) -> object:
    """Reads a list of pictures and questions."""
    from vlx.folder import lists

    return lists.read(path, lists.TEXTS)


def _manifest(path: Path) -> object:
    """Goes on with a folder of results."""
    from vlx import folder

    place = path.parent / "results"
    place.mkdir(exist_ok=True)
    (place / "manifest.jsonl").write_bytes(path.read_bytes())
    with folder.Manifest.opened(place, JOB) as held:
        return list(held.records(list(held.states)))


def _captions(path: Path) -> object:
    """Opens captioned photographs."""
    from vlx.data import captioned

    place = path.parent / "photographs"
    place.mkdir(exist_ok=True)
    Image.new("RGB", (16, 16)).save(place / "a.jpg")
    (place / f"captions_val{path.suffix}").write_bytes(path.read_bytes())
    return captioned.read(place)


@cache
def _tiny() -> Path:
    from vlx.tasks.huggingface import tiny

    return tiny.save("blip-captioning", tempfile.mkdtemp())


def _checkpoint(path: Path) -> object:
    from vlx.neuron_names.dissection.checkpoint import Checkpoint

    return Checkpoint(path, SETTINGS).load()


# Good inputs

SETTINGS = {"model": "tiny", "images": 3}
JOB = Job("caption", "tiny", "0123", {"method": "gradcam"})


def _written(save: Callable[[Path], object], ending: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"good.{ending}"
        save(path)
        return path.read_bytes()


def kinds(*, transformers: bool = True) -> list[Kind]:
    """Every kind with its good inputs; those of ``transformers`` take a model that is made first."""
    from tests.explanations import answer_explanation, caption_explanation, reasoned
    from vlx.neuron_names.dissection.checkpoint import Checkpoint

    whys = (reasoned(caption_explanation()), answer_explanation())
    table = neuron_names.load(Path(str(files("vlx.neuron_names") / "tables" / "captioner.h5")))
    listed = neuron_names.NeuronNames(tuple(table.candidates(unit) for unit in range(8)), dict(table.about))
    state = {"done": np.array(3), "phase": np.array("masks"), "0/top": np.zeros((4, 5), np.float32)}
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    words = json.loads(_embedded("config.json"))["vocabulary"]
    captions = (" ".join(words[2:7]).encode(), f"{words[4]},\n{words[2]} “{words[3]}”".encode())
    grey = Image.fromarray(pixels[..., 0] // 8)
    h5 = tuple(_written(why.save, "h5") for why in whys)
    tables = tuple(_written(one.save, "h5") for one in (listed, table))
    made = [
        Kind("explanation .h5", "h5", h5, _explanation, sealed=True),
        Kind("explanation .json", "json", tuple(_written(why.save, "json") for why in whys), _explanation, sealed=True),
        Kind("table .h5", "h5", tables, _table, sealed=True),
        Kind("table .json", "json", (_written(listed.save, "json"), *_reports()), _table),
        Kind("table .csv", "csv", (_written(listed.save, "csv"), *_sheets()), _table),
        Kind(
            "checkpoint",
            "part",
            (_written(lambda p: Checkpoint(p, SETTINGS).save(lambda: state), "part"),),
            _checkpoint,
            True,
        ),
        Kind("bundle config", "json", (_embedded("config.json"),), _bundle("config.json")),
        Kind("bundle weights", "safetensors", (_embedded("weights.safetensors"),), _bundle("weights.safetensors")),
        Kind("picture", "png", tuple(_encoded(Image.fromarray(pixels))), _picture),
        Kind("label map", "png", tuple(_encoded(grey, ("PNG", "TIFF"))), _labels),
        Kind("caption", "txt", captions, _said(CAPTIONER, "caption")),
        Kind("question", "txt", (b"what color is the star?", b"is there a house?"), _said("scenes/vqa", "question")),
        Kind("list .jsonl", "jsonl", (_lines(), b"\n".join(_lines().splitlines()[::-1])), _list),
        Kind("list .csv", "csv", (b'path,question,answer\na.jpg,what?,red\n"b,c.jpg","who, then?",\n',), _list),
        Kind("manifest", "jsonl", (_results(whys[0]),), _manifest),
        Kind("captions .json", "json", (_coco(),), _captions),
        Kind("labels", "txt", (b"dog\ncat, house cat\ntree", b"a\nb"), _labelled),
    ]
    for name in TRANSFORMERS if transformers else ():
        ending = name.rpartition(".")[2]
        made.append(Kind(f"transformers {name}", ending, ((_tiny() / name).read_bytes(),), _transformers(name)))
    return made


def _lines() -> bytes:
    rows = (
        {"path": "a.jpg", "question": "what?", "answer": ["red", "blue"]},
        {"path": "b.jpg", "instead_of": {"a": "b"}},
    )
    return "\n".join(map(json.dumps, rows)).encode()


def _results(why: vlx.Explanation) -> bytes:
    base = {"key": "1", "path": "a.jpg", "digest": "12", "seconds": 0.5}
    done = {**base, "status": "done", "page": "a.html", "error": None, **records.of(why)}
    rows = (manifest.header(JOB), done, {"key": "2", "status": "failed", "path": "b.jpg", "error": "no such file"})
    return "".join(map(manifest.line, rows)).encode()


def _coco() -> bytes:
    images, told = {"id": 1, "file_name": "a.jpg"}, {"id": 5, "image_id": 1, "caption": "a dog"}
    return json.dumps({"images": [images], "annotations": [told, {**told, "id": 6}]}).encode()


def _reports() -> Iterator[bytes]:
    one = {"unit": 0, "iou": 0.1, "label": "dog", "cat": "object"}
    yield json.dumps({"header": {}, "units": [one, {**one, "unit": 1}]}).encode()
    yield json.dumps({"layers": [{"layer": "conv5", "units": [one, {**one, "unit": 1}]}]}).encode()
    yield json.dumps({"0": "dog", "1": "cat"}).encode()


def _sheets() -> Iterator[bytes]:
    yield b"layer,unit,description,similarity\nl4,0,dog,0.3\nl4,1,cat,0.2\n"
    yield b"neuron,concept,concept_id,metric\n0,dog,n01,0.9\n1,cat,n02,0.8\n"


def _encoded(
    image: Image.Image, formats: tuple[str, ...] = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")
) -> Iterator[bytes]:
    for name in formats:
        buffer = io.BytesIO()
        image.save(buffer, name)
        yield buffer.getvalue()


# Damage


def damaged(good: bytes, ending: str, rng: random.Random) -> bytes:
    """The bytes with one thing wrong with them, seldom several."""
    data = bytearray(good)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data = _once(data, ending, rng)
    return bytes(data)


def _once(data: bytearray, ending: str, rng: random.Random) -> bytearray:
    if not data:
        return data
    place, how = rng.randrange(len(data)), rng.randrange(8)
    if ending == "json" and how < 5:
        return _value(data, rng)
    if ending in ("json", "csv") and how == 5:
        return data[:place] + rng.choice(NUMBERS) + data[place + rng.randrange(4) :]
    if how <= 3:
        data[place] ^= 1 << rng.randrange(8)
    elif how == 4:
        data[place : place + rng.choice((1, 2, 4, 8))] = rng.choice((b"\xff", b"\0", b"\x7f")) * rng.choice(
            (1, 2, 4, 8)
        )
    elif how == 5:
        del data[place:]
    elif how == 6:
        del data[place : place + rng.randrange(1, 64)]
    else:
        data[place:place] = data[rng.randrange(len(data)) :][: rng.randrange(1, 256)]
    return data


def _value(data: bytearray, rng: random.Random) -> bytearray:
    """JSON with one of its values put in place by another, or left out."""
    try:
        whole = json.loads(bytes(data))
    except ValueError:
        return data
    at: Any = whole
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            break
        key = rng.choice(keys)
        if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.8:
            at = at[key]
            continue
        if rng.random() < 0.15:
            del at[key]
        else:
            at[key] = rng.choice(ODD)
        break
    return bytearray(json.dumps(whole).encode())


def reseal(data: bytes) -> bytes:
    """An explanation in JSON with the digest that fits it, as one who means harm would make it."""
    from vlx.explanation import storage

    try:
        record = json.loads(data)
        record.pop("digest", None)
        return json.dumps({**record, "digest": storage.digest(record)}).encode()
    except (ValueError, AttributeError, UnicodeError):
        return data


# Judging


def judged(kind: Kind, data: bytes, folder: Path, *, resealed: bool = False) -> tuple[str, str]:
    """What becomes of one input, and what is to be said of it."""
    path = folder / f"input.{kind.ending}"
    path.write_bytes(data)
    try:
        kind.use(path)
    except VlxError as error:
        if len(str(error)) >= 300 or not str(error).strip():
            return "foreign", f"a message of {len(str(error))} characters: {str(error)[:100]}"
        return "refused", str(error)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "foreign", f"{type(error).__name__}: {str(error)[:120]} ({where.filename}:{where.lineno})"
    if kind.sealed and not resealed and not _same(kind, data):
        return "silently wrong", "it loads, though it is not what was saved"
    return "fine", ""


def _same(kind: Kind, data: bytes) -> bool:
    """Whether what loads is one of the good ones, so that the damage did not touch anything that is read."""
    if kind.ending == "json":  # one without a digest is an older file, as good as one whose digest was made anew
        told = json.loads(data)
        return "digest" not in told or told in [json.loads(good) for good in kind.good]
    return _content(data) in [_content(good) for good in kind.good]


def _content(data: bytes) -> str:
    import h5py

    from vlx.files import hdf5

    with h5py.File(io.BytesIO(data)) as file:
        return hdf5.digest(file)


def _work(kind: Kind, inputs: list[tuple[int, bytes, bool]], out: Connection) -> None:
    start = _peak()
    with tempfile.TemporaryDirectory() as folder:
        for number, data, resealed in inputs:
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: a machine may be busy
            outcome, told = judged(kind, data, Path(folder), resealed=resealed)
            if _peak() - start > MEMORY:
                outcome, told = "over memory", f"{(_peak() - start) / 1e9:.1f} GB"
            out.send((number, outcome, told))
            if outcome == "over memory":
                return


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tried(kind: Kind, inputs: list[tuple[int, bytes, bool]]) -> Iterator[tuple[int, str, str]]:
    """(number, outcome, what is said) of every input, in children that may die."""
    fork, left = multiprocessing.get_context("fork"), list(inputs)
    while left:
        here, there = fork.Pipe(duplex=False)
        child = fork.Process(target=_work, args=(kind, left, there), daemon=True)
        child.start()
        there.close()
        while left:
            try:
                found = here.recv() if here.poll(WAITED * SECONDS) else (left[0][0], "hung", "it waits")
            except EOFError:
                child.join()
                found = (left[0][0], "foreign", f"the interpreter died, exit {child.exitcode}")
                if child.exitcode == -signal.SIGPROF:
                    found = (left[0][0], "hung", f"more than {SECONDS:.0f} s")
            left.pop(0)
            yield found
            if found[1] in ("hung", "over memory") or found[2].startswith("the interpreter"):
                break
        child.kill()
        child.join()


def inputs_of(kind: Kind, n: int, seed: int) -> list[tuple[int, bytes, bool]]:
    """``n`` damaged inputs of a kind; of explanations in JSON half have the digest made anew."""
    made = []
    for number in range(n):
        rng = random.Random(f"{kind.name} {seed} {number}")
        data = damaged(rng.choice(kind.good), kind.ending, rng)
        resealed = kind.name == "explanation .json" and rng.random() < 0.5
        made.append((number, reseal(data) if resealed else data, resealed))
    return made


@click.command()
@click.option("--n", default=5000, help="Inputs in all.")
@click.option("--seed", default=0)
@click.option("--only", default="", help="Kinds whose names hold this.")
@click.option("--keep", type=click.Path(path_type=Path), help="A folder for the inputs that were neither.")
def main(n: int, seed: int, only: str, keep: Path | None) -> None:
    """Print the table; exit 1 where any of its last four columns is not 0."""
    torch.set_num_threads(1)  # children are forked
    chosen = [kind for kind in kinds() if only in kind.name]
    table = Table("inputs", "n", *OUTCOMES, "s", title=f"seed {seed}")
    total: Counter[str] = Counter()
    for kind in chosen:
        counts: Counter[str] = Counter()
        made, begun = inputs_of(kind, -(-n // len(chosen)), seed), time.monotonic()
        for number, outcome, told in tried(kind, made):
            counts[outcome] += 1
            if outcome not in OUTCOMES[:2]:
                print(f"{kind.name} {number}: {outcome}: {told}", file=sys.stderr, flush=True)
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{kind.name.replace(' ', '-')}-{number}.{kind.ending}").write_bytes(made[number][1])
        total += counts
        seconds = f"{time.monotonic() - begun:.0f}"
        table.add_row(kind.name, str(len(made)), *(str(counts[name]) for name in OUTCOMES), seconds)
        print(f"{kind.name}: {dict(counts)}, {seconds} s", file=sys.stderr, flush=True)
    table.add_row("all", str(total.total()), *(str(total[name]) for name in OUTCOMES), "")
    Console(width=110).print(table)
    sys.exit(any(total[name] for name in OUTCOMES[2:]))


if __name__ == "__main__":
    main()
