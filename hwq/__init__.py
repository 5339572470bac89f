"""hwq: extremely low-bit neural networks on FPGAs and ASICs, exact from training to C++."""

__version__ = "0.1.0"
