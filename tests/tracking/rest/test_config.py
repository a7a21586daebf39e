"""The configuration of a remote, by arguments and by the environment."""

import logging
import traceback

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mistk_service.tracking import open_store
from mistk_service.tracking.errors import InvalidParameter, StoreError, StoreUnavailable, UnsupportedStore
from mistk_service.tracking.rest import RestConfig, RestStore, open_rest_store, sharing_identity
from mistk_service.tracking.rest.urls import Addresses
from tests.support.serving import served

SECRET = st.text("abcdefghijkXYZ0189-_=+", min_size=8, max_size=30)


def test_the_environment_is_read_by_the_names_that_mlflow_users_know():
    config = RestConfig.from_environment(
        environment={
            "MLFLOW_TRACKING_URI": "https://host:8443/mlflow/",
            "MLFLOW_TRACKING_USERNAME": "ann",
            "MLFLOW_TRACKING_PASSWORD": "pass",
            "MLFLOW_TRACKING_TOKEN": "token",
            "MLFLOW_TRACKING_TOKEN_FILE": "file",
            "MLFLOW_TRACKING_INSECURE_TLS": "TRUE",
            "MLFLOW_TRACKING_CLIENT_CERT_PATH": "client.pem",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "7.5",
        }
    )
    assert config == RestConfig(
        "https://host:8443/mlflow/",
        username="ann",
        password="pass",
        token="token",
        token_file="file",
        insecure_tls=True,
        client_cert="client.pem",
        timeout=7.5,
    )
    with_ca = RestConfig.from_environment("https://h", environment={"MLFLOW_TRACKING_SERVER_CERT_PATH": "ca.pem"})
    assert with_ca.ca_cert == "ca.pem"


def test_a_variable_that_overrides_an_argument_is_warned_of(caplog):
    environment = {"MLFLOW_TRACKING_URI": "https://other", "MLFLOW_TRACKING_PASSWORD": "from the environment"}
    config = RestConfig.from_environment("https://host", username="ann", password="mine", environment=environment)
    assert (config.uri, config.password) == ("https://other", "from the environment")
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "'password'" in caplog.text
    assert "MLFLOW_TRACKING_URI" in caplog.text
    assert "mine" not in caplog.text
    assert "from the environment" not in caplog.text


def test_a_variable_that_says_the_same_as_the_argument_is_no_news(caplog):
    RestConfig.from_environment("https://host", environment={"MLFLOW_TRACKING_URI": "https://host"})
    assert caplog.text == ""


def test_an_address_that_is_asked_for_by_name_is_not_overridden():
    environment = {"MLFLOW_TRACKING_URI": "https://other", "MLFLOW_TRACKING_TOKEN": "token"}
    config = RestConfig.at("https://host", environment)
    assert (config.uri, config.token) == ("https://host", "token")


def test_what_identifies_oneself_to_somebody_else_is_not_sent_to_an_address_with_its_own_username():
    environment = {
        "MLFLOW_TRACKING_TOKEN": "token",
        "MLFLOW_TRACKING_PASSWORD": "other",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    }
    config = RestConfig.at("https://ann:p%40ss@host", environment)
    assert (config.uri, config.username, config.password, config.token) == ("https://host", "ann", "p@ss", None)
    assert config.timeout == 5


@pytest.mark.parametrize(
    "identity", [{"username": "ann", "password": "pass"}, {"token": "token"}, {"token_file": "file"}]
)
def test_an_authorization_header_beside_another_identity_is_refused(identity):
    with pytest.raises(InvalidParameter, match="Authorization header") as caught:
        RestConfig("https://host", headers={"authorization": "Bearer x"}, **identity)
    assert caught.value.field == "headers"


@pytest.mark.parametrize("identity", [{"username": "ann"}, {"password": "pass"}])
def test_half_of_a_username_and_password_is_refused(identity):
    with pytest.raises(InvalidParameter, match="give both"):
        RestConfig("https://host", **identity)


@pytest.mark.parametrize(
    "wrong",
    [
        {"insecure_tls": True, "ca_cert": "ca.pem"},
        {"headers": {"X-Key": "secret-value\r\nX-Other: 1"}},
        {"headers": {"X Key": "secret-value"}},
        {"token": "secret-value\n"},
        {"token": "secret-välue"},
        {"api_version": "../.."},
        {"timeout": 0},
        {"timeout": float("nan")},
    ],
)
def test_a_setting_of_the_wrong_form_is_refused_without_repeating_it(wrong):
    with pytest.raises(InvalidParameter) as caught:
        RestConfig("https://host", **wrong)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    ["", "host:5000", "ftp://secret@host", "https://", "https://host:port/", "https://host:99999", "https://[secret",
     "https://h/?k=secret", "https://h/#secret", "https://ho st", "https://h/\nx", "file:///secret", "databricks"],
)  # fmt: skip
def test_what_is_not_an_address_of_a_server_is_refused_without_repeating_it(uri):
    with pytest.raises(InvalidParameter) as caught:
        RestConfig(uri)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("word", ["perhaps", "2"])
def test_a_switch_is_true_or_false(word):
    with pytest.raises(InvalidParameter, match="MLFLOW_TRACKING_INSECURE_TLS"):
        RestConfig.at("https://host", {"MLFLOW_TRACKING_INSECURE_TLS": word})
    with pytest.raises(InvalidParameter, match="MLFLOW_HTTP_REQUEST_TIMEOUT"):
        RestConfig.at("https://host", {"MLFLOW_HTTP_REQUEST_TIMEOUT": "soon"})


