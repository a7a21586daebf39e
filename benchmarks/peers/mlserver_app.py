"""MLServer with its defaults: one process for inference. ``mlserver_app.py PORT MODEL GRPC_PORT``."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

#: Bytes of the largest message.
_LARGEST = 1 << 30

if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    settings = {"host": "127.0.0.1", "http_port": int(sys.argv[1]), "grpc_port": int(sys.argv[3]), "debug": False}
    settings |= {"metrics_endpoint": None, "grpc_max_message_length": _LARGEST}
    model = {"name": sys.argv[2], "implementation": "benchmarks.peers.mlserver_runtime.Runtime"}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    program = Path(sys.executable).parent / "mlserver"
    os.execv(program, ["mlserver", "start", str(folder)])  # noqa: S606 - there is nothing for a shell to do
