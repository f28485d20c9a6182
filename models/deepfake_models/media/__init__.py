"""Media: from the bytes of a picture or video to frames in display order, with exact times.

May import ``bundle``. Begin with ``interface.OpenMedia``; ``decoder`` opens media in this process.
"""
