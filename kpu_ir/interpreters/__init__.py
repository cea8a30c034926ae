"""What operations of ``kernel`` and ``tile`` mean, in NumPy: xDSL interpreter functions.

``kernel.evaluate`` and ``tile.evaluate_tile`` run a module; ``kernel.register`` and ``tile.register``
teach any xDSL interpreter our operations, as ``kpu-interpret`` does. Imports ``dialects``, ``scalar``
and ``support``.
"""
