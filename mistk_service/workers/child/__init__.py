"""The worker's side: loads the model and calls its hooks. Nothing else is loaded there."""
