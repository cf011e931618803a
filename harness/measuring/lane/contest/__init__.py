"""Sides of a training step, each in a process of its own, stepping in turn on one device.

All processes are resident while one steps, so that every pair of sides is interleaved as closely
as in one process, nobody's memory stands in another's peak, and a peer's patches reach no one.
"""
