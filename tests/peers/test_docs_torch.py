"""The lines of docs/how-to.md that take weights to PyTorch do what they say."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.peers
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to.md"


def test_weights_go_to_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    section = HOW_TO.read_text().split("## Take the weights to PyTorch")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(compile(code[1], str(HOW_TO), "exec"), names)
    x = np.ascontiguousarray(names["prepared"].transpose(0, 3, 1, 2))
    expected = names["run"].plan.predict(x)
    assert np.abs(expected).max() > 1, "it has learnt something"
    np.testing.assert_allclose(names["logits"].numpy(), expected, rtol=1e-4, atol=1e-4)
