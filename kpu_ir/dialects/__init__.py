"""The three levels: operations, types, verifiers, assembly, references."""
