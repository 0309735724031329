"""Label Studio's labelling page in a real browser: the pre-annotation is seen, corrected, submitted, and arrives."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from sqlalchemy import select

from catalog import raster_keys
from catalog.records import Label, Proposal, ProposalState
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE
from imagery.masks import mask_from_geotiff
from imagery.store import RasterStore
from tests.system.conftest import Stage
from tests.system.loop_system import EXPERT, LoopSystem

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
