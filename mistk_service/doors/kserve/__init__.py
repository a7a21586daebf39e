"""Version 1 of KServe's protocol, which Vertex AI's containers speak at paths of their own."""
