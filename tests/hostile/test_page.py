"""Payloads in every string of the pages, opened in headless Chromium and clicked through: nothing runs, nothing leaves.

A page's own script and data are in it; a word, an answer, a path or a name of a unit must never become more than text.
"""

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.browser import Browser
from benchmarks.gallery import records as made_up
from tests import audits
from tests.explanations import answer_explanation, caption_explanation, contrast_explanation, reasoned
from vlx import Explanation
from vlx.auditing import page as audit_page
from vlx.auditing.drawn import Drawings, DrawnMistake, MapOfMistake
from vlx.auditing.result import Crop
from vlx.explanation import schema, storage
from vlx.folder import gallery
from vlx.folder.manifest import Job

if shutil.which("chromium") is None and shutil.which("google-chrome") is None:
    pytest.skip("there is no Chromium here: the pages were not opened", allow_module_level=True)

OWNED = "document.documentElement.dataset.owned=1"
CLICKED = """(() => {
  const all = [...document.querySelectorAll('*')];
  for (const one of all) for (const kind of ['pointerover', 'pointerenter', 'mouseover', 'focus', 'click'])
    if (!one.closest('a')) one.dispatchEvent(new MouseEvent(kind, {bubbles: true}));
  for (const one of document.querySelectorAll('details')) one.open = true;
  for (const one of document.querySelectorAll('select')) for (const option of one.options) {
    one.value = option.value; one.dispatchEvent(new Event('input', {bubbles: true}));
    one.dispatchEvent(new Event('change', {bubbles: true})); }
})()"""
TOLD = """(() => {
  const all = [...document.querySelectorAll('*')];
  const resources = performance.getEntriesByType('resource').map(one => one.name);
  const asked = resources.filter(name => !/^(data|blob):/.test(name));
  const handlers = all.filter(one => [...one.attributes].some(a => a.name.startsWith('on'))).map(one => one.outerHTML);
  const links = all.flatMap(one => [one.getAttribute('src'), one.getAttribute('href')]);
  const strange = links.filter(link => link && /^\\s*(javascript|http:..127)/i.test(link));
  return {owned: document.documentElement.dataset.owned || '', asked, handlers, strange,
          text: document.documentElement.textContent.includes('OWNED-BY')};
})()"""


@dataclass
class Outside:
    """A server that nobody should ask."""

    address: str = ""
    hits: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    found = Outside()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.hits.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.address = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()


def payload(outside: Outside) -> str:
    """Breaks out of attributes, elements, scripts, comments, styles and templates, in one text."""
    parts = (
        "OWNED-BY\"'>",
        f"<script>{OWNED}</script><script src={outside.address}/script.js></script>",
        f"<img src={outside.address}/picture onerror={OWNED}><svg onload={OWNED}>",
        f"<style>*{{background:url({outside.address}/style)}}",
        f"</style></title></textarea></script><script>{OWNED}</script>--><script>{OWNED}</script>",
        f"<iframe srcdoc='<script>parent.{OWNED}</script>'></iframe><link rel=stylesheet href={outside.address}/sheet>",
        f"<meta http-equiv=refresh content='0;url={outside.address}/gone'><base href={outside.address}>",
        f"{{{{ 7*7 }}}}{{% raw %}}${{{OWNED}}}`;{OWNED};//\\'];{OWNED}//\u2028<!--<script>",
    )
    return "".join(parts)


def spoiled(why: Explanation, text: str) -> Explanation:
    """The explanation with ``text`` in place of every text that its schema leaves free."""
    record = storage._listed(storage._record(why))
    changed = 0
    waiting: list[Any] = [record]
    while waiting:
        at = waiting.pop()
        for key in list(at) if isinstance(at, dict) else range(len(at)):
            before = at[key]
            if isinstance(before, dict | list):
                waiting.append(before)
            if not isinstance(before, str) or key in ("format", "png", "dtype"):
                continue
            at[key] = text
            try:
                schema.explanation(record)
                changed += 1
            except schema.Unfit:
                at[key] = before
    record["provenance"] = {text: text, **record["provenance"]}
    assert changed > 20
    return storage._explanation(record)


