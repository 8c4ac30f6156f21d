"""Powers of a task are asked for in one place: elsewhere nobody looks for a member by its name or protocol."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.test_layout import ROOT, sources
from vlx.protocol import powers
from vlx.protocol.powers import MEMBERS

HOME = ROOT / "vlx" / "protocol"
PROTOCOLS = {name for name, one in vars(powers).items() if getattr(one, "_is_protocol", False)}
NAMES = {member.__name__ for members in MEMBERS.values() for member in members} | {
    "besides", "head_is_vision", "revision", "sample_question"
}  # fmt: skip
ASKS = ("isinstance", "issubclass", "hasattr", "getattr")


def asked(file: Path) -> Iterator[str]:
    """Where a file asks for a power itself, as sentences."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in ASKS:
            continue
        for given in node.args[1:2]:
            names = {one.id for one in ast.walk(given) if isinstance(one, ast.Name)}
            names |= {one.attr for one in ast.walk(given) if isinstance(one, ast.Attribute)}
            texts = {one.value for one in ast.walk(given) if isinstance(one, ast.Constant)}
            for power in sorted(names & PROTOCOLS | {str(text) for text in texts} & NAMES):
                yield f"{file.name}:{node.lineno} asks {node.func.id} {power}; ask vlx.protocol.powers_of"


def test_nobody_else_asks_for_a_power() -> None:
    assert {"Restarts", "Sees", "Meets", "Stocked", "Task"} <= PROTOCOLS
    assert not [told for file in sources() if not file.is_relative_to(HOME) for told in asked(file)]


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("isinstance(task, Sees)", 1),
        ("isinstance(task, powers.Sees | Restarts)", 2),
        ("issubclass(type(task), (Sees,))", 1),
        ("hasattr(task, 'begin')", 1),
        ("getattr(task, 'digest', None)", 1),
        ("isinstance(task, Module)", 0),
        ("getattr(decoder, 'logits', None)", 0),
    ],
)
def test_the_check_sees_who_asks(tmp_path: Path, line: str, count: int) -> None:
    (tmp_path / "one.py").write_text(line, encoding="utf-8")
    assert len(list(asked(tmp_path / "one.py"))) == count
