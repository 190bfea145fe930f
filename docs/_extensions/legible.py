"""Keeps pictures out of the gallery whose legends lie upon curves."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from sphinx_gallery.scrapers import matplotlib_scraper

sys.path.append(str(Path(__file__).resolve().parents[2]))
from tests.accel.pictures import covered


def scrape(block: tuple, variables: dict, settings: dict, **options: object) -> str:
    """Save the figures that a block has drawn, as sphinx-gallery does, if all of it can be seen."""
    for figure in map(plt.figure, plt.get_fignums()):
        legends = [*figure.legends, *filter(None, (ax.get_legend() for ax in figure.axes))]
        if legends and (hidden := covered(figure)):
            raise ValueError(f"{variables['src_file']}: a legend hides a part of {hidden}")
    return matplotlib_scraper(block, variables, settings, **options)
