"""Scalar bodies: traced from Python, formulas, compiled to NumPy, tables of operations and prices."""
