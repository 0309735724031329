"""Looks at files with a real QGIS; run by the Python that has its library, without a screen.

``python3 tests/in_qgis.py GEOPACKAGE TIF QML QLR`` prints as JSON what QGIS makes of them.
"""

import json
import sys

from qgis.core import (
    QgsApplication,
    QgsCoordinateTransform,
    QgsLayerDefinition,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QEventLoop, QSize


def colours_of(image: object) -> int:
    """Return how many colours a picture has."""
    return len({image.pixel(x, y) for x in range(0, image.width(), 4) for y in range(0, image.height(), 4)})


def rendered_colours(layer: object, extent_of: object) -> int:
    """Return how many colours a layer has when it is drawn."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    onto = QgsCoordinateTransform(extent_of.crs(), layer.crs(), QgsProject.instance())
    settings.setExtent(onto.transformBoundingBox(extent_of.extent()))
    settings.setOutputSize(QSize(320, 200))
    job = QgsMapRendererParallelJob(settings)
    loop = QEventLoop()  # by which tiles arrive
    job.finished.connect(loop.quit)
    job.start()
    loop.exec_()
    return colours_of(job.renderedImage())


def main(geopackage: str, tif: str, qml: str, qlr: str) -> None:
    """Open the files."""
    outlines = QgsVectorLayer(geopackage, "outlines", "ogr")
    raster = QgsRasterLayer(tif, "classes")
    loaded = raster.loadNamedStyle(qml)[1]
    done, fault = QgsLayerDefinition.loadLayerDefinition(
        qlr, QgsProject.instance(), QgsProject.instance().layerTreeRoot()
    )
    tiles = QgsProject.instance().mapLayers().values()
    found = {
        "outlines": {item.value(): item.symbol().color().name() for item in outlines.renderer().categories()},
        "classes": {item.label: item.color.name() for item in raster.renderer().classes()} if loaded else {},
        "fault": fault if not done else "",
        "tiles": {layer.name(): [layer.isValid(), rendered_colours(layer, raster)] for layer in tiles},
        "names": [node.name() for node in QgsProject.instance().layerTreeRoot().findLayers()],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    app = QgsApplication([], False)
    app.initQgis()
    main(*sys.argv[1:])
    app.exitQgis()
