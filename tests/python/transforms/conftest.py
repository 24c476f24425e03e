"""The tests of transforms build their graphs from small ONNX models, like those of the importer."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "importers"))
