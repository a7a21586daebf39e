"""Registered models, versions, stages, aliases and tags."""

import pytest

from mistk_service.tracking.errors import InvalidParameter, ResourceExists, ResourceNotFound
from mistk_service.tracking.values import ModelVersionStatus, RegisteredModelAlias, Tag


@pytest.fixture
def model(store):
    return store.create_registered_model("a model", [Tag("k", "v")], "text").name


def version(store, name="a model", source="s3://bucket/x", **rest):
    return store.create_model_version(name, source, **rest).version


def test_a_model_is_read_back(store, model):
    found = store.get_registered_model(model)
    assert (found.name, found.description, found.tags) == ("a model", "text", (Tag("k", "v"),))
    assert (found.latest_versions, found.aliases) == ((), ())
    assert store.create_registered_model("other").description is None


def test_a_bad_name_is_refused(store):
    for name in ["", " ", "a/b", "a:b", "..", "x" * 501, "nul\0"]:
        with pytest.raises(InvalidParameter):
            store.create_registered_model(name)


def test_names_are_unique(store, model):
    store.create_registered_model("other")
    with pytest.raises(ResourceExists, match=r"Registered Model \(name=a model\) already exists"):
        store.create_registered_model(model)
    with pytest.raises(ResourceExists):
        store.rename_registered_model("other", model)
    assert store.rename_registered_model("other", "other").name == "other"


def test_numbers_of_versions_are_never_used_again(store, model):
    assert [version(store) for _ in range(3)] == ["1", "2", "3"]
    store.delete_model_version(model, "3")
    assert version(store) == "4"
    assert [v.version for v in store.search_model_versions("name = 'a model'", order_by=["version_number"])] == [
        "1",
        "2",
        "4",
    ]


def test_a_version_is_read_back(store, model):
    made = store.create_model_version(model, "s3://b/x", "", [Tag("k", "1"), Tag("k", "2")], "http://run", "about")
    assert store.get_model_version(model, "1") == made
    assert (made.source, made.run_link, made.description, made.tags) == (
        "s3://b/x",
        "http://run",
        "about",
        (Tag("k", "2"),),
    )
    assert (made.current_stage, made.status, made.run_id) == ("None", ModelVersionStatus.READY, "")
    assert store.get_download_uri(model, "1") == "s3://b/x"


def test_unknown_models_and_versions_are_not_found(store, model):
    for call in (
        lambda: store.get_registered_model("none"),
        lambda: store.update_registered_model("none", "x"),
        lambda: store.delete_registered_model("none"),
        lambda: store.rename_registered_model("none", "x"),
        lambda: store.get_latest_versions("none"),
        lambda: store.set_registered_model_tag("none", Tag("k", "v")),
        lambda: store.create_model_version("none", "s3://x"),
        lambda: store.get_model_version(model, "1"),
        lambda: store.update_model_version(model, "1", "x"),
        lambda: store.transition_stage(model, "1", "Staging"),
        lambda: store.delete_model_version(model, "1"),
        lambda: store.set_alias(model, "best", "1"),
        lambda: store.set_model_version_tag(model, "1", Tag("k", "v")),
        lambda: store.get_download_uri(model, "1"),
    ):
        with pytest.raises(ResourceNotFound):
            call()


def test_a_version_is_a_number(store, model):
    for number in ["x", "", "1.0", "-1", "9" * 30]:
        with pytest.raises(InvalidParameter, match="arameter 'version'"):
            store.get_model_version(model, number)


def test_renaming_takes_everything_along(store, model):
    version(store, tags=[Tag("t", "1")])
    store.set_alias(model, "best", "1")
    renamed = store.rename_registered_model(model, "new")
    assert renamed.tags == (Tag("k", "v"),)
    assert renamed.aliases == (RegisteredModelAlias("best", "1"),)
    found = store.get_model_version_by_alias("new", "best")
    assert (found.name, found.tags, found.aliases) == ("new", (Tag("t", "1"),), ("best",))
    assert version(store, "new") == "2"
    with pytest.raises(ResourceNotFound):
        store.get_registered_model(model)


