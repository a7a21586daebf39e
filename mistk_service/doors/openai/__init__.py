"""OpenAI's API for text: chat completions, completions and models."""
