"""Generated tasks, one file each, loaded by name through the registry."""
