"""The demonstrations: containers that are driven as an orchestrator would, and a game between agents."""

from mistk_service.app.demo.evaluation import run_evaluation_demo
from mistk_service.app.demo.game import run_game_demo
from mistk_service.app.demo.tour import run_demo

__all__ = ["run_demo", "run_evaluation_demo", "run_game_demo"]
