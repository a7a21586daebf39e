"""Replication: what is written to the local store is copied to remotes whenever they are available."""

from mistk_service.tracking.replication.backoff import Backoff
from mistk_service.tracking.replication.remote import open_remote, remote_name
from mistk_service.tracking.replication.remote_states import RemoteState
from mistk_service.tracking.replication.service import ReplicationService

__all__ = ["Backoff", "RemoteState", "ReplicationService", "open_remote", "remote_name"]
