"""Source models: safetensors folders and LoRA adapters, their layout on one line, and checks."""
