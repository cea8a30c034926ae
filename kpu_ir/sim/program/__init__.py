"""A ``dma`` module read once: plans of its functions, buffers and calls."""
