"""The three altitudes: operations, types, verifiers, assembly, references."""
