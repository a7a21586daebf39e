"""HTTP building blocks for the container and the tracking server: compiled contracts, the gate, sockets.

Imports neither of them.
"""
