/** The page `/map`: scenes, what models make of them, and what people corrected. */

import "ol/ol.css";
import "./map/map.css";

import { MapPage } from "./map/page";
import { api } from "./page";
import { find, tell } from "./dom";

const page = new MapPage(api, find("map"), find("panel"));
page.start().catch((error: Error) => tell(error.message, "fault"));
