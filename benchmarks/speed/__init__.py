"""Every long step, timed as it is called and beside its rivals: ``python -m benchmarks.speed``."""
