"""Templates, scripts and styles that lie beside the code of a page, read once, and the digest of a page's script."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2


@cache
def text(package: str, name: str) -> str:
    """The file of this name in the folder ``templates`` of a package.

    >>> style = text("vlx.report", "page.css")
    """
    return (files(package) / "templates" / name).read_text(encoding="utf-8")


@cache
def template(package: str, name: str) -> "jinja2.Template":
    """A template of the package: what it is given is escaped, what it lacks is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda part: text(package, part)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def script_digest(script: str) -> str:
    """SHA-256 of a script in base64, as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