def opened(browser: Browser, outside: Outside, path: Path) -> dict[str, Any]:
    """What became of a page that was opened, and clicked on everywhere."""
    outside.hits.clear()
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=f"file://{path}")
    while browser.value("location.protocol + document.readyState") != "file:complete":
        pass
    browser.value(CLICKED)
    browser.value("new Promise(done => setTimeout(done, 300))")
    told: dict[str, Any] = browser.value(TOLD)
    return {**told, "hits": list(outside.hits)}


SAFE = {"owned": "", "asked": [], "handlers": [], "strange": [], "hits": []}


@pytest.mark.parametrize("name", ["caption", "answer", "contrast"])
def test_nothing_in_a_report_runs_or_leaves(browser: Browser, outside: Outside, tmp_path: Path, name: str) -> None:
    made: dict[str, Callable[[], Explanation]] = {
        **{"caption": caption_explanation, "answer": answer_explanation, "contrast": contrast_explanation}
    }
    why = spoiled(reasoned(made[name]()), payload(outside))
    found = opened(browser, outside, why.save(tmp_path / "why.html"))
    assert found.pop("text")
    assert found == SAFE
    (tmp_path / "cell.html").write_text(f"<html><body>{why._repr_html_()}</body></html>", "utf-8")
    found = opened(browser, outside, tmp_path / "cell.html")
    assert not (found["owned"] or found["hits"] or found["strange"])


def test_every_format_holds_any_text(outside: Outside, tmp_path: Path) -> None:
    why = spoiled(reasoned(caption_explanation()), payload(outside))
    for ending in ("json", "h5", "md", "png", "csv", "svg", "pdf"):
        why.save(tmp_path / f"why.{ending}")
    assert "<script" not in (tmp_path / "why.svg").read_text("utf-8").lower()
    assert Explanation.load(tmp_path / "why.h5").text == Explanation.load(tmp_path / "why.json").text == why.text


def test_nothing_in_a_gallery_runs_or_leaves(browser: Browser, outside: Outside, tmp_path: Path) -> None:
    text = payload(outside)

    def told(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: told(member, name) for name, member in value.items()}
        if isinstance(value, list):
            return [told(member) for member in value]
        return text if isinstance(value, str) and key not in ("check", "status", "thumbnail") else value

    rows = [{**told(one), "key": str(n), "question": text, "error": text} for n, one in enumerate(made_up(40, 3))]
    for row in rows[::5]:
        row.update(status="failed", words=[], thumbnail=None, page=None)
    gallery.write(tmp_path / "index.html", Job(text, text, "", {text: text}), lambda: iter(rows))
    found = opened(browser, outside, tmp_path / "index.html")
    assert found.pop("text")
    assert found == SAFE


def test_nothing_in_an_audit_runs_or_leaves(browser: Browser, outside: Outside, tmp_path: Path) -> None:
    text = payload(outside)
    drawn = DrawnMistake("", (MapOfMistake("data:,", text, text),), (text,))
    made = Drawings((drawn,), {Crop(text, (0.0, 0.0, 4.0, 4.0)): "data:,"}, {text: "data:,"})
    (tmp_path / "index.html").write_text(audit_page.page(audits.spoiled(text), made), "utf-8", "replace")
    found = opened(browser, outside, tmp_path / "index.html")
    assert found.pop("text")
    assert found == SAFE


def test_a_page_that_lets_it_run_is_seen(browser: Browser, outside: Outside, tmp_path: Path) -> None:
    text = payload(outside).replace("<meta", "<no")
    (tmp_path / "open.html").write_text(f"<html><body><p>{text}</p></body></html>", "utf-8")
    found = opened(browser, outside, tmp_path / "open.html")
    assert found["owned"] == "1"
    assert "/picture" in found["hits"]
    assert found["handlers"] and found["strange"] and found["asked"]
