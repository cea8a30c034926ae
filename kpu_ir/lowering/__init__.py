"""One level in, the next one out."""
