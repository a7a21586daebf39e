"""Tic-tac-toe between two agents that learn it by playing: an example of agents and an orchestrator."""

from .agent import QLearner
from .orchestrator import TicTacToe

__all__ = ["QLearner", "TicTacToe"]
