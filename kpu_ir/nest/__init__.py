"""Kernels as nests of tiles in plain data, which IR is a text of.

``records`` is a function at the ``tile`` or the ``dma`` level; ``writing`` is how a tiling strategy
writes one, ``ir`` reads and writes its IR. Below ``lowering``, which writes nests, and ``sim``, which
runs them.
"""
