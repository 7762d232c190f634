"""A CoreML program read and run without Apple's software: bytes, instructions, weights, numpy.

Shares nothing with the converter whose work it checks: neither coremltools nor executorch nor torch is imported here.
"""
