"""Task adapters; the code is in ``<checkout>/tasks``, the wheel has it right here."""

from vlx._checkout import sibling

__path__ += sibling("tasks")
