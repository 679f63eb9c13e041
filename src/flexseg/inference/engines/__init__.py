"""What computes a network: Keras, ONNX Runtime, OpenVINO."""
