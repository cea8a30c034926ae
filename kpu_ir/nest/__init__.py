"""Nests of tiles as plain data, which IR is a text of.

``values`` are what a nest is about: indices, tensors, tiles, rings. ``interface`` is how a nest is
written at the ``tile`` level, once, for two back ends: IR (``tile_ir``) and the records of the
``dma`` level (``lowering/staging``). ``records`` is a ``dma`` function, ``dma_ir`` its IR. Below
``lowering``, which writes nests, and ``sim``, which runs them.
"""
