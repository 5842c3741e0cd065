"""Where a forward bends, how far that is, and whether a difference method steps across."""
