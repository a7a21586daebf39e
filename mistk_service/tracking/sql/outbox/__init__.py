"""The outbox: changes that remotes have yet to receive, and the state of each remote."""
