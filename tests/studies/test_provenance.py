from __future__ import annotations

import getpass
import json
import re
import socket
from datetime import datetime

from studies.engine.provenance import provenance
from tests.studies.conftest import ROOT


def test_run_says_where_its_numbers_come_from() -> None:
    said = provenance(["run", "toy"], 2)
    assert said["command"] == "python -m studies run toy"
    assert said["commit"] is None or re.fullmatch("[0-9a-f]{40}", str(said["commit"]))
    assert (said["commit"] is None) == (said["dirty"] is None)
    assert isinstance(said["packages"], dict) and "numpy" in said["packages"]
    assert (said["workers"], said["threads"]) == (2, 1)
    assert datetime.fromisoformat(str(said["started"])).utcoffset() is not None
    assert said["processor"] and said["python"] and said["cores"]


def test_run_does_not_tell_on_its_user() -> None:
    text = json.dumps(provenance([], 0))
    assert str(ROOT) not in text and socket.gethostname() not in text
    assert getpass.getuser() not in re.findall(r"\w+", text)
