"""Refusing coordinate reference systems that have PROJ open a file.

A CRS may name files of shifts between datums. PROJ looks for plain names among its own data, but opens a path as it
stands: a pipe would hang the process.
"""

import re
from typing import Final

# As PROJ strings, WKT 1 and WKT 2 write them; WKT 1 may hold a PROJ string, too.
_GRIDS: Final = re.compile(
    r'(?:grids|init)\s*=\s*([^\s"]+)|(?:PARAMETERFILE\s*[\[(]\s*"[^"]*"|"PROJ4_GRIDS")\s*,\s*"([^"]*)"', re.IGNORECASE
)


def grid_paths(crs: str) -> list[str]:
    """Return the paths and addresses of grid files in the text of a CRS; plain names, as "@null", are left out.

    Args:
        crs: WKT or a PROJ string.
    """
    found = (first or second for first, second in _GRIDS.findall(crs))
    return [names for names in found if "/" in names or "\\" in names]
