"""The real MLflow client does the same with a real MLflow server and with ours, and must not see a difference."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.preloaded import CALM, run_python
from tests.support.remotes import MlflowServer

#: One server and one client for each of the two.
pytestmark = pytest.mark.timeout(600)

SESSION = Path(__file__).with_name("mlflow_session")


def session_with(url, folder):
    """Return what the session saw, as JSON, with everything masked that must differ."""
    result = folder / "seen.json"
    environment = {**os.environ, **CALM, "MLFLOW_TRACKING_URI": url}
    run_python(str(SESSION), str(result), cwd=folder, env=environment, loaded="mlflow")
    return Masker().mask(json.loads(result.read_text()))


#: Where ours is meant to be another: place → (MLflow's, ours).
WANTED = {
    # An empty file has a size.
    "/artifacts/tree/12/2": (None, 0),
}


class Masker:
    """Replaces ids by the order in which they appear, and the times of the session itself by a word."""

    def __init__(self):
        self.ids = {}

    def mask(self, value):
        if isinstance(value, dict):
            return {self.mask(key): self.mask(value[key]) for key in value}
        if isinstance(value, list):
            return [self.mask(item) for item in value]
        if isinstance(value, str):
            return re.sub(r"[0-9a-f]{32}", lambda found: self.ids.setdefault(found[0], f"<id {len(self.ids)}>"), value)
        if isinstance(value, int) and value > 1_750_000_000_000:
            return "<time>"
        return value


def differences(theirs, ours, place=""):
    """Yield every place where two JSON values differ, with what stands there in each."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in theirs.keys() | ours.keys():
            yield from differences(theirs.get(key, "<absent>"), ours.get(key, "<absent>"), f"{place}/{key}")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for n, (their, our) in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(their, our, f"{place}/{n}")
    elif repr(theirs) != repr(ours):
        yield place, (theirs, ours)


def test_the_client_sees_no_difference_between_mlflow_and_us(start_server, tmp_path):
    def theirs():
        (tmp_path / "mlflow").mkdir()
        with MlflowServer(tmp_path / "mlflow") as server:
            return session_with(server.url, tmp_path / "mlflow")

    def ours():
        (tmp_path / "ours").mkdir()
        with start_server(tmp_path / "ours") as server:
            return session_with(server.url, tmp_path / "ours")

    with ThreadPoolExecutor() as both:
        their_result, our_result = both.submit(theirs), both.submit(ours)
    found = dict(differences(their_result.result(), our_result.result()))
    unlike = {
        place: found.get(place) for place in found.keys() | WANTED.keys() if found.get(place) != WANTED.get(place)
    }
    assert not unlike, f"place -> (MLflow's, ours): {unlike}"