def test_without_an_address_nothing_is_opened():
    with pytest.raises(InvalidParameter, match="MLFLOW_TRACKING_URI"):
        RestConfig.from_environment(environment={})
    with pytest.raises(UnsupportedStore):
        open_rest_store("sqlite:///x.db")


@pytest.mark.parametrize(
    "uri",
    ["https://host/p", "https://host/p/", "https://host/p/api", "https://host/p/api/", "https://host/p/api/2.0/mlflow",
     "https://host/p/ajax-api/2.0/mlflow/", "https://host/p/api/2.0"],
)  # fmt: skip
def test_every_spelling_of_an_address_means_the_same(uri):
    addresses = Addresses(uri, "2.0")
    assert addresses.api("runs/get") == "https://host/p/api/2.0/mlflow/runs/get"
    assert addresses.proxied() == "https://host/p/api/2.0/mlflow-artifacts/artifacts"


def test_a_project_of_gitlab_keeps_its_own_api_path():
    addresses = Addresses("https://host/api/v4/projects/group%2Fname/ml/mlflow", "2.0")
    assert addresses.api("x") == "https://host/api/v4/projects/group%2Fname/ml/mlflow/api/2.0/mlflow/x"


def test_open_store_opens_a_server(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    with open_store("HTTPS://host/api") as store:
        assert isinstance(store, RestStore)
        assert store.uri == "https://host/api"


def test_no_secret_is_in_the_log_of_anybody(caplog):
    """Over a real connection, with what the HTTP libraries themselves say."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 429, "headers": [(b"retry-after", b"1")]})
        await send({"type": "http.response.body", "body": b"slow down"})

    caplog.set_level(logging.DEBUG)
    with served(app, lifespan="off") as url:
        secret = url.replace("://", "://ann:the-password@")
        for config in (
            RestConfig(secret, headers={"Private-Token": "the-token"}),
            RestConfig(url, token="the-token"),
            RestConfig(url, headers={"Authorization": "Bearer the-token"}),
        ):
            with open_rest_store(config) as store, pytest.raises(StoreUnavailable, match="429: slow down"):
                store.get_run("r")
    assert "runs/get" in caplog.text
    assert "the-" not in caplog.text
    assert "YW5u" not in caplog.text


@settings(deadline=None, max_examples=50)
@given(password=SECRET, token=SECRET, header=SECRET, kind=st.sampled_from(["basic", "token", "header", "userinfo"]))
def test_no_secret_is_ever_seen(password, token, header, kind):
    uri, settings = "https://host/x", {}
    if kind == "basic":
        settings = {"username": f"u{token}", "password": password}
    elif kind == "userinfo":
        uri = f"https://u{token}:{password}@host/x"
    elif kind == "token":
        settings = {"token": token, "headers": {"Private-Token": header}}
    else:
        settings = {"headers": {"Authorization": f"Bearer {header}"}}
    config = RestConfig(uri, **settings)

    def echo(request):
        # A server that repeats everything it is told.
        said = " ".join([*request.headers.values(), str(request.url)])
        if request.url.path.endswith("runs/get"):
            raise httpx.ReadError(f"broken {said}", request=request)
        return httpx.Response(401, json={"message": said})

    with open_rest_store(config, transport=httpx.MockTransport(echo)) as store:
        texts = [repr(config), str(config), repr(store), store.uri]
        for call in (store.check, lambda: store.get_run("x"), lambda: store.log_batch("x")):
            with pytest.raises(StoreError) as caught:
                call()
            texts += [repr(caught.value), *traceback.format_exception(caught.value)]
    for text in texts:
        for secret in (password, token, header):
            assert secret not in text


@pytest.mark.parametrize(
    "uri", ["https://ann:pass/secret@host", "https://ann:12/secret@host", "https://ann:secret#@host"]
)
def test_a_password_that_is_not_escaped_is_neither_taken_for_a_host_nor_repeated(uri: str):
    with pytest.raises(InvalidParameter) as refused:
        RestConfig(uri)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("userinfo", "expected"),
    [
        ("ann:p%40ss", ("ann", "p@ss", None)),
        (":t%2Fken", (None, None, "t/ken")),
        ("", (None, None, None)),
        (":", (None, None, None)),
    ],
)
def test_an_address_says_who_is_asking_and_nobody_else_is_asked_for(userinfo, expected):
    uri, environment = (
        f"https://{userinfo}@host",
        {"MLFLOW_TRACKING_TOKEN": "theirs", "MLFLOW_TRACKING_TOKEN_FILE": "f"},
    )
    for config in (RestConfig.at(uri, environment), RestConfig(uri, token="theirs", token_file="f")):
        assert (config.username, config.password, config.token) == expected
        assert (config.uri, config.token_file) == ("https://host", None)


@pytest.mark.parametrize(
    ("uris", "sharing"),
    [
        (["https://a", "https://b:1/x"], ["https://a", "https://b:1/x"]),
        (["https://a", "http://a"], ["https://a", "http://a"]),
        (["https://a/x", "https://A:443/y"], []),
        (["https://a", "https://:t@b", "https://ann:p@c", "https://@d"], []),
        (["https://a"], []),
    ],
)
@pytest.mark.parametrize(
    "variable", ["MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_TOKEN_FILE", "MLFLOW_TRACKING_USERNAME"]
)
def test_one_login_is_meant_for_one_server(uris, sharing, variable):
    assert sharing_identity(uris, {variable: "secret"}) == tuple(sharing)
    assert sharing_identity(uris, {variable: "", "MLFLOW_TRACKING_URI": "https://a"}) == ()
