"""Authentication and authorization: the sender of a request, and the role that an operation needs."""

from mistk_service.web.access.audit import Audit, write_audit
from mistk_service.web.access.authentication import Authentication, Authenticator
from mistk_service.web.access.options import open_access
from mistk_service.web.access.passwords import VerifiedPasswords, hash_password, verify_password
from mistk_service.web.access.request_log import AccessLog, Answered, log_request
from mistk_service.web.access.roles import PRINCIPAL, AccessRole, Principal, principal_of, role_for, rule_for
from mistk_service.web.access.tokens import TokenFile, add_token

__all__ = [
    "PRINCIPAL",
    "AccessLog",
    "AccessRole",
    "Answered",
    "Audit",
    "Authentication",
    "Authenticator",
    "Principal",
    "TokenFile",
    "VerifiedPasswords",
    "add_token",
    "hash_password",
    "log_request",
    "open_access",
    "principal_of",
    "role_for",
    "rule_for",
    "verify_password",
    "write_audit",
]
