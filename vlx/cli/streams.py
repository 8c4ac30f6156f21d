"""Standard output and error that take every sign, whatever the encoding of the terminal or the pipe."""

import codecs
import re
import sys
import unicodedata

PLAIN = {
    **{
        "✓": "+",
        "✗": "x",
        "−": "-",
        "–": "-",
        "→": "->",
        "°": "*",
        "×": "x",
        "…": "...",
        "·": "|",
        "∞": "inf",
        "≤": "<=",
    },
    **{"≥": ">=", "“": '"', "”": '"', "’": "'", "─": "-", "━": "-", "╸": "-", "╺": "-", "│": "|", "•": "*"},
    **dict.fromkeys("▏▎▍▌▋▊▉█", "#"),
}
SUPERSCRIPTS = re.compile("[⁻⁰¹²³⁴-⁹]+")
ERRORS = "vlx-plain"


def spoken() -> None:
    """Let standard output and error write what their encoding lacks in plain signs: ✓ as +, ✗ as x, é as e.

    Without it a pipe or an old terminal (Windows: cp1252, cp437; Unix: LANG=C) ends a command with a traceback.
    """
    codecs.register_error(ERRORS, _plain)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=ERRORS)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = SUPERSCRIPTS.sub(lambda found: f"^{_folded(found[0])}", error.object[error.start : error.end])
    return "".join(
        PLAIN.get(sign) or _folded(sign).encode("ascii", "ignore").decode() or "?" for sign in text
    ), error.end


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKD", text).replace("−", "-")
