"""Forwarding: what is written to the local store is sent on to remotes, whenever they can be reached."""

from mistk_service.tracking.replication.backoff import Backoff
from mistk_service.tracking.replication.forwarders import Forwarders
from mistk_service.tracking.replication.remote import Remote, RemoteConfig, remote_name
from mistk_service.tracking.replication.remotes import open_remote
from mistk_service.tracking.replication.state import RemoteState

__all__ = ["Backoff", "Forwarders", "Remote", "RemoteConfig", "RemoteState", "open_remote", "remote_name"]
