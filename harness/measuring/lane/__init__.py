"""The CUDA lane: what one training step costs, and which changes make it cheaper and keep the loss.

Cases are measured one per call (`harness lane measure CASE… --out DIR`), so that a borrowed
machine can be given back between them. Measuring world: runs inside a stack's environment.
"""
