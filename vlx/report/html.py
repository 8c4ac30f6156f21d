"""The page: one self-contained HTML file, no network, everything from the user escaped.

All words are written here, by Jinja with autoescape; the script gets numbers only. Maps travel as their native grids
and the script paints them by `placement.Axis`, so a map on the page lies where `Placement.paint` puts it. The
picture is there once; small stills of the maps lie over it where no script runs, and in print.
"""

import json
from typing import Any

from markupsafe import Markup, escape

from vlx.explanation.records import Explanation
from vlx.files import templates
from vlx.report import answers, chances, colour, glossary, numbers, strength, wording
from vlx.report.panels import Panel

SIDE = 800  # longest side of the embedded picture, in pixels
FRAME_SIDE = 640  # the same in a notebook, where pages add up
FRAME_HEIGHT = 800


def page(why: Explanation, side: int = SIDE) -> str:
    """The whole page as one string."""
    panels = [Panel.of(number, one, why, side) for number, one in enumerate([why, *answers.apart(why)])]
    script = templates.text("vlx.report", "page.js")
    return templates.template("vlx.report", "page.html.j2").render(
        why=why,
        panels=panels,
        style=Markup(templates.text("vlx.report", "page.css")),
        script=Markup(script),
        digest=templates.script_digest(script),
        data=_script({"panels": [panel.data for panel in panels], "ramps": _ramps(), "rise": colour.RISE}),
        gradient={view: Markup(_gradient(view)) for view in colour.RAMPS},
        answers=answers,
        chances=chances,
        numbers=numbers,
        peak=strength.peak,
        wording=wording,
        opacity=round(100 * colour.OPACITY),
        grey=_grey(),
        terms=glossary.Terms(number=bool(why.words) and chances.is_number(why.words[0])),
    )


def frame(why: Explanation) -> str:
    """The page in a frame for notebooks; its own styles and script cannot touch the notebook's."""
    style = f"width:100%;height:{FRAME_HEIGHT}px;border:0;border-radius:8px"
    content = escape(page(why, FRAME_SIDE))
    return f'<iframe title="vlx explanation" sandbox="allow-scripts" style="{style}" srcdoc="{content}"></iframe>'


def _ramps() -> dict[str, list[list[int]]]:
    return {view: [list(color) for color in colour.ramp(view)] for view in colour.RAMPS}


def _gradient(view: str) -> str:
    return ", ".join(f"rgb({r} {g} {b})" for r, g, b in colour.ramp(view)[::7])


def _grey() -> str:
    """`colour.muted` as the matrix of an SVG filter."""
    row = " ".join(f"{colour.FLATTER * part:.5f}" for part in colour.GREY)
    return f"{row} 0 {colour.LIGHTER / 255:.5f} " * 3 + "0 0 0 1 0"


def _script(data: dict[str, Any]) -> Markup:
    """JSON that cannot end the script element it stands in; ASCII, so no line separators either."""
    plain = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
