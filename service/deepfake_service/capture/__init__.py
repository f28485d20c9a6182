"""Captures: pages that other tools or people recorded, or that links lead to, read in the sandbox,
signed and offered.

Imports `hashes` and what is below, and hands media to `examination`. Begin in `shapes.py` and
`captures.py`, then `imports.py` and `archives.py`; for links, in `links.py`, `fetches.py` and
`gate.py`, for pictures of pages in `browser.py`. `fetcher.py`, `link_fetch.py`, `page_client.py`
and `renderer.py` run in an enclosure.
"""
