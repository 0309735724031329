/** A prediction made in the browser, as layers of the map. */

import Feature from "ol/Feature";
import Polygon from "ol/geom/Polygon";
import ImageLayer from "ol/layer/Image";
import VectorImageLayer from "ol/layer/VectorImage";
import ImageStatic from "ol/source/ImageStatic";
import VectorSource from "ol/source/Vector";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";

import type { Outline, Picture } from "../predict/drawn";

const ABOVE_ALL = 200;
const OPACITY = 0.35; // the ice stays visible

export function pictureOf(drawn: Picture, className: string): ImageLayer<ImageStatic> {
  const source = new ImageStatic({ url: drawn.url, imageExtent: drawn.extent, projection: "EPSG:3857", interpolate: false });
  return new ImageLayer({ source, className, opacity: OPACITY, zIndex: ABOVE_ALL });
}

export function outlinesOf(found: Outline[], className: string): VectorImageLayer {
  const features = found.map((item) => {
    const feature = new Feature(new Polygon(item.rings));
    feature.setStyle(new Style({ stroke: new Stroke({ color: item.colour, width: 2.2, lineDash: [6, 3] }) }));
    return feature;
  });
  return new VectorImageLayer({ source: new VectorSource({ features }), className, zIndex: ABOVE_ALL + 1, imageRatio: 2 });
}
