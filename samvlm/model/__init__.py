"""The model as a transformers model folder: configuration, tower, connector, VLM and processor."""
