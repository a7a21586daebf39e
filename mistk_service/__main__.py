"""``python -m mistk_service``."""

from mistk_service.cli import run_as_module

run_as_module()
