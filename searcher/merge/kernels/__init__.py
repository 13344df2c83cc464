"""Backends that execute a TensorPlan: torch, compiled CPU code, Triton."""
