"""``vlx evaluate``: how good captions and explanations are, every figure beside its baselines."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vlx.cli.metric_options import OPTIONS, WITHIN, MetricWish, chosen, refuse_misfits
from vlx.cli.options import LOADING, TARGETS, Spelled, console, packed, progress
from vlx.methods.names import METHODS

if TYPE_CHECKING:
    from vlx.data.example import Data

WIDE = 150
METRICS = (
    *("pointing", "fall", "occlusion", "looking", "because", "captions", "deletion", "insertion", "road"),
    *("check", "randomization", "labels", "hallucination"),
    *("counterfactual", "adversarial", "infidelity", "sensitivity"),
    *("energy", "in-out", "localization", "maxbox", "seeds", "pointing-rejection", "discrimination", "hat", "trust"),
)
BASELINES = ("random", "uniform", "centre", "blurred-random", "edges", "same")
CAPTIONED = ("flickr8k", "coco")  # data whose pictures people captioned: a captioner's captions are measured


class Several(Spelled):
    """One or more of several choices, with commas between them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The choices that are meant; fails with close matches and the list."""
        names = str(value).split(",")
        within = [self.noun == "metrics" and WITHIN.fullmatch(one) is not None for one in names]
        return tuple(
            one if known else super(Several, self).convert(one, param, ctx)
            for one, known in zip(names, within, strict=True)
        )


@dataclass(frozen=True)
class EvaluationWish:
    """What is measured: by which metrics, methods and targets, on which pictures."""

    metrics: tuple[str, ...] | None
    methods: tuple[str, ...] | None
    targets: tuple[str, ...] | None
    n: int | None
    occlusion: bool
    only: Path | None
    captions: Path | None
    words: Path | None
    classes: Path | None
    out: Path | None
    resume: bool
    workers: int
    ablate: bool


@click.command(short_help="Measure captions and explanations.")
@click.argument("model")
@click.argument("dataset", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@packed(
    "asked",
    EvaluationWish,
    click.option(
        "--n", type=click.IntRange(min=1), help="How many held-out scenes (default 500) or photographs (default: all)."
    ),
    click.option("--occlusion", is_flag=True, help="Also hide the picture at each map's peak (slower)."),
    click.option(
        "--metrics",
        type=Several(METRICS, "metrics"),
        help="With commas; what each asks stands in docs/how-to/evaluate.md.  Default: pointing; of captioners on "
        "photographs captions.",
    ),
    click.option(
        "--methods",
        type=Several((*METHODS, "default", *BASELINES)),
        help="Methods to measure, with commas; default: all that suit the model and need one gradient. Baselines: "
        f"{', '.join(BASELINES)}.",
    ),
    click.option("--targets", type=Several(TARGETS, "target"), help="Scores to explain; default: each metric's."),
    click.option(
        "--only", type=click.Path(path_type=Path), help="List of the photographs to measure on, by file name."
    ),
    click.option(
        "--captions",
        type=click.Path(path_type=Path),
        help="COCO captions for pointing, where none lie beside the outlines.",
    ),
    click.option(
        "--words",
        type=click.Path(path_type=Path),
        help='Which words of COCO\'s captions name which category, as JSON: {"pup": "dog", "bat": []}.',
    ),
    click.option(
        "--classes",
        type=click.Path(path_type=Path),
        help='What a classifier calls the classes of the data, as JSON: {"dog": ["beagle", 207]}.',
    ),
    click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder for the run: a line a measured value."),
    click.option("--resume", is_flag=True, help="Go on with the run in --out that was cut short."),
    click.option(
        "--ablate",
        is_flag=True,
        help="Measure the ablations of Grad-CAM's paper, and Grad-CAM at each layer that keeps a change of size.",
    ),
    click.option("--workers", type=click.IntRange(min=1), default=1, help="Processes that measure (default 1)."),
)
@packed("besides", MetricWish, *OPTIONS)
@LOADING
def evaluate(
    model: str,
    dataset: str | None,
    as_json: bool,
    asked: EvaluationWish,
    besides: MetricWish,
    loading: dict[str, Any],
) -> None:
    """Measure a MODEL against drawn scenes, or against the pictures of a DATASET, beside baselines.

    MODEL: a name that `vlx models` lists, a bundle folder, or FILE.py:FUNCTION of your own (the file is run).
    DATASET is coco:DIR or coco:INSTANCES.json (outlines, captions), imagenet:DIR, voc:DIR, vqa2:…, regions:…,
    flickr8k:DIR, easy-vqa:DIR, classes:DIR, pictures:DIR (no truth: the model's own words), scenes:COUNT:FIRST or
    MODULE:FUNCTION of your own; `docs/how-to/own-data.md` has their layouts.

    \b
    Example:  vlx evaluate scenes/captioner --n 500
              vlx evaluate scenes/vqa-biased --metrics looking --n 200
              vlx evaluate runs/mine/bundle flickr8k:data/flickr8k --metrics captions
              vlx evaluate photos/captioner coco:data/coco --metrics pointing --methods default,centre
              vlx evaluate scenes/captioner --metrics pointing,occlusion --out runs/mine --resume
    """
    import vlx
    from vlx import evaluation
    from vlx.evaluation.cases import tells

    _refuse_misfits(dataset, asked)
    refuse_misfits(asked.metrics or evaluation.DEFAULT, besides)
    task = vlx.load(model, **loading)
    kind = (dataset or "").partition(":")[0]
    captioned = kind in CAPTIONED and tells(task) and not asked.ablate
    metrics = asked.metrics or (("captions",) if captioned else evaluation.DEFAULT)
    result = evaluation.evaluate(
        task,
        _opened(dataset, metrics, asked) if dataset else asked.n,
        metrics=chosen(metrics, besides, loading) if any(vars(besides).values()) else metrics,
        methods=asked.methods,
        targets=asked.targets,
        n=asked.n if dataset else None,
        out=asked.out,
        resume=asked.resume,
        workers=asked.workers,
        occlusion=asked.occlusion,
        ablate=asked.ablate,
        classes=asked.classes,
        called=_called(dataset, asked) if dataset else "",
        spelled=model,
        progress=progress("pictures" if dataset else "scenes"),
    )
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=1))
    else:
        console(WIDE).print(result.table())
    if result.unread:
        raise SystemExit(1)


def _refuse_misfits(dataset: str | None, asked: EvaluationWish) -> None:
    """Raises UsageError for what cannot be asked of the data."""
    wanted = asked.metrics or ()
    if dataset is None and (asked.only is not None or "captions" in wanted):
        raise click.UsageError(f"--{'only' if asked.only else 'metrics captions'} needs a DATASET of photographs")
    if asked.resume and asked.out is None:
        raise click.UsageError("--resume goes with --out RUN, the folder of the run that was cut short")
    of_coco = (dataset or "").startswith("coco:")
    if asked.captions is not None and (not of_coco or wanted in ((), ("captions",))):
        raise click.UsageError("--captions goes with coco:DIR --metrics pointing")
    if asked.words is not None and not of_coco:
        raise click.UsageError("--words goes with coco:DIR, whose captions they are of")


def _opened(dataset: str, metrics: tuple[str, ...], asked: EvaluationWish) -> "Data":
    from vlx.evaluation import datasets

    return datasets.opened(dataset, asked.captions, asked.only, told=metrics == ("captions",), words=asked.words)


def _called(dataset: str, asked: EvaluationWish) -> str:
    """How a command names the data."""
    files = {"only": asked.only, "captions": asked.captions, "words": asked.words}
    return " ".join([str(dataset), *(f"--{option} {path}" for option, path in files.items() if path)])
