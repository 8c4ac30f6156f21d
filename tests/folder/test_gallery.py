"""The gallery in Chromium: what it puts first is what the records say."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.browser import Browser
from benchmarks.gallery import records
from vlx.folder import gallery
from vlx.folder.manifest import Job

SORTED = """(() => {
  const change = (name, set) => { const one = document.getElementById(name); set(one);
    one.dispatchEvent(new Event('input', {bubbles: true})); };
  document.querySelector('[value=words]').click();
  change('sort', (one) => { one.value = BY; });
  change('turned', (one) => { one.checked = TURNED; });
  return [...document.querySelectorAll('#list > li, ol > li')].slice(0, 5).map((one) => one.textContent);
})()"""


@pytest.mark.parametrize(("by", "turned"), [("seen", False), ("seen", True), ("p", False)])
def test_words_are_sorted_as_their_records_say(browser: Browser, tmp_path: Path, by: str, turned: bool) -> None:
    made = records(40, 5)
    gallery.write(tmp_path / "index.html", Job("caption", "m", "", {}), lambda: iter(made))
    browser.open(tmp_path / "index.html")
    shown = browser.value(SORTED.replace("BY", repr(by)).replace("TURNED", str(turned).lower()))
    figure = {"seen": "seen", "p": "logprob"}[by]
    words: list[dict[str, Any]] = [
        {**word, "path": one["path"]} for one in made for word in one["words"] if word["content"]
    ]
    words.sort(key=lambda word: word[figure], reverse=turned)
    assert len(shown) == 5
    for text, word in zip(shown, words, strict=False):
        assert word["path"] in text and word["word"] in text
