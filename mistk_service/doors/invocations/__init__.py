"""The scoring protocols of MLflow and SageMaker, which share their paths."""
