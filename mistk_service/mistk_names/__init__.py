"""The names of MISTK's Python package, for models that were written for it.

If MISTK itself is not installed, ``import mistk...`` in a worker gives the modules of this folder. A module that is added here
is importable by the same name there.
"""

import logging

logger = logging.getLogger("mistk")