def test_deleting_takes_everything_along(store, model):
    version(store, tags=[Tag("t", "1")])
    store.set_alias(model, "best", "1")
    store.delete_registered_model(model)
    assert len(store.search_model_versions()) == 0
    store.create_registered_model(model)
    found = store.get_registered_model(model)
    assert (found.tags, found.aliases, found.latest_versions) == ((), (), ())


def test_aliases_move_and_go_with_their_version(store, model):
    for _ in range(2):
        version(store)
    store.set_alias(model, "best", "1")
    store.set_alias(model, "best", "2")
    store.set_alias(model, "also", "2")
    assert store.get_model_version(model, "1").aliases == ()
    assert store.get_model_version_by_alias(model, "best").aliases == ("also", "best")
    store.delete_alias(model, "also")
    store.delete_alias(model, "also")
    store.delete_model_version(model, "2")
    assert store.get_registered_model(model).aliases == ()
    with pytest.raises(InvalidParameter, match="alias best not found"):
        store.get_model_version_by_alias(model, "best")


def test_latest_is_the_version_with_the_highest_number(store, model):
    with pytest.raises(ResourceNotFound, match="Latest version not found for model a model"):
        store.get_model_version_by_alias(model, "latest")
    with pytest.raises(ResourceNotFound):
        store.get_model_version_by_alias("none", "latest")
    for _ in range(11):
        version(store)
    store.transition_stage(model, "11", "Production")
    assert [store.get_model_version_by_alias(model, alias).version for alias in ("latest", "LATEST")] == ["11", "11"]
    store.delete_model_version(model, "11")
    assert store.get_model_version_by_alias(model, "latest").version == "10"
    made = store.create_model_version(model, f"models:/{model}@latest")
    assert (made.version, store.get_download_uri(model, made.version)) == ("12", "s3://bucket/x")


def test_a_bad_alias_is_refused(store, model):
    for alias in ["", "latest", "LATEST", "v1", "V20", "a b", "a/b", "é", "x" * 256]:
        version(store)
        with pytest.raises(InvalidParameter) as caught:
            store.set_alias(model, alias, "1")
        assert caught.value.field == "alias"


def test_stages_are_taken_in_any_case(store, model):
    for _ in range(3):
        version(store)
    assert store.transition_stage(model, "1", "pRODUCTION").current_stage == "Production"
    store.transition_stage(model, "2", "Production")
    assert {v.version: v.current_stage for v in store.get_latest_versions(model)} == {"2": "Production", "3": "None"}
    store.transition_stage(model, "3", "production", archive_existing=True)
    assert [v.current_stage for v in store.search_model_versions(order_by=["version_number"])] == [
        "Archived",
        "Archived",
        "Production",
    ]
    assert [v.version for v in store.get_latest_versions(model, ["archived"])] == ["2"]
    assert [v.version for v in store.get_registered_model(model).latest_versions] == ["2", "3"]


def test_a_stage_that_does_not_exist_is_refused(store, model):
    version(store)
    for stage, archive in (("Live", False), ("None", True), ("Archived", True)):
        with pytest.raises(InvalidParameter):
            store.transition_stage(model, "1", stage, archive)
    assert store.get_model_version(model, "1").current_stage == "None"


def test_descriptions_are_set_and_cleared(store, model):
    version(store)
    assert store.update_registered_model(model, None).description is None
    assert store.update_model_version(model, "1", "new").description == "new"
    assert store.update_model_version(model, "1", None).description == ""


def test_tags_are_replaced_and_removed(store, model):
    version(store)
    store.set_registered_model_tag(model, Tag("k", "w"))
    store.set_model_version_tag(model, "1", Tag("t", "1"))
    store.set_model_version_tag(model, "1", Tag("t", "2"))
    assert store.get_registered_model(model).tags == (Tag("k", "w"),)
    assert store.get_model_version(model, "1").tags == (Tag("t", "2"),)
    for _ in range(2):
        store.delete_registered_model_tag(model, "k")
        store.delete_model_version_tag(model, "1", "t")
    assert (store.get_registered_model(model).tags, store.get_model_version(model, "1").tags) == ((), ())
    with pytest.raises(InvalidParameter):
        store.set_model_version_tag(model, "1", Tag("t", "x" * 100_001))


