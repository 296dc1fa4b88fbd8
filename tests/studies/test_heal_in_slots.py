"""Long healing in short slots: the script on a small net."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from studies.heal_in_slots import main

SMALL = ["--subject", "digits", "--method", "svd", "--kept", "0.2", "--tokens", "1500", "--device", "cpu"]


def test_slots_end_where_one_run_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([str(whole), *SMALL]) == 0
    slots = 0
    while (code := main([str(parts), *SMALL, "--slot-seconds", "0.0001"])) == 3:
        slots += 1
        assert slots < 100
    assert code == 0 and slots > 3
    assert "run the same command" in capsys.readouterr().out
    expected, found = (load_file(folder / "healed.safetensors") for folder in (whole, parts))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    results = [json.loads((folder / "result.json").read_text()) for folder in (whole, parts)]
    assert results[0]["after"] == results[1]["after"] != results[0]["before"]
    # Another healing in the same folder is refused, and so is a subject that is not known.
    assert main([str(parts), *SMALL, "--kept", "0.3"]) == 2
    assert "must hold this healing" in capsys.readouterr().err
    assert main([str(tmp_path / "new"), "--subject", "numbers"]) == 2
    assert "must be one of" in capsys.readouterr().err
