"""Models that were written for versions of MISTK run unchanged, without MISTK."""

from __future__ import annotations

import json
from pathlib import Path

from mistk_service.client import AgentClient, OrchestratorClient
from tests.service.conftest import Start
from tests.service.harness import refused, run
from tests.service.test_mistk_sequence import Harness, datasets, replay

MODELS = Path(__file__).parents[1] / "models" / "for_mistk"


def test_a_model_for_mistk_0_5(start: Start, tmp_path: Path) -> None:
    data = tmp_path / "rows.json"
    data.write_text(json.dumps([["b", 1], ["a", 2], ["b", 3]]))
    service = start(model=f"{MODELS / 'version_0_5.py'}:MajorityModel")
    answer = replay(Harness(service), datasets(data, data), "YWJj", tmp_path)
    assert answer == {"0": ["b", 3]}
    assert service.wait_exit() == 0
    assert json.loads((tmp_path / "model" / "majority.json").read_text()) == "b"
    assert (tmp_path / "predictions" / "predictions.csv").read_text() == "0,b\n1,b\n2,b\n"


def test_a_model_for_mistk_1_0(start: Start, tmp_path: Path) -> None:
    service = start(model=f"{MODELS / 'version_1_0.py'}:Echo")
    service.make_ready()
    service.do("loadData", datasets(tmp_path, tmp_path))
    payload = service.do("train")["payload"]
    assert payload["train"]["objectInfo"] == {"kind": "MistkDataset", "name": "data-copy"}
    assert (payload["test"]["dataPath"], payload["test"]["modality"]) == (str(tmp_path), "text")
    service.post("updateStreamProperties", {"threshold": 0.5})
    assert service.post("streamPredict", {"a": "YQ=="}, details="true") == {"a": 0.5, "details": "# nothing"}
    service.do("reset")
    service.make_ready()
    failed = service.do("predict")
    assert (failed["state"], failed["payload"]["error"]["message"]) == ("failed", "there is no dataset test")


def test_a_model_for_mistk_1_2(start: Start, tmp_path: Path) -> None:
    service = start(model=f"{MODELS / 'version_1_2.py'}:Constant")
    members = {}
    for name, value in (("first", 1.2345), ("second", 2)):
        members[name] = str(tmp_path / name)
        service.make_ready(value=value)
        service.do("train")
        service.do("saveModel", modelPath=members[name])
        service.do("reset")
    service.do("initialize", {})
    service.do("buildEnsemble", members, ensemblePath=service.url)
    service.do("miniaturize", dataPath=str(tmp_path / "small"), includeHalfPrecision="True")
    assert json.loads((tmp_path / "small" / "values.json").read_text()) == [1.2, 2]
    service.do("predict")
    payload = service.do("savePredictions", dataPath=str(tmp_path / "out"))["payload"]
    assert (payload["ids"], payload["json"], payload["csv"], payload["host"]) == (["0", "1"], True, False, "nowhere")
    saved = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert saved["items"][0] == {"recordId": "0", "values": [{"label": "1.2345", "confidence": "1"}]}


def test_a_model_for_mistk_1_4(start: Start) -> None:
    service = start(model=f"{MODELS / 'version_1_4.py'}:Counter")
    service.make_ready()
    with service.api.stream("POST", "/streamPredict/source?source=cam&format=None", json={}) as response:
        lines = (json.loads(line) for line in response.iter_lines() if line.strip())
        assert next(lines) == {"eventType": "added", "payload": {"cam-0": {"format": None}}}
        assert service.api.delete("/streamPredict/source/cancel").status_code == 204
        for _ in lines:
            pass
    assert service.wait_for_state("ready", service.status())["payload"]["ended"] is True
    assert "do_train" in refused(service.api.post("/train"))["message"]


def test_without_the_names_the_model_cannot_be_loaded_and_the_service_says_why(tmp_path: Path) -> None:
    model = f"{MODELS / 'version_1_4.py'}:Counter"
    code, _, error = run("serve", model, "--port", "0", "--no-mistk-names", "--no-tracking", cwd=tmp_path)
    assert code == 1
    assert "No module named 'mistk'" in error


def test_an_agent_and_an_orchestrator_for_mistk_1_4(start: Start) -> None:
    file = MODELS / "agent_1_4.py"
    player, leader = start(model=f"{file}:Mirror"), start(model=f"{file}:Echoes")
    with AgentClient(player.url) as agent, OrchestratorClient(leader.url) as game:
        agent.wait_for("initialized", since=agent.initialize(hyperparameters={"sign": -1}))
        agent.wait_for("initialized", since=agent.build_model())
        game.wait_for("waiting_for_agents", since=game.initialize({"game": "echoes"}, agents_needed=1))
        ready = game.wait_for("ready", since=game.register_agent("m", player.url))
        assert (ready.payload["registered"], ready.payload["same"]) == (["m"], True)
        assert agent.status().payload["plays_as"] == "m"
        game.wait_for("completed_episode", since=game.start_episode())
        assert game.wait_for("ready", since=game.stop_episode()).payload["m"] == -10
        assert agent.status().payload["gained"] == -10
