"""The vLLM engine: a vLLM server that loam starts and watches over, or one that runs already, with adapters on it."""
