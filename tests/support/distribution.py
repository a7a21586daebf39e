"""Which tests run in the same process of pytest-xdist: those that share something which is expensive to start."""

from __future__ import annotations

import re
from zlib import crc32

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Files whose tests share nothing expensive, and the number of parts that they are divided into.
DIVIDED = {
    "tests/docs/test_pages.py": 12,
    "tests/core/test_state_machine_properties.py": 2,
}

#: The files that take longest. They are begun first, so that no process is left alone with one of them at the end.
LONGEST = (
    "tests/core/test_state_machine_properties.py",
    "tests/core/test_kind_machines.py",
    "tests/docs/test_pages.py",
    "tests/service/test_contract_fuzz.py",
    "tests/service/test_many_endings.py",
    "tests/service/test_outages.py",
    "tests/page/test_charts.py",
    "tests/page/test_compare.py",
    "tests/page/test_runs.py",
    "tests/page/test_page.py",
    "tests/page/test_live.py",
    "tests/page/test_mlflow_ui.py",
    "tests/tracking/server/test_mlflow_client.py",
    "tests/tracking/server/test_accounts.py",
    "tests/tracking/replication/test_large_files.py",
)

#: The tests of requests that Schemathesis makes up, which takes a second of a processor to load and to read a contract.
ON_SCHEMATHESIS = (
    "tests/service/test_contract_fuzz.py",
    "tests/service/test_prediction_api_contracts.py",
    "tests/tracking/server/test_contract.py",
)

#: Tests that need a server of S3, which takes a second of a processor to start.
ON_S3 = re.compile(r"/artifacts/test_(repositories|s3)\.py|::test_a_checkpoint_in_an_object_storage_|_and_from_s3$")

#: The tests of the page that look at one tracking server. The others share a browser too.
ON_TRACKING = ("tests/page/test_charts.py", "tests/page/test_compare.py", "tests/page/test_runs.py")

#: Tests for which a process has to load all of MLflow, its server or its client, which takes eight seconds of a processor.
ON_MLFLOW = re.compile(
    r"\[(.*-)?mlflow(-[^.]*)?\]|_from_an_mlflow_server_|::test_mlflows_clients_work|::test_the_mlflow_client_works"
    r"|::test_the_names_are_mlflows|::test_the_real_client_reads_|_that_mlflow_understands|/mlflow_pyfunc/tests/"
    r"|/test_(large_files|mlflow_client|mlflow_server|outages|prediction_apis|saved_models)\.py"
    r"|\[(docs/howto/serve-(a-scikit-learn-model|other-apis)"
    r"|plugins/(mlflow_pyfunc|sklearn_estimator)/README)\.md\]"
)


def is_short(item: pytest.Item) -> bool:
    """Return whether a test is in none of the files that take longest."""
    return item.nodeid.partition("::")[0] not in LONGEST


class BySharing(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives whole files to a process, so that what is shared in a file is started once.

    All tests on MLflow go to one process, those with a browser to two, and those with Schemathesis or S3 to one each.
    """

    def _split_scope(self, nodeid: str) -> str:
        if ON_MLFLOW.search(nodeid):
            return "mlflow"
        if ON_S3.search(nodeid):
            return "s3"
        file = nodeid.partition("::")[0]
        if file.startswith("tests/page/"):
            return "a browser on tracking" if file in ON_TRACKING else "a browser"
        if file in ON_SCHEMATHESIS:
            return "schemathesis"
        parts = DIVIDED.get(file)
        return file if parts is None else f"{file} {crc32(nodeid.encode()) % parts}"
