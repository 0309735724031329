"""What a real QGIS does with files; run by the Python that has its library, without a screen (`tests/real_qgis.py`).

``show GEOPACKAGE TIF QML QLR`` tells styles and layers, ``read TIF`` the numbers that plugins get, ``edit GEOPACKAGE``
edits outlines and saves them. Each prints JSON.
"""

import json
import struct
import sys

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsLayerDefinition,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
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


def show(geopackage: str, tif: str, qml: str, qlr: str) -> object:
    """Open the files."""
    outlines = QgsVectorLayer(geopackage, "outlines", "ogr")
    raster = QgsRasterLayer(tif, "classes")
    loaded = raster.loadNamedStyle(qml)[1]
    done, fault = QgsLayerDefinition.loadLayerDefinition(
        qlr, QgsProject.instance(), QgsProject.instance().layerTreeRoot()
    )
    tiles = QgsProject.instance().mapLayers().values()
    return {
        "outlines": {item.value(): item.symbol().color().name() for item in outlines.renderer().categories()},
        "classes": {item.label: item.color.name() for item in raster.renderer().classes()} if loaded else {},
        "fault": fault if not done else "",
        "tiles": {layer.name(): [layer.isValid(), rendered_colours(layer, raster)] for layer in tiles},
        "names": [node.name() for node in QgsProject.instance().layerTreeRoot().findLayers()],
    }


def read(tif: str) -> object:
    """Read each band of a file, and three columns beyond its edge, as Deepness does."""
    layer = QgsRasterLayer(tif, "scene")
    provider, inside = layer.dataProvider(), layer.extent()
    provider.enableProviderResampling(True)
    provider.setZoomedInResamplingMethod(provider.ResamplingMethod.Bilinear)
    width, height = layer.width() + 3, layer.height()
    beyond = QgsRectangle(
        inside.xMinimum(), inside.yMinimum(), inside.xMaximum() + 3 * layer.rasterUnitsPerPixelX(), inside.yMaximum()
    )
    formats = {Qgis.DataType.Byte: "B", Qgis.DataType.UInt16: "H", Qgis.DataType.Float32: "f"}
    numbers = []
    for band in range(1, layer.bandCount() + 1):
        block = provider.block(band, beyond, width, height)
        code = formats[Qgis.DataType(block.dataType())]
        numbers.append(list(struct.unpack(f"{width * height}{code}", bytes(block.data()))))
    return {"numbers": numbers, "shape": [layer.bandCount(), height, width]}


def edit(geopackage: str) -> object:
    """Edit a layer of outlines as a person would, and add a layer ``judged`` to its file.

    The first outline is deleted, a triangle of debris-covered ice is drawn, and what is now in the file told.
    """
    layer = QgsVectorLayer(geopackage, "outlines", "ogr")
    layer.startEditing()
    first = next(layer.getFeatures())
    box = first.geometry().boundingBox()
    layer.deleteFeature(first.id())
    drawn = QgsFeature(layer.fields())
    corners = [(box.xMinimum(), box.yMinimum()), (box.xMaximum(), box.yMinimum()), (box.xMaximum(), box.yMaximum())]
    triangle = QgsGeometry.fromPolygonXY([[QgsPointXY(x, y) for x, y in corners]])
    drawn.setGeometry(triangle)
    drawn["class"] = "debris-covered ice"
    layer.addFeature(drawn)
    saved = layer.commitChanges()
    judged = QgsVectorLayer(f"Polygon?crs={layer.crs().authid()}", "judged", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(box))
    judged.dataProvider().addFeature(feature)
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.layerName = "GPKG", "judged"
    options.actionOnExistingFile = QgsVectorFileWriter.CreateOrOverwriteLayer
    QgsVectorFileWriter.writeAsVectorFormatV3(judged, geopackage, QgsProject.instance().transformContext(), options)
    corners_of_box = [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]
    return {"saved": saved, "faults": layer.commitErrors() if not saved else [], "box": corners_of_box}


if __name__ == "__main__":
    app = QgsApplication([], False)
    app.initQgis()
    print(json.dumps({"show": show, "read": read, "edit": edit}[sys.argv[1]](*sys.argv[2:])))
    app.exitQgis()
