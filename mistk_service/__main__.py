"""``python -m mistk_service``."""

from mistk_service.app.cli import run_as_module

run_as_module()
