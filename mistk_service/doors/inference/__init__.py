"""The Open Inference Protocol, version 2, over REST: predictions for named tensors."""
