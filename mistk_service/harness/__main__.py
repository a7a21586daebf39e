"""``python -m mistk_service.harness``."""

from mistk_service.harness.cli import run

run(prog_name="mistk_service.harness")
