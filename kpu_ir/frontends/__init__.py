"""Models in, ``kernel`` out."""
