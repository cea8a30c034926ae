"""One level in, the same level out."""
