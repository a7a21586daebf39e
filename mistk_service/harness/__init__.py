"""``mistk-service run``: drives containers through the steps of a pipeline, as MISTK's test harness does."""