def test_models_are_searched(store):
    for name in ("b", "a", "A2"):
        store.create_registered_model(name, [Tag("n", name)])
    store.create_registered_model("prompt", [Tag("mlflow.prompt.is_prompt", "true")])

    def search(filter="", order_by=()):
        return [m.name for m in store.search_registered_models(filter, order_by=order_by)]

    assert search() == ["A2", "a", "b"]
    assert search(order_by=["name DESC"]) == ["b", "a", "A2"]
    assert search("name LIKE 'a%'") == ["a"]
    assert search("name ILIKE 'a%'") == ["A2", "a"]
    assert search("tags.n = 'b'") == ["b"]
    assert search("tag.`mlflow.prompt.is_prompt` = 'true'") == ["prompt"]
    assert sorted(search(order_by=["timestamp DESC"])) == ["A2", "a", "b"]
    with pytest.raises(InvalidParameter):
        search(order_by=["creation_timestamp"])


def test_pages_of_models_and_versions_are_whole(store, model):
    for i in range(5):
        store.create_registered_model(f"m{i}")
        version(store)
    for search, count in ((store.search_registered_models, 6), (store.search_model_versions, 5)):
        found, token = [], None
        while True:
            page = search(max_results=2, page_token=token)
            found += page.items
            token = page.next_page_token
            if not token:
                break
        assert found == list(search().items)
        assert len(found) == count


def test_versions_are_searched(store, experiment):
    run_id = store.create_run(experiment).info.run_id
    for name in ("m", "n"):
        store.create_registered_model(name)
        version(store, name, f"s3://{name}/1", run_id=run_id, tags=[Tag("t", name)])
        version(store, name, f"s3://{name}/2")

    def search(filter, order_by=("name", "version_number")):
        return [(v.name, v.version) for v in store.search_model_versions(filter, order_by=order_by)]

    assert search("name = 'm'") == [("m", "1"), ("m", "2")]
    assert search("name = 'm'", ()) == [("m", "2"), ("m", "1")]
    assert search(f"run_id = '{run_id}'") == [("m", "1"), ("n", "1")]
    assert search(f"run_id IN ('{run_id}', 'x') AND name LIKE 'n'") == [("n", "1")]
    assert search("version_number > 1 AND source_path LIKE 's3://m/%'") == [("m", "2")]
    assert search("name IN ('m', 'x') AND version_number = '1'") == [("m", "1")]
    assert search("name NOT IN ('m') AND version_number > '1'") == [("n", "2")]
    for bad in ("version_number = 'x'", "version_number = '1.5'", "version_number = ''", "version_number IN ('1')"):
        with pytest.raises(InvalidParameter, match="version_number"):
            search(bad)
    assert search("tags.t = 'n'") == [("n", "1")]
    assert search("tags.t IS NULL") == [("m", "2"), ("n", "2")]
    assert search("source_path = 's3://n/2'") == [("n", "2")]
    with pytest.raises(InvalidParameter):
        search("current_stage = 'None'")
    with pytest.raises(InvalidParameter):
        search("run_id IN ()")


def test_models_are_searched_by_a_list_of_names(store):
    for name in "abc":
        store.create_registered_model(name)
    assert [found.name for found in store.search_registered_models("name IN ('a', 'c', 'x')")] == ["a", "c"]
    assert [found.name for found in store.search_registered_models("name NOT IN ('a', 'c')")] == ["b"]
    with pytest.raises(InvalidParameter):
        store.search_registered_models("name IN ()")


