"""The methods of the Open Inference Protocol over gRPC, and the roles that may call them.

It does not need the package of gRPC.
"""

from __future__ import annotations

from mistk_service.web.access import AccessRole

#: The role that a client needs for each method.
ROLES = {
    "ServerLive": AccessRole.VIEWER,
    "ServerReady": AccessRole.VIEWER,
    "ModelReady": AccessRole.VIEWER,
    "ServerMetadata": AccessRole.VIEWER,
    "ModelMetadata": AccessRole.VIEWER,
    "ModelInfer": AccessRole.PREDICTOR,
}
