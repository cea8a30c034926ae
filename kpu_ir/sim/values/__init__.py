"""The interpretation for values."""
