"""Operators of com.microsoft, which onnxruntime's optimiser writes."""
