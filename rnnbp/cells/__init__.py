"""The built-in cells, one file each, loaded by name through the registry."""
