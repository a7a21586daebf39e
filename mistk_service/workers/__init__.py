"""Workers: where a model runs, apart from the service.

``messages`` is the protocol between the two sides; ``parent`` is the service's side, ``child`` with ``runner``, ``context``,
``batching`` and ``values`` the worker's. The package's face is left empty so that neither side loads the other.
"""
