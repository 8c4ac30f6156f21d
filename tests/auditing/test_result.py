"""What an audit tells, as plain JSON."""

import json
import math

from vlx.auditing import Audit, Finding


def test_an_audit_is_plain_json_whatever_is_not_known() -> None:
    finding = Finding("leans", "for “rocket”, night carries +1.9 logits", answer="rocket", effect=1.9, low=-math.inf)
    told = json.loads(json.dumps(Audit("m", "d", 3, findings=(finding,)).to_json(), allow_nan=False))
    assert told["audit"] == 1
    assert told["findings"][0]["effect"] == 1.9
    assert told["findings"][0]["low"] is told["findings"][0]["p"] is told["strength"] is None
    assert told["outside"] == {"occurrences": [], "total": 0, "of": 0, "how": "", "why": ""}
