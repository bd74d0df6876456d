"""Parts of the entry shim; every step pays for what they import, so it is little."""
