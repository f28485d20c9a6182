"""Pages of posts: read in the sandbox, and judged by what they say of their post.

Imports `platform` alone; captures and looks use it alike. Begin in `signs.py`: `tombstones.toml`
has the marks of platforms. `reading.py` runs in the sandbox.
"""
