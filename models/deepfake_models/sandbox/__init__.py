"""The sandbox: confined processes that parse untrusted bytes, one for each item.

May import ``media`` and ``bundle``. Begin with ``decoder.ProcessDecoder`` and ``pool.ProcessPool``.
"""
