"""The demonstration: a container with the digits model, driven through its whole life as an orchestrator would."""

from mistk_service.app.demo.tour import run_demo

__all__ = ["run_demo"]
