"""HTTP routes, one module a resource.

Imports `http` and the rooms, but not `web`. Begin in `videos.py`.
"""
