"""Where each section, figure and table of Grad-CAM's paper is: the table at the top of docs/paper.md.

Sections, figures and tables are as the paper's text has them (arXiv 1610.02391, the IJCV version); of the appendix what
that text names.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.paper_runs import Section

DOCS = Path(__file__).resolve().parents[1] / "docs"


@dataclass(frozen=True)
class Place:
    """A part of the paper: what it is about, our command, what came of it, and what a user brings to redo it.

    ``there`` is the name of the section of this page, or a page of docs/, that tells more.
    """

    part: str
    about: str
    command: str
    gave: str
    brings: str
    there: str = ""


PLACES = (
    Place(
        "1, figure 1",
        "a cat and a dog by six methods",
        "vlx classify PHOTO --model torchvision:vgg16 --class 'tiger cat' --guided",
        "a map with its check; `--method occlusion`, `guided` and the others alike",
        "a photograph",
        "methods.md",
    ),
    Place("2", "other work", "", "twenty methods, each by its formula and paper", "–", "methods.md"),
    Place(
        "3, equations 1 and 2, figure 2",
        "the map itself",
        "pytest tests/methods/test_peers_cams.py",
        "equal to pytorch-grad-cam on ResNet-18 and VGG-16 (random weights) to 1e-10",
        "–",
        "measured.md",
    ),
    Place(
        "3.1",
        "Grad-CAM is CAM where a mean and one linear layer follow",
        "python -m benchmarks.photos",
        "α = w/Z, ΣS = y − b, Grad-CAM = HiResCAM to 1e-15 on MobileNetV2",
        "–",
        "measured.md",
    ),
    Place(
        "3.2",
        "Guided Grad-CAM",
        "vlx classify PHOTO --guided",
        "measured beside the others in 5.1, 5.2, 5.3 and 8.1; an illustration, no evidence",
        "a photograph",
        "methods.md",
    ),
    Place("3.3, figure 3", "counterfactual explanations", "", "", "any pictures", "counterfactual"),
    Place("4.1, table 1", "weakly-supervised localization", "", "", "ILSVRC-15", "localization"),
    Place(
        "4.2, figure 4",
        "seeds for weakly-supervised segmentation",
        "",
        "the seeds; the segmentation network (SEC) that the paper trains on them is not here",
        "VOC 2012",
        "seeds",
    ),
    Place("4.3, appendix D", "the pointing game", "", "", "VOC 2007 or COCO", "pointing"),
    Place(
        "5.1, figure 5, table 2",
        "class discrimination: which of two classes?",
        "vlx study DIR --models A B --methods guided,guided-gradcam --n 90 --out study.html",
        "the page that asks people, and an automatic stand-in for them; no people were asked here",
        "VOC 2007, and people",
        "how-to/study.md discrimination",
    ),
    Place(
        "5.2, figure 5, table 2",
        "trust: which of two models?",
        "vlx study score study.html answers/*.json",
        "the same page asks −2 … +2; the stand-in is the share of things by which the better model is named",
        "VOC 2007, and people",
        "how-to/study.md trust",
    ),
    Place("5.3, table 2", "faithfulness against occlusion", "", "", "VOC 2007", "occlusion"),
    Place(
        "6.1, figure 6",
        "failures explained",
        "vlx audit MODEL DIR --out RUN",
        "findings, tables, and the twenty worst mistakes with what was said *rather than* the truth",
        "labelled pictures and a model",
        "how-to/audit.md",
    ),
    Place("6.2, figure 7", "adversarial noise", "", "", "ILSVRC-15", "adversarial"),
    Place(
        "6.3, figure 8",
        "bias found and removed",
        "python examples/bias.py",
        "cars and rockets for doctors and nurses, drawn: accuracy, worst group, background evidence, before and after; "
        "`vlx audit` finds it; published: 82 % → 90 % on balanced pictures",
        "a model and labelled pictures",
        "how-to/audit.md",
    ),
    Place(
        "7, figure 9, appendix F",
        "textual explanations by names of units",
        "vlx names check scenes/captioner",
        "each reason is tried by switching units off, beside permuted names",
        "Broden or captions, to name units of one’s own",
        "how-to/name-units.md",
    ),
    Place("8.1, figures 10 and 11, appendix C", "captions, and their single words", "", "", "COCO", "captioning"),
    Place("8.2, figure 12", "answers to questions", "", "", "VQA v1, VQA-HAT", "vqa"),
    Place(
        "9",
        "future work: reinforcement learning",
        "python -m examples.policy",
        "a policy that catches a ball: .93 of its map on ball and paddle, .28 of the picture",
        "a policy on stacked frames",
        "how-to/beyond-pictures.md",
    ),
    Place(
        "9",
        "future work: natural language processing",
        "python -m examples.lines",
        "a text CNN: .94 of its map on the word that decides, .31 of the line; and a beat in a signal",
        "a one-dimensional CNN",
        "how-to/beyond-pictures.md",
    ),
    Place(
        "9",
        "future work: video applications",
        "python -m examples.video",
        "a 3-D CNN: .82 of its map on what moves, .05 of the clip",
        "a 3-D CNN and clips",
        "how-to/beyond-pictures.md",
    ),
    Place("appendices B and G", "ablations; layers of ResNets", "", "", "ILSVRC-15", "ablations"),
)


def places(sections: Sequence[Section], headlines: Mapping[str, str]) -> Iterator[str]:
    """The table, a line a part; parts that this page redoes lead to their sections, whose ``headlines`` they tell."""
    titles = {section.name: section.title for section in sections}
    yield "## Where each section is\n"
    yield "| of the paper | what | command here | what it gave here, and what was published | a user brings |"
    yield "| --- | --- | --- | --- | --- |"
    for one in PLACES:
        names = one.there.split()
        redone = [name for name in names if name in titles]
        command = one.command or " ".join(f"python -m benchmarks.paper --only {name}" for name in redone)
        told = [one.gave, *(headlines.get(name, "") for name in redone)]
        cells = one.part, one.about, f"`{command}`" if command else "", _told(told, _links(names, titles)), one.brings
        yield f"| {' | '.join(cells)} |"
    yield (
        "\nOf the appendix, what the paper’s text names; A and E it does not name. The figures of the paper are single "
        "pictures: what they show is measured here on all pictures there are.\n"
    )


def _told(texts: Sequence[str], links: Iterator[str]) -> str:
    return "; ".join([text for text in texts if text] + [f"see {', '.join(known)}" for known in [[*links]] if known])


def _links(names: Sequence[str], titles: Mapping[str, str]) -> Iterator[str]:
    """Links to sections of this page by their names, and to pages of docs/ that are there."""
    for name in names:
        if name in titles:
            yield f"[{titles[name].partition(':')[0]}](#{anchor(titles[name])})"
        elif (DOCS / name).exists():
            yield f"[{name.rpartition('/')[2].removesuffix('.md').replace('-', ' ')}]({name})"


def anchor(title: str) -> str:
    """The anchor of a heading, as GitHub and MkDocs make it.

    >>> anchor("3.3 Counterfactual explanations")
    '33-counterfactual-explanations'
    """
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip())
