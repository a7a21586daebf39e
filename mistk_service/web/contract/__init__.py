"""Serving a contract: operations compiled once, with Connexion as the judge behind them."""
