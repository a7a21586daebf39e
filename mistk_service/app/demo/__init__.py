"""The demonstrations: a model driven through its whole life as an orchestrator would, and a game between agents."""

from mistk_service.app.demo.game import run_game_demo
from mistk_service.app.demo.tour import run_demo

__all__ = ["run_demo", "run_game_demo"]
