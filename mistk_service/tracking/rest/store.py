"""The store behind MLflow's REST API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from mistk_service.tracking.artifacts import ArtifactRepository, open_artifacts
from mistk_service.tracking.errors import NotSupported, StoreUnavailable, UnsupportedStore
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.rest.artifacts import PackageArtifacts, ProxiedArtifacts, proxied_folder
from mistk_service.tracking.rest.config import RestConfig
from mistk_service.tracking.rest.experiments import RestExperiments
from mistk_service.tracking.rest.models import RestLoggedModels, RestRegistry
from mistk_service.tracking.rest.runs import RestRuns
from mistk_service.tracking.rest.transport import Transport
from mistk_service.tracking.rest.urls import is_http, without_userinfo
from mistk_service.tracking.values import LoggedModel, Run

_PROXY = re.compile(r"(?P<listing>https?://.+/mlflow-artifacts/artifacts)(?:/(?P<folder>.*))?$")


class RestStore(RestRuns, RestExperiments, RestRegistry, RestLoggedModels, Remote):
    """A store on a tracking server that speaks MLflow's REST API.

    The contract is that of :class:`~mistk_service.tracking.remotes.Remote`, with the errors of a network: any call may raise
    ``StoreUnavailable``; :class:`~mistk_service.tracking.errors.AnswerLost` if it is unknown whether the server applied it;
    ``Unauthenticated`` and ``PermissionDenied``; and ``NotSupported``. Nothing is retried: the caller decides that.

    If a server lacks a part of MLflow's API, a substitute is used where there is one (see ``capabilities``), and logged once.

    Args:
        transport: sends the requests; the store owns and closes it.
    """

    @property
    def uri(self) -> str:
        """The server's address, without a username and password."""
        return self._http.server

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    @contextmanager
    def non_blocking(self) -> Iterator[None]:
        """Raise ``StoreUnavailable``: every read waits for the network."""
        raise StoreUnavailable(f"Reading from {self.uri} always waits for the network.")
        yield

    def check(self) -> None:
        """Return if the server can be read now and accepts the credentials.

        Raises:
            StoreUnavailable: it cannot, or there is no tracking server at the address.
            Unauthenticated: it does not accept the credentials.
            PermissionDenied: the user may not read.
        """
        try:
            self._http.post("experiments/search", {"max_results": 1})
        except NotSupported:
            # GitLab's first versions list experiments and cannot search them.
            self._http.get("experiments/list", {})

    def close(self) -> None:
        """Finish submitted writes, and close the connections. Closing twice is allowed."""
        with self._lock:
            self._closed, sender = True, self._sender
        if sender is not None:
            sender.shutdown(wait=True)
        self._http.close()

    def run_artifacts(self, run: Run) -> ArtifactRepository:
        return self._artifacts(run.info.artifact_uri, f"run {run.info.run_id!r}")

    def model_artifacts(self, model: LoggedModel) -> ArtifactRepository:
        return self._artifacts(model.artifact_uri, f"logged model {model.model_id!r}")

    def _artifacts(self, uri: str, owner: str) -> ArtifactRepository:
        if uri.startswith("mlflow-artifacts:"):
            host, folder = proxied_folder(uri)
            listing = self._http.addresses.proxied()
            if host is not None:
                listing = f"{self._http.scheme}://{host}/api/{self._http.config.api_version}/mlflow-artifacts/artifacts"
            return ProxiedArtifacts(self._http, listing, folder, uri, self._http.config.part_size)
        if is_http(uri):
            found = _PROXY.fullmatch(uri)
            if found:
                folder = found["folder"] or ""
                return ProxiedArtifacts(self._http, found["listing"], folder, uri, self._http.config.part_size)
            return PackageArtifacts(self._http, uri, uri)
        if not uri:
            raise UnsupportedStore(f"{self.uri} does not return the location of the artifacts of the {owner}.")
        return open_artifacts(uri)


def open_rest_store(remote: str | RestConfig, *, transport: httpx.BaseTransport | None = None) -> RestStore:
    """Return the store on a tracking server. Nothing is sent yet.

    Args:
        remote: ``http://HOST`` or ``https://HOST``, with a path where there is one, with or without ``/api`` at the end, for
            which the environment has the credentials (:meth:`RestConfig.at`); or the whole configuration.
        transport: instead of the network, for tests.

    Raises:
        UnsupportedStore: the URI is of another kind.
        InvalidParameter: the configuration cannot be used; the message says why and repeats no secret.
    """
    if isinstance(remote, str):
        if not is_http(remote):
            raise UnsupportedStore(
                f"{without_userinfo(remote)!r} is not the address of a tracking server; expected http:// or https://."
            )
        remote = RestConfig.at(remote)
    return RestStore(Transport(remote, transport))
