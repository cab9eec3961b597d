"""What may be wrong with a cube: gaps, ranges, units, stuck and repeated values, breaks, old versions."""

from vadose.cube.doctor.findings import Diagnosis, Finding, examine
from vadose.cube.doctor.output import as_text, plot_diagnosis, write_diagnosis

__all__ = ["Diagnosis", "Finding", "as_text", "examine", "plot_diagnosis", "write_diagnosis"]
