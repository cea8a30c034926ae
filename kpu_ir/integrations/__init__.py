"""Other people's worlds: torch, the ONNX backend interface, onnxruntime, xDSL's universe."""
