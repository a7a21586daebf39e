"""Version 1 of KServe's protocol, which Vertex AI's containers use at other paths."""
