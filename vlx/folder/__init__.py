"""Runs over many pictures: what is asked of each, the manifest of what was done, and tables and gallery made of it.

>>> chosen = folder.items(["photos", "more/*.jpg"], recursive=True)
>>> with folder.Manifest.opened(Path("out"), folder.Job("caption", "photos/captioner", "", {})) as manifest:
...     summary = folder.run(manifest, chosen.items, explained)
"""

from vlx.folder.inputs import items
from vlx.folder.item import Found, Item, crossed
from vlx.folder.lists import questions
from vlx.folder.manifest import Job, Manifest, free
from vlx.folder.run import Summary, run

__all__ = ["Found", "Item", "Job", "Manifest", "Summary", "crossed", "free", "items", "questions", "run"]
