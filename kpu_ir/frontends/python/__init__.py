"""Networks built in Python: a graph, and the layers that it offers."""
