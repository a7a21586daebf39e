"""Replication: what is written to the local store is copied to remotes whenever they are available."""

from mistk_service.tracking.replication.backoff import Backoff
from mistk_service.tracking.replication.remote import Remote, RemoteConfig, open_remote, remote_name
from mistk_service.tracking.replication.remote_state import RemoteState
from mistk_service.tracking.replication.service import ReplicationService

__all__ = ["Backoff", "Remote", "RemoteConfig", "RemoteState", "ReplicationService", "open_remote", "remote_name"]
