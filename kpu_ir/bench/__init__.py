"""Benchmarks: what the machine reaches on canonical workloads, and what the tools cost."""
