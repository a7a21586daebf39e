"""The model registry through its API."""

import pytest


@pytest.fixture
def name(api, request):
    name = f"model of {request.node.name}".replace("/", "_").replace(":", "_")
    api.post("registered-models/create", name=name)
    return name


def test_versions_have_their_aliases_where_one_is_asked_for_and_not_in_searches(api, name):
    api.post("model-versions/create", name=name, source="s3://bucket/model")
    api.post("registered-models/alias", name=name, alias="best", version="1")
    assert api.get("model-versions/get", name=name, version="1")["model_version"]["aliases"] == ["best"]
    assert api.post("registered-models/get-latest-versions", name=name)["model_versions"][0]["aliases"] == ["best"]
    # mlflow-export-import passes on every key that a search gives.
    assert "aliases" not in api.get("model-versions/search", filter=f"name = '{name}'")["model_versions"][0]
    model = api.get("registered-models/get", name=name)["registered_model"]
    assert model["aliases"] == [{"alias": "best", "version": "1"}]
    assert "aliases" not in model["latest_versions"][0]


def test_a_logged_model_lists_the_versions_made_from_it(api, name):
    model = api.post("logged-models", experiment_id=api.experiment(), name="m")["model"]["info"]
    model_id = model["model_id"]
    api.post("model-versions/create", name=name, source=f"models:/{model_id}", model_id=model_id)
    api.post("model-versions/create", name=name, source=model["artifact_uri"], model_id=model_id)
    tags = api.get(f"logged-models/{model_id}")["model"]["info"]["tags"]
    versions = f'[{{"name": "{name}", "version": 1}}, {{"name": "{name}", "version": 2}}]'
    assert {"key": "mlflow.modelVersions", "value": versions} in tags


def test_clients_of_mlflow_1_list_registered_models(api, name):
    found, token = [], None
    while True:
        page = api.get("registered-models/list", max_results=1, **({"page_token": token} if token else {}))
        found += [model["name"] for model in page["registered_models"]]
        token = page.get("next_page_token")
        if token is None:
            break
    assert name in found
    assert found == [
        model["name"] for model in api.get("registered-models/search", max_results=1000)["registered_models"]
    ]


def test_a_page_of_none_is_what_mlflow_makes_of_it(api, name):
    assert api.get("registered-models/search", filter=f"name = '{name}'", max_results=0) == {}
    experiment = api.experiment()
    api.post("logged-models", experiment_id=experiment, name="m")
    assert len(api.post("logged-models/search", experiment_ids=[experiment], max_results=0)["models"]) == 1
