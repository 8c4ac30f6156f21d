"""Names that nobody knows are told in short, and references are called by what they are."""

import pytest

import vlx
from vlx.errors import ModelError
from vlx.probes import references

MOST = 300  # characters of a message


@pytest.mark.parametrize("name", ["torchvision:resnet5", "torchvision:" + "y" * 500, "z" * 900])
def test_unknown_models_are_named_in_short(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        vlx.load(name)
    assert len(str(caught.value)) <= MOST


def test_own_references_are_not_told_to_be_own_pictures() -> None:
    names = [f"a very long name of a picture of the user's own {number}.png" for number in range(17)]
    assert "pictures of your own" in references.strange(["inverted"], [2.0])
    assert "pictures of your own" not in references.strange(["a.png"], [2.0], made=False)
    assert references.strange(names, [1.0] * 17, made=False) == ""
