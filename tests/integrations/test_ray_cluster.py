"""A service with several nodes of a Ray cluster, all on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.harness import Service, run
from tests.support.harness import reference

cluster_utils: Any = pytest.importorskip("ray.cluster_utils")

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]

COUNTS = reference("counts:Counts")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster whose only node has no room for a worker."""
    import ray

    ray.shutdown()  # the one that tests of workers have used
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def drain(cluster: Any, node: Any) -> None:
    """Announce that a node goes away."""
    command = [Path(sys.executable).with_name("ray"), "drain-node", "--address", cluster.address]
    why = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test"]
    subprocess.run([*command, "--node-id", node.node_id, *why, "--deadline-remaining-seconds", "600"], check=True)


def test_a_training_on_a_machine_that_goes_away_is_saved_and_resumed_on_another_one(
    cluster: Any, tmp_path: Path
) -> None:
    leaving = cluster.add_node(num_cpus=1)
    (tmp_path / "data.csv").touch()
    options = ("--train", "data.csv", "--checkpoint", "checkpoint", "--save-model", "model", "--no-tracking")
    on_ray = ("--worker", "ray", "--ray-address", cluster.address)
    with Service("job", COUNTS, *options, *on_ray, cwd=tmp_path, begun="Listening at ") as job:
        job.wait_for_line("number=")
        drain(cluster, leaving)
        assert job.wait_exit() == 75, job.output()
        assert "The machine of the worker is about to leave the cluster." in job.output()
    reached = int((tmp_path / "checkpoint" / "mistk-checkpoint" / "number.txt").read_text())
    cluster.add_node(num_cpus=1)
    (tmp_path / "hyperparameters.json").write_text(json.dumps({"steps": 2}))
    code, _, err = run("job", COUNTS, *options, *on_ray, "--hyperparameters", "hyperparameters.json", cwd=tmp_path)
    assert code == 0, err
    assert int((tmp_path / "model" / "number.txt").read_text()) == reached + 2


def test_replicas_are_spread_over_the_machines(cluster: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        cluster.add_node(num_cpus=8, env_vars={"MACHINE": name})
    model = tmp_path / "machine.py"
    model.write_text(
        "import os\n"
        "from mistk_service import AbstractModel\n"
        "class Model(AbstractModel):\n"
        "    def do_stream_predict(self, data_map, details=False):\n"
        "        return dict.fromkeys(data_map, os.environ['MACHINE'])\n"
    )
    on_ray = ("--worker", "ray", "--ray-address", cluster.address, "--replicas", "2", "--no-tracking", "--port", "0")
    with Service("serve", f"{model}:Model", *on_ray, cwd=tmp_path) as service:
        service.make_ready()
        service.wait(lambda status: status["payload"]["replicas"]["usable"] == 2, service.status())
        assert {service.post("streamPredict", {"a": "eA=="})["a"] for _ in range(4)} == {"a", "b"}


def test_the_loss_of_a_machine_fails_the_instance_and_a_reset_starts_on_another_one(
    cluster: Any, tmp_path: Path
) -> None:
    lost = cluster.add_node(num_cpus=1)
    on_ray = ("--worker", "ray", "--ray-address", cluster.address, "--no-tracking", "--port", "0")
    with Service("serve", COUNTS, *on_ray, cwd=tmp_path) as service:
        service.make_ready()
        training = service.post("train")
        cluster.remove_node(lost, allow_graceful=False)
        failed = service.wait_for_state("failed", training)
        assert "The worker's actor died" in failed["payload"]["error"]["message"]
        cluster.add_node(num_cpus=1)
        service.do("reset")
        service.make_ready()
