"""Gradients of a network's outputs in its parameters, and their inner products; what ``EmpiricalNTK`` stands on."""
