"""What operations of ``kernel`` and ``tile`` mean: the NumPy references."""
