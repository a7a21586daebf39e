"""Workers: where a model runs, isolated from the service.

``protocol`` is the interface and ``messages`` the format between the two sides. ``host`` is the service's side, ``child`` the
worker's. This package imports nothing, so that neither side loads the other.
"""
