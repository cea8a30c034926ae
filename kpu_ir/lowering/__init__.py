"""One altitude in, the next one out."""