def test_a_source_of_this_server_needs_its_owner(store, experiment, model):
    run = store.create_run(experiment).info
    other = store.create_run(experiment).info
    logged = store.create_logged_model(experiment, source_run_id=run.run_id)
    for source in (run.artifact_uri + "/model", f"runs:/{run.run_id}/model"):
        assert store.create_model_version(model, source, run.run_id).run_id == run.run_id
        for wrong in (
            {},
            {"run_id": other.run_id},
            {"run_id": "none"},
            {"run_id": run.run_id, "model_id": logged.model_id},
        ):
            with pytest.raises(
                InvalidParameter, match="request parameter must identify the resource that contains the"
            ):
                store.create_model_version(model, source, **wrong)
    for source in (logged.artifact_uri, f"models:/{logged.model_id}"):
        for run_id in ("", run.run_id):
            assert store.create_model_version(model, source, run_id, model_id=logged.model_id).run_id == run.run_id
        for wrong in ({}, {"run_id": run.run_id}, {"model_id": "m-" + "0" * 32}):
            with pytest.raises(
                InvalidParameter, match="request parameter must identify the resource that contains the"
            ):
                store.create_model_version(model, source, **wrong)
    for source in (
        "/etc/passwd",
        "file:///etc/passwd",
        "etc",
        f"http://host:5000/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run.run_id}/artifacts/model",
        f"mlflow-artifacts://host/{experiment}/{run.run_id}/artifacts/model",
        "https://host/model",
        "ftp://host/model",
        "abfss://container@host/model",
        f"runs://host/{run.run_id}/model",
        "s3://bucket/./x",
        run.artifact_uri + "/../x",
        run.artifact_uri + "/%2e%2e/x",
        "s3://bucket/../other/x",
        "s3://bucket/%2e%2e/x",
        "",
    ):
        with pytest.raises(InvalidParameter, match="source"):
            store.create_model_version(model, source, run.run_id)
    assert version(store) == "7"


def test_a_local_source_lies_in_the_artifacts_of_its_run(store, tmp_path):
    store.create_registered_model("m")
    folder = tmp_path / "with space"
    for location in (str(folder), folder.as_uri()):
        run = store.create_run(store.create_experiment(location, location)).info
        inside = folder / run.run_id / "artifacts" / "model"
        for source in (str(inside), inside.as_uri(), f"file:{inside.as_uri().removeprefix('file://')}"):
            assert store.create_model_version("m", source, run.run_id).source == source
        for source in (str(folder / "other"), (folder / "other").as_uri(), f"{inside}/../../x"):
            with pytest.raises(InvalidParameter, match="Invalid model version source"):
                store.create_model_version("m", source, run.run_id)
    with pytest.raises(InvalidParameter, match="To use a local path as a model version source, the run_id request"):
        store.create_model_version("m", "/etc")


def test_a_prompt_is_a_model_without_files(store):
    prompt = Tag("mlflow.prompt.is_prompt", "true")
    store.create_registered_model("greeting", [prompt])
    made = store.create_model_version("greeting", "dummy-source", tags=[prompt, Tag("mlflow.prompt.text", "Hi {{x}}")])
    assert store.get_model_version("greeting", "1") == made
    assert Tag("mlflow.prompt.text", "Hi {{x}}") in made.tags
    # The tag opens nothing else, and without it the word is a path like any other.
    for source, tags in (
        ("/etc/passwd", [prompt]),
        ("etc", [prompt]),
        ("dummy-source", ()),
        ("dummy-source", [Tag(prompt.key, "")]),
    ):
        with pytest.raises(InvalidParameter, match="source"):
            store.create_model_version("greeting", source, tags=tags)


def test_a_version_can_be_made_from_another(store, experiment, model):
    run_id = store.create_run(experiment).info.run_id
    first = version(store, source="s3://b/x", run_id=run_id)
    store.set_alias(model, "best", first)
    for source in (f"models:/{model}/1", f"models:/{model}@best"):
        made = store.create_model_version(model, source)
        assert (made.source, made.run_id) == (f"models:/{model}/1", run_id)
    with pytest.raises(InvalidParameter, match="must match the referenced model version"):
        store.create_model_version(model, f"models:/{model}/1", "another")
    for made in store.search_model_versions(f"name = '{model}'"):
        assert store.get_download_uri(model, made.version) == "s3://b/x"
    with pytest.raises(ResourceNotFound):
        version(store, source=f"models:/{model}/99")
    with pytest.raises(InvalidParameter):
        version(store, source="models:/nothing")
    assert len(store.search_model_versions()) == 3
