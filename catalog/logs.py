"""How our long-running processes log."""

import logging

# A line for each request; GDAL's harmless remarks as if they were errors; each rewriting of an exported graph.
_TALKATIVE = ("httpx", "rasterio", "alembic", "mlflow", "onnxscript", "onnx_ir")


def configure_logging() -> None:
    """Log to standard error, one line an event, with the chatter of libraries left out."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
