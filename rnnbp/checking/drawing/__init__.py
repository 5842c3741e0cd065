"""Tables and curves drawn for a terminal and for a page, out of numbers alone."""
