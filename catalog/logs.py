"""Logging of the long-running processes."""

import logging

# They log each request, harmless GDAL warnings as errors, and each rewriting step of an exported graph.
_VERBOSE_LIBRARIES = ("httpx", "rasterio", "alembic", "mlflow", "onnxscript", "onnx_ir")


def configure_logging() -> None:
    """Log to standard error, one line per event, and only warnings of verbose libraries."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in _VERBOSE_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
